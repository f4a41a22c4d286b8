-- Ends a hold, or a wait in the queue, and hands the resource on. With a burial the id can never be
-- granted afterwards: for an attempt whose acquire may still be on its way.
--
-- KEYS: 7 per resource, and with a burial the tombstone
-- ARGV: id, one limit per resource, and with a burial how long it lasts, in ms
-- Reply: 'held' (it was, and is released) | 'missing' | 'stolen'

local id = ARGV[1]
local answer = 'held'
local list = resources(2)
for _, r in ipairs(list) do
  if not (mine or holds(r, id)) then
    answer = blocked(r, id) and 'stolen' or answer == 'stolen' and answer or 'missing'
  elseif r.limit == 0 then
    redis.call('DEL', r.writer)
  end
  if r.limit ~= 0 then
    redis.call('ZREM', r.readers, id)
  end
end
if #KEYS > #list * 7 then
  -- A server out of memory refuses this, and would refuse the late acquire too: the release still counts.
  redis.pcall('SET', KEYS[#KEYS], '', 'PX', ARGV[#ARGV])
end
for _, r in ipairs(list) do
  if mine or redis.call('EXISTS', r.queue) == 1 then
    if answer ~= 'held' then
      dequeue(r, id)
    end
    purge(r)
    hand_off(r)
  end
end
return answer
