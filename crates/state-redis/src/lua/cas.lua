-- Compare-and-swap on one string, by the value that the stored bytes stand for.
-- KEYS[1]  the key
-- ARGV[1]  the expected value; ARGV[2] the bytes to store
-- ARGV[3]  two digits: '1' when a value is expected, '0' when nothing is; '1' when a value shall be there, '0' when
--          nothing shall. A third one says that ARGV[1] are bytes that the caller has read: '1' when they stand for the
--          expected value, '0' when for another, so that nothing is to be swapped
-- ARGV[4]  the magic of envelopes and the fingerprint of the expected value; '' when there are no envelopes
-- ARGV[5]  the TTL of a key that is created, in ms; left out for none. (Each argument costs the server as much as a tenth
--          of an empty script, hence so few.)
-- Returns 1 when swapped, {0, the current bytes or nil} when not, or the error of GET. A second result, which only
-- lua/once.lua sees, is true when the caller has to read the current bytes to know.
local current = redis.pcall('GET', KEYS[1])
if type(current) == 'table' then
  return current
end
local wanted, shall, seen = string.byte(ARGV[3], 1, 3)
local envelope = ARGV[4]
local same
if seen then
  if current ~= ARGV[1] then
    return {0, current}, true
  end
  same = seen == 49
elseif not current or wanted == 48 then
  same = not current and wanted == 48
elseif envelope ~= '' and string.sub(current, 1, 4) == string.sub(envelope, 1, 4) then
  -- An envelope: length and checksum stand at 8, in the clear unless the seventh byte says otherwise.
  if #current >= 28 and string.byte(current, 7) >= 2 then
    return {0, current}, true
  end
  same = #current >= 28 and string.sub(current, 9, 28) == string.sub(envelope, 5)
else
  same = current == ARGV[1]
end
if not same then
  return {0, current}
end
if shall == 48 then
  redis.call('DEL', KEYS[1])
elseif current then
  redis.call('SET', KEYS[1], ARGV[2], 'KEEPTTL')
elseif ARGV[5] then
  redis.call('SET', KEYS[1], ARGV[2], 'PX', ARGV[5])
else
  redis.call('SET', KEYS[1], ARGV[2])
end
return 1
