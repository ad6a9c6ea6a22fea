-- Prolongs the lease of a job that its worker began, if it is still the worker's: id, record, lease.
local id, record, lease = ARGV[1], ARGV[2], tonumber(ARGV[3])
if redis.call('HGET', job(id), 'job') ~= record then return answer('other') end
redis.call('ZADD', RUNNING, 'XX', micros(now() + lease), id)
return answer('done')
