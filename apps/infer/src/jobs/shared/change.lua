-- Changes a job, if it still is as the caller saw it: id, the record before and after, the new state, when it is due or was over (or
-- how long its lease is, if it runs), and the result if there is one.
local id, before, after, state, time, result = ARGV[1], ARGV[2], ARGV[3], ARGV[4], tonumber(ARGV[5]), ARGV[6]
local held = redis.call('HMGET', job(id), 'job', 'owner', 'state')
-- This very change, which was made already: its answer was lost.
if held[1] == after then return answer('done') end
if held[1] ~= before then return answer('other') end

redis.call('HSET', job(id), 'job', after, 'state', state)
if result then redis.call('HSET', job(id), 'result', result) end
for _, place in ipairs({ DUE, RUNNING, OVER }) do redis.call('ZREM', place, id) end
if state == 'running' then time = now() + time end
redis.call('ZADD', PLACES[state], micros(time), id)
redis.call('ZREM', of(held[2], held[3]), id)
redis.call('ZADD', of(held[2], state), 0, id)
if state == 'queued' then redis.call('PUBLISH', 'infer:news', 'due') end
-- Whoever is at it learns of anything else when it prolongs its lease.
if state == 'cancelled' then redis.call('PUBLISH', 'infer:news', 'stop ' .. id) end
return answer('done')
