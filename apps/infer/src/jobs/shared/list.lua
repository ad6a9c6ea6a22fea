-- Tells of jobs as they all are at one moment, the newest first: the owner, the state ('' for all), the name that they come before
-- ('+' for none, else with '(' in front), how many at most. Answers with their records.
local owner, state, before, most = ARGV[1], ARGV[2], ARGV[3], tonumber(ARGV[4])
local names = redis.call('ZREVRANGEBYLEX', of(owner, state ~= '' and state), before, '-', 'LIMIT', 0, most)
local records = {}
for _, id in ipairs(names) do
  local record = redis.call('HGET', job(id), 'job')
  if record then records[#records + 1] = record end
end
return records
