-- Sets a value and keeps the TTL; a key that did not exist gets one.
-- KEYS[1]  the key
-- ARGV[1]  the value; ARGV[2] the TTL of a key that is created, in ms
-- Returns OK.
if redis.call('EXISTS', KEYS[1]) == 1 then
  return redis.call('SET', KEYS[1], ARGV[1], 'KEEPTTL')
end
return redis.call('SET', KEYS[1], ARGV[1], 'PX', ARGV[2])
