-- Adds to an integer, and gives a key that did not exist a TTL.
-- KEYS[1]  the key
-- ARGV[1]  what to add; ARGV[2] the TTL of a key that is created, in ms; '0' for none
-- Returns the sum as text, since Lua's numbers hold only 53 bits, or the error of INCRBY.
local existed = redis.call('EXISTS', KEYS[1])
local sum = redis.pcall('INCRBY', KEYS[1], ARGV[1])
if type(sum) == 'table' then
  return sum
end
if existed == 0 and ARGV[2] ~= '0' then
  redis.call('PEXPIRE', KEYS[1], ARGV[2])
end
return redis.call('GET', KEYS[1])
