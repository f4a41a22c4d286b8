-- Reads a value and its remaining time together, so that they belong to each other.
-- KEYS[1]  the key
-- Returns {value or nil, PTTL}, or the error of GET.
local value = redis.pcall('GET', KEYS[1])
if type(value) == 'table' then
  return value
end
return {value, redis.call('PTTL', KEYS[1])}
