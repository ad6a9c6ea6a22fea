-- Hands out the job whose worker did not say in time that it is still there, or else the next that is due, for the time of a lease.
-- Answers with its record, or with how long there is none.
local time, lease = now(), tonumber(ARGV[1])
local id = redis.call('ZRANGEBYSCORE', RUNNING, '-inf', micros(time), 'LIMIT', 0, 1)[1]
  or redis.call('ZRANGEBYSCORE', DUE, '-inf', micros(time), 'LIMIT', 0, 1)[1]
if id then
  redis.call('ZREM', DUE, id)
  local record = redis.call('HGET', job(id), 'job')
  if record then
    redis.call('ZADD', RUNNING, micros(time + lease), id)
    return answer('job', record)
  end
  redis.call('ZREM', RUNNING, id)
  return answer('wait', '0')
end
local wait = nil
for _, place in ipairs({ DUE, RUNNING }) do
  local first = redis.call('ZRANGE', place, 0, 0, 'WITHSCORES')[2]
  local span = first and math.max(tonumber(first) - time, 0)
  if span and (not wait or span < wait) then wait = span end
end
return answer('wait', wait and micros(wait) or '')
