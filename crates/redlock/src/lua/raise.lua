-- Lifts the counters of a hold to a token chosen elsewhere, and says how high they stand now: the answer
-- is above the token where this node has given a higher one meanwhile.
--
-- KEYS: 7 per resource
-- ARGV: id, token, then one limit per resource
-- Reply: the counter, or '' when the hold is not this attempt's

local id, token = ARGV[1], tonumber(ARGV[2])
local list = resources(3)
for _, r in ipairs(list) do
  if not holds(r, id) then
    return ''
  end
  token = math.max(token, tonumber(redis.call('GET', r.counter) or 0))
end
local text = string.format('%.0f', token)
for _, r in ipairs(list) do
  redis.call('SET', r.counter, text, 'PX', 86400000)
end
return text
