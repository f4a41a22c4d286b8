-- The common case of release.lua, decided without the library: the holder of one lock that nobody waits for.
-- Everything else falls through, with what is known by then in `mine`.

local mine = #KEYS == 7 and ARGV[2] == '0' and redis.call('GET', KEYS[1]) == ARGV[1]
if mine and redis.call('EXISTS', KEYS[5]) == 0 then
  redis.call('DEL', KEYS[1])
  return 'held'
end
