-- The common cases of enqueue.lua, decided without the library: a lock that nobody holds, waits for or reads,
-- and the confirmation of one that was handed to this waiter. Everything else falls through.

if ARGV[4] == '0' then
  if ARGV[3] == '' then
    if redis.call('EXISTS', KEYS[1], KEYS[3], KEYS[4], KEYS[6]) == 0
      and redis.call('SET', KEYS[2], ARGV[1], 'NX', 'PX', ARGV[2])
    then
      return next_token(KEYS[5])
    end
  elseif redis.call('GET', KEYS[2]) == ARGV[1] then
    -- Handed over, so it was not buried: a burial ends the wait.
    redis.call('PEXPIRE', KEYS[2], ARGV[2])
    return next_token(KEYS[5])
  end
end
