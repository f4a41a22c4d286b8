-- Who holds a resource, as far as this node knows.
--
-- KEYS: 7 of the resource
-- ARGV: limit
-- Reply: {holder, ms} of each holder, at most 1000: {holder, ms, holder, ms, ...}

local r = resources(1)[1]
local writer = redis.call('GET', r.writer)
if writer then
  return { writer, redis.call('PTTL', r.writer) }
end
local holders = redis.call('ZRANGEBYSCORE', r.readers, '(' .. now, '+inf', 'WITHSCORES', 'LIMIT', 0, 1000)
for i = 2, #holders, 2 do
  holders[i] = tonumber(holders[i]) - now
end
return holders
