-- The common case of release.lua, decided without the library: the holder of one lock that nobody waits for.
-- Everything else falls through.

if #ARGV == 3 and ARGV[2] == '0' and ARGV[3] == '0'
  and redis.call('GET', KEYS[2]) == ARGV[1] and redis.call('EXISTS', KEYS[6]) == 0
then
  redis.call('DEL', KEYS[2])
  return 'held'
end
