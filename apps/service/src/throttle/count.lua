-- Counts an event of a key unless its window is full: the limit, the length of a part of time in microseconds, and how many parts an
-- event counts. Answers 0 if it was counted, or else in how many microseconds one more fits.
--
-- The key is a hash of the parts' numbers to how many events were in each, by Redis' own clock, which is the same for all who ask.
local limit, size, counts = tonumber(ARGV[1]), tonumber(ARGV[2]), tonumber(ARGV[3])
local time = redis.call('TIME')
local now = tonumber(time[1]) * 1000000 + tonumber(time[2])
local part = math.floor(now / size)

local held = redis.call('HGETALL', KEYS[1])
local parts, events, total = {}, {}, 0
for place = 1, #held, 2 do
  local at, many = tonumber(held[place]), tonumber(held[place + 1])
  -- What is in the future was counted before the clock was set back: nobody is to wait until it is there again.
  if at > part or at + counts <= part then
    redis.call('HDEL', KEYS[1], held[place])
  else
    parts[#parts + 1], events[at], total = at, many, total + many
  end
end

if total >= limit then
  table.sort(parts)
  for _, at in ipairs(parts) do
    total = total - events[at]
    if total < limit then return (at + counts) * size - now end
  end
end
redis.call('HINCRBY', KEYS[1], string.format('%.0f', part), 1)
redis.call('PEXPIRE', KEYS[1], math.ceil(size * counts / 1000))
return 0
