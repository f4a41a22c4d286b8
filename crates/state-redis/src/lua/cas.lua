-- Compare-and-swap on one string.
-- KEYS[1]  the key
-- ARGV[1]  '1' when a value is expected, '0' when nothing is; ARGV[2] the expected value
-- ARGV[3]  '1' when a value shall be there, '0' when nothing shall; ARGV[4] the new value
-- ARGV[5]  the TTL of a key that is created, in ms; '0' for none
-- Returns {1, false} when swapped, {0, the current value or nil} when not, or the error of GET.
local current = redis.pcall('GET', KEYS[1])
if type(current) == 'table' then
  return current
end
if current ~= (ARGV[1] == '1' and ARGV[2]) then
  return {0, current}
end
if ARGV[3] == '0' then
  redis.call('DEL', KEYS[1])
elseif current then
  redis.call('SET', KEYS[1], ARGV[4], 'KEEPTTL')
elseif ARGV[5] == '0' then
  redis.call('SET', KEYS[1], ARGV[4])
else
  redis.call('SET', KEYS[1], ARGV[4], 'PX', ARGV[5])
end
return {1, false}
