-- The server's time, and the tokens that are made of it: in front of every script that needs either.

local clock = redis.call('TIME')
local second = tonumber(clock[1])

-- The next token of one counter: one more than the last, and never below the clock's whole second, so that a
-- counter that was lost does not go backwards. A counter lives for a day from the second in which it was last
-- set to the clock; until then the clock has passed every token it can have given. '%.0f' because Lua prints
-- large numbers in exponent form.
local function next_token(counter)
  local floor = second * 1000000
  local token = redis.call('INCR', counter)
  if token < floor then
    token = floor
    redis.call('SET', counter, string.format('%.0f', token), 'PX', 86400000)
  end
  return token
end
