-- Compare-and-swap on one string, by the value that the stored bytes stand for.
-- KEYS[1]  the key
-- ARGV[1]  '1' when a value is expected, '0' when nothing is; ARGV[2] the expected value
-- ARGV[3]  the magic of envelopes, or '' when there are none; ARGV[4] the fingerprint of the expected value
-- ARGV[5]  '1' when a value shall be there, '0' when nothing shall; ARGV[6] the bytes to store
-- ARGV[7]  the TTL of a key that is created, in ms; '0' for none
-- ARGV[8]  '' , or ARGV[2] holds bytes that the caller has read: '1' when they stand for the expected value, '0' when
--          for another, so that nothing is to be swapped
-- Returns {1, false} when swapped, {0, the current bytes or nil} when not, or the error of GET. A second result, which
-- only lua/once.lua sees, is true when the caller has to read the current bytes to know.
local current = redis.pcall('GET', KEYS[1])
if type(current) == 'table' then
  return current
end
local expected = ARGV[1] == '1'
local same
if ARGV[8] ~= '' then
  if current ~= ARGV[2] then
    return {0, current}, true
  end
  same = ARGV[8] == '1'
elseif not current or not expected then
  same = not current and not expected
elseif ARGV[3] ~= '' and string.sub(current, 1, 4) == ARGV[3] then
  -- An envelope: length and checksum stand at 8, in the clear unless the seventh byte says otherwise.
  if #current >= 28 and string.byte(current, 7) >= 2 then
    return {0, current}, true
  end
  same = #current >= 28 and string.sub(current, 9, 28) == ARGV[4]
else
  same = current == ARGV[2]
end
if not same then
  return {0, current}
end
if ARGV[5] == '0' then
  redis.call('DEL', KEYS[1])
elseif current then
  redis.call('SET', KEYS[1], ARGV[6], 'KEEPTTL')
elseif ARGV[7] == '0' then
  redis.call('SET', KEYS[1], ARGV[6])
else
  redis.call('SET', KEYS[1], ARGV[6], 'PX', ARGV[7])
end
return {1, false}
