-- The common cases of enqueue.lua, decided without the library: a lock that nobody holds, waits for or reads,
-- and the confirmation of one that was handed to this waiter. Everything else falls through.

if ARGV[3] == '0' then
  if not ARGV[5] then
    if redis.call('EXISTS', KEYS[2], KEYS[3], KEYS[5], KEYS[8]) == 0
      and redis.call('SET', KEYS[1], ARGV[1], 'NX', 'PX', ARGV[2])
    then
      return next_token(KEYS[4])
    end
  elseif redis.call('GET', KEYS[1]) == ARGV[1] then
    -- Handed over, so it was not buried: a burial ends the wait.
    redis.call('PEXPIRE', KEYS[1], ARGV[2])
    return next_token(KEYS[4])
  end
end
