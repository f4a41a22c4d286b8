-- Lifts the counters of a hold to a token chosen elsewhere, and says how high they stand now: the answer
-- is above the token where this node has given a higher one meanwhile.
--
-- KEYS: tombstone, 7 per resource
-- ARGV: id, token, how long counters are kept ms, then one limit per resource
-- Reply: the counter, or '' when the hold is not this attempt's

local id, token, keep = ARGV[1], tonumber(ARGV[2]), tonumber(ARGV[3])
local list = resources(4)
for _, r in ipairs(list) do
  if not holds(r, id) then
    return ''
  end
  token = math.max(token, tonumber(redis.call('GET', r.counter) or 0))
end
local text = string.format('%.0f', token)
for _, r in ipairs(list) do
  redis.call('SET', r.counter, text, 'PX', keep)
end
return text
