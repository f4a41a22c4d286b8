-- Runs the function `operation`, whose text stands before this one, unless an earlier request with the same id did.
-- KEYS[1]  the key it works on; KEYS[2] where the id is remembered
-- ARGV[1]  a digest of what is asked for; ARGV[2] how long the id is remembered, in ms; ARGV[3...] its arguments
-- Returns {0, the result}, {1, the first result}, {2} for an id of another request, {3, a result that decides nothing and
-- was not remembered}, or the error of the operation, which is remembered like a result.
local function answer(how, result)
  if type(result) == 'table' and result.err then
    return result
  end
  if result == nil then
    result = false
  end
  return {how, result}
end

local known = redis.call('GET', KEYS[2])
if known then
  local asked, result = cmsgpack.unpack(known)
  if asked ~= ARGV[1] then
    return {2, false}
  end
  return answer(1, result)
end

local arguments = {}
for index = 3, #ARGV do
  arguments[index - 2] = ARGV[index]
end
local succeeded, result, is_open = pcall(operation, {KEYS[1]}, arguments)
if succeeded and is_open then
  return {3, result}
end
if not succeeded then
  -- A string before Redis 7, a table since.
  result = {err = type(result) == 'table' and result.err or tostring(result)}
elseif type(result) == 'table' and result.err then
  result = {err = result.err}
end
-- A server that refuses writes (OOM, READONLY, MISCONF, NOREPLICAS) refuses this one as well, unless one went through
-- already: there is no effect without its record.
redis.call('SET', KEYS[2], cmsgpack.pack(ARGV[1], result), 'PX', ARGV[2])
return answer(0, result)
