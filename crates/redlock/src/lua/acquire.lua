-- Takes all resources for an attempt, or none of them. Repeating it with the same id is harmless.
--
-- KEYS: tombstone, 7 per resource, epoch (only where ARGV[5] > 0)
-- ARGV: id, ttl ms, how long counters are kept ms, intent ms (0 = none), quarantine ms (0 = off),
--       1 when the script cache was found empty, 1 when the node keeps its data over a restart,
--       then one limit per resource
-- Reply: {'granted', token} | {'held', holder, ms} | {'quarantined', ms} | {'dead'}

local id, ttl, keep, intent = ARGV[1], tonumber(ARGV[2]), tonumber(ARGV[3]), tonumber(ARGV[4])
local span, cold, durable = tonumber(ARGV[5]), ARGV[6] == '1', ARGV[7] == '1'
local list = resources(8)

-- Milliseconds for which this node may not vote. The marker is '<run id> <votes from, ms>'; it has no
-- expiry, so a missing one means that the node lost its data. The script cache does not outlive the
-- server, so the first caller after a restart arrives cold, and only then is the run id compared.
local function quarantine(key)
  local run, from = string.match(redis.call('GET', key) or '', '^(%w+) (%d+)$')
  from = tonumber(from)
  if from and not cold and from <= now then
    return 0
  end
  local current = string.match(redis.call('INFO', 'server'), 'run_id:(%w+)')
  if not from or (run ~= current and not durable) or from - now > span then
    from = now + span
  end
  redis.call('SET', key, string.format('%s %.0f', current, from))
  return math.max(0, from - now)
end

if redis.call('EXISTS', KEYS[1]) == 1 then
  return { 'dead' }
end
if span > 0 then
  local left = quarantine(KEYS[#KEYS])
  if left > 0 then
    return { 'quarantined', left }
  end
end

for _, r in ipairs(list) do
  local holder, left = blocked(r, id)
  if not holder and r.limit ~= 0 then
    holder = redis.call('GET', r.intent)
    left = holder and redis.call('PTTL', r.intent)
  elseif holder and r.limit == 0 and intent > 0 then
    redis.call('SET', r.intent, id, 'PX', intent)
  end
  if not holder and redis.call('EXISTS', r.queue) == 1 then
    purge(r)
    holder = redis.call('ZRANGE', r.queue, 0, 0)[1]
    left = 0
  end
  if holder and not holds(r, id) then
    return { 'held', holder, left }
  end
end
for _, r in ipairs(list) do
  take(r, id, ttl)
end
return { 'granted', mint(list, keep) }
