-- Reads and removes a value. An envelope stays until the caller has shown that it could be read: otherwise a missing
-- key or dictionary would lose it.
-- KEYS[1]  the key
-- ARGV[1]  the magic of envelopes; ARGV[2] the envelope that the caller has read, or ''
-- Returns {1, the removed bytes or nil}, {0, the envelope to be read first}, or the error of GET.
local current = redis.pcall('GET', KEYS[1])
if type(current) == 'table' then
  return current
end
if current and string.sub(current, 1, 4) == ARGV[1] and current ~= ARGV[2] then
  return {0, current}
end
redis.call('DEL', KEYS[1])
return {1, current}
