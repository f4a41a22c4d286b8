-- The common case of acquire.lua, decided without the library: one resource that nobody holds, waits for or
-- reads, for one holder, on a node that may vote. Everything else falls through.

if #ARGV == 6 and ARGV[6] == '0' and ARGV[5] == 'warm'
  and redis.call('EXISTS', KEYS[2], KEYS[3], KEYS[5], KEYS[8]) == 0
  and (ARGV[4] == '0' or string.sub(redis.call('GET', KEYS[9]) or '', 1, 4) == 'open')
  and redis.call('SET', KEYS[1], ARGV[1], 'NX', 'PX', ARGV[2])
then
  return next_token(KEYS[4])
end
