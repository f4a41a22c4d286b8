-- Takes one resource, or waits for it in its queue; called again it is the waiter's heartbeat, and the
-- confirmation of a hand-off whose message it could not rely on. Only for a single authority, where there is one
-- queue.
--
-- KEYS: 7 of the resource, tombstone
-- ARGV: id, ttl ms, limit, '<priority> <patience> <claim> <look> <channel>', and the score given earlier if one was
-- Priority: higher goes first. Patience: ms until a silent waiter counts as dead. Claim: in ms. Look: its number.
-- Channel: may be empty; sharded if it has a hash tag. In one argument, because only those who wait need them.
-- Reply: token | {'waiting', holder, ms, place} | {'dead'}

local id, ttl, place = ARGV[1], tonumber(ARGV[2]), ARGV[5]
local priority, patience, claim, look, channel = string.match(ARGV[4], '^(-?%d+) (%d+) (%d+) (%d+) (.*)$')
local r = resources(3)[1]

local function granted()
  take(r, id, ttl)
  return next_token(r.counter)
end

if redis.call('EXISTS', KEYS[8]) == 1 then
  return { 'dead' }
end
local writer = redis.call('GET', r.writer)
if writer == id or r.limit ~= 0 and holds(r, id) then
  return granted()
end
-- While one has it alone, there is only the place in the queue to see to.
if not writer then
  if redis.call('EXISTS', r.queue) == 1 then
    purge(r)
  end
  if redis.call('EXISTS', r.queue) == 0 and not blocked(r, id) then
    return granted()
  end
end

local first = not place
if first then
  -- The arrival number lives as long as the queue; 2^40 of them fit under one step of priority.
  local arrival = redis.call('HINCRBY', r.meta, '#', 1)
  place = string.format('%.0f', arrival - priority * 1099511627776)
end
if redis.call('ZADD', r.queue, 'NX', place, id) == 0 and first then
  place = string.format('%.0f', tonumber(redis.call('ZSCORE', r.queue, id)))
end
redis.call('HSET', r.meta, id, table.concat({ r.limit, claim, look, channel }, ' '))
redis.call('ZADD', r.beats, now + patience, id)
for _, key in ipairs({ r.queue, r.beats, r.meta }) do
  redis.call('PEXPIRE', key, patience * 4)
end
if writer then
  return { 'waiting', writer, redis.call('PTTL', r.writer), place }
end
hand_off(r)
if holds(r, id) then
  return granted()
end
local holder, left = blocked(r, id)
return { 'waiting', holder or '', left or 0, place }
