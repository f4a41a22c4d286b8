-- Declares that no lock of this namespace can be held, so that the node votes from now on.
--
-- KEYS: epoch
-- ARGV: none
-- Reply: 'ready'

local clock = redis.call('TIME')
local now = tonumber(clock[1]) * 1000 + math.floor(tonumber(clock[2]) / 1000)
local run = string.match(redis.call('INFO', 'server'), 'run_id:(%w+)')
redis.call('SET', KEYS[1], string.format('%s %.0f', run, now))
return 'ready'
