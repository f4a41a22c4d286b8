-- Sets a key that does not exist.
-- KEYS[1]  the key
-- ARGV[1]  the bytes to store; ARGV[2] the TTL in ms; '0' for none
-- Returns 1 when it was set, 0 when something was there.
local stored
if ARGV[2] == '0' then
  stored = redis.call('SET', KEYS[1], ARGV[1], 'NX')
else
  stored = redis.call('SET', KEYS[1], ARGV[1], 'PX', ARGV[2], 'NX')
end
return stored and 1 or 0
