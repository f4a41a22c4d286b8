-- Declares that no lock of this namespace can be held, so that the node votes from now on.
--
-- KEYS: epoch
-- ARGV: none
-- Reply: 'ready'

local run = string.match(redis.call('INFO', 'server'), 'run_id:(%w+)')
redis.call('SET', KEYS[1], 'open ' .. run)
return 'ready'
