-- Shared by every script: in the text that is sent it follows clock.lua and the script's common case.
--
-- KEYS begins with seven keys for each resource, in the order of `resource` below. After them comes the tombstone of
-- the attempt where a script needs it, and after that the epoch marker where it votes. All time is the server's.
-- A resource's limit says how it is held: 0 = exclusively, -1 = shared, k > 0 = one of k permits.

local now = second * 1000 + math.floor(tonumber(clock[2]) / 1000) -- in milliseconds

local function resource(index)
  local k = 1 + (index - 1) * 7
  return {
    writer = KEYS[k], -- string: the exclusive holder
    readers = KEYS[k + 1], -- sorted set: shared holders by the time their hold ends
    intent = KEYS[k + 2], -- string: a writer waits, so no new reader may enter
    counter = KEYS[k + 3], -- string: the last fencing token
    queue = KEYS[k + 4], -- sorted set: waiters by priority and arrival
    beats = KEYS[k + 5], -- sorted set: waiters by the time they count as dead
    meta = KEYS[k + 6], -- hash: waiter -> how it is to be granted
  }
end

-- All resources, with the limits that begin at this argument.
local function resources(limits_from)
  local list = {}
  for i = limits_from, limits_from + math.floor(#KEYS / 7) - 1 do
    local r = resource(#list + 1)
    r.limit = tonumber(ARGV[i])
    list[#list + 1] = r
  end
  return list
end

local function holds(r, id)
  if r.limit == 0 then
    return redis.call('GET', r.writer) == id
  end
  local ends = redis.call('ZSCORE', r.readers, id)
  return ends ~= false and tonumber(ends) > now
end

-- Who stands in the way of `id`, and for how many milliseconds; nil when nobody does.
local function blocked(r, id)
  local writer = redis.call('GET', r.writer)
  if writer and writer ~= id then
    return writer, redis.call('PTTL', r.writer)
  end
  if redis.call('EXISTS', r.readers) == 0 then
    return nil
  end
  redis.call('ZREMRANGEBYSCORE', r.readers, '-inf', now)
  if r.limit == 0 then
    local last = redis.call('ZRANGE', r.readers, -2, -1, 'WITHSCORES')
    for i = #last - 1, 1, -2 do
      if last[i] ~= id then
        return last[i], tonumber(last[i + 1]) - now
      end
    end
  elseif r.limit > 0 and redis.call('ZCARD', r.readers) >= r.limit then
    if not redis.call('ZSCORE', r.readers, id) then
      local first = redis.call('ZRANGE', r.readers, 0, 0, 'WITHSCORES')
      return first[1], tonumber(first[2]) - now
    end
  end
  return nil
end

-- Holds for `id` for at least `ttl` milliseconds from now; never shortens a hold. Only for an `id` that nobody blocks.
local function take(r, id, ttl)
  if r.limit == 0 then
    if not redis.call('SET', r.writer, id, 'NX', 'PX', ttl) and redis.call('PTTL', r.writer) < ttl then
      redis.call('PEXPIRE', r.writer, ttl)
    end
    redis.call('DEL', r.intent)
    return
  end
  local ends = tonumber(redis.call('ZSCORE', r.readers, id) or 0)
  redis.call('ZADD', r.readers, math.max(ends, now + ttl), id)
  if redis.call('PTTL', r.readers) < ttl then
    redis.call('PEXPIRE', r.readers, ttl)
  end
end

-- Takes a waiter out of the queue. The arrival numbers in the hash end with the queue.
local function forget(r, id)
  redis.call('ZREM', r.queue, id)
  redis.call('ZREM', r.beats, id)
  redis.call('HDEL', r.meta, id)
  if redis.call('EXISTS', r.queue) == 0 then
    redis.call('DEL', r.meta)
  end
end

local function dequeue(r, id)
  if redis.call('ZSCORE', r.queue, id) then
    forget(r, id)
  end
end

local function purge(r)
  for _, id in ipairs(redis.call('ZRANGEBYSCORE', r.beats, '-inf', now, 'LIMIT', 0, 1000)) do
    forget(r, id)
  end
end

-- Gives the resource to the waiters whose turn it is, for their claim time, and tells their processes: whom it was
-- given to, after which of its looks, and with which token. A prefix has no braces, so only a lock's own channel, which
-- is in its slot, has a hash tag: that one is sharded.
local function hand_off(r)
  for _ = 1, 1000 do
    local head = redis.call('ZRANGE', r.queue, 0, 0)[1]
    if not head then
      return
    end
    local meta = redis.call('HGET', r.meta, head)
    local limit, claim, look, channel = string.match(meta or '', '^(-?%d+) (%d+) (%d+) (.*)$')
    if limit then
      local turn = setmetatable({ limit = tonumber(limit) }, { __index = r })
      if blocked(turn, head) then
        return
      end
      take(turn, head, tonumber(claim))
      if channel ~= '' then
        local token = string.format('%.0f', next_token(r.counter))
        local message = head .. ' ' .. look .. ' ' .. token
        if string.find(channel, '{', 1, true) then
          -- By the waiter's wish, with the rights of whoever releases: without them it finds out at its next look.
          redis.pcall('SPUBLISH', channel, message)
        else
          redis.call('PUBLISH', channel, message)
        end
      end
    end
    forget(r, head)
    if limit == '0' then
      return -- nobody fits in beside it
    end
  end
end
