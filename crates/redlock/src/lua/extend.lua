-- Prolongs a hold that is still this attempt's; never re-creates one and never shortens one.
--
-- KEYS: 7 per resource
-- ARGV: id, ttl ms, then one limit per resource
-- Reply: 'held' | 'missing' | 'stolen'

local id, ttl = ARGV[1], tonumber(ARGV[2])
local list = resources(3)
local answer = 'held'
for _, r in ipairs(list) do
  if not holds(r, id) then
    answer = blocked(r, id) and 'stolen' or answer == 'stolen' and answer or 'missing'
  end
end
if answer == 'held' then
  for _, r in ipairs(list) do
    take(r, id, ttl)
  end
end
return answer
