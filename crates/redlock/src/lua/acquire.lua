-- Takes all resources for an attempt, or none of them. Repeating it with the same id is harmless.
--
-- KEYS: 7 per resource, tombstone, epoch (only where ARGV[4] > 0)
-- ARGV: id, ttl ms, intent ms (0 = none), quarantine ms (0 = off), how the caller came (below), then one limit
--       per resource
-- Reply: token | {'held', holder, ms} | {'quarantined', ms} | {'dead'}
--
-- How the caller came: 'warm', or 'cold' when the script cache was found empty; 'durable' for cold on a node that
-- keeps its data over a restart.

local id, ttl, intent, span = ARGV[1], tonumber(ARGV[2]), tonumber(ARGV[3]), tonumber(ARGV[4])
local list = resources(6)

-- Milliseconds for which this node may not vote. The marker is 'open <run id>', or 'wait <run id> <votes from, ms>';
-- it has no expiry, so a missing one means that the node lost its data. The script cache does not outlive the
-- server, so the first caller after a restart arrives cold, and only then is the run id compared.
local function quarantine(key)
  local run, from = string.match(redis.call('GET', key) or '', '^%a+ (%w+) ?(%d*)$')
  from = tonumber(from) or 0
  if not run or ARGV[5] ~= 'warm' then
    local current = string.match(redis.call('INFO', 'server'), 'run_id:(%w+)')
    if not run or (run ~= current and ARGV[5] ~= 'durable') then
      from = now + span
    end
    run = current
  end
  from = math.min(from, now + span)
  local voting = from <= now
  redis.call('SET', key, voting and 'open ' .. run or string.format('wait %s %.0f', run, from))
  return voting and 0 or from - now
end

-- The next token of several resources is above the counters of all of them.
local function mint()
  if #list == 1 then
    return next_token(list[1].counter)
  end
  local token = second * 1000000
  for _, r in ipairs(list) do
    token = math.max(token, 1 + tonumber(redis.call('GET', r.counter) or 0))
  end
  for _, r in ipairs(list) do
    redis.call('SET', r.counter, string.format('%.0f', token), 'PX', 86400000)
  end
  return token
end

if redis.call('EXISTS', KEYS[#list * 7 + 1]) == 1 then
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
return mint()
