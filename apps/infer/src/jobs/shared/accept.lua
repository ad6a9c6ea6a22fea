-- Takes a new job: id, record, input, owner, idempotency key ('' for none), due, the bounds on queued and kept jobs, retention.
local id, record, input, owner, key = ARGV[1], ARGV[2], ARGV[3], ARGV[4], ARGV[5]
local due, queued, kept, retention = ARGV[6], tonumber(ARGV[7]), tonumber(ARGV[8]), tonumber(ARGV[9])
-- An owner's name has no colon.
local field = owner .. ':' .. key

if key ~= '' then
  local known = redis.call('HGET', KEYED, field)
  local found = known and redis.call('HGET', job(known), 'job')
  if found then return answer('known', found) end
end

local over = redis.call('ZCARD', OVER)
local pending = redis.call('ZCARD', DUE) + redis.call('ZCARD', RUNNING)
if pending >= queued then return answer('full') end

-- Forgets what is beyond the bounds; a few for each that comes are enough, and block nobody for long.
local surplus = pending + over + 1 - kept
local before = now() - retention
local forgotten = 0
for place, old in ipairs(redis.call('ZRANGE', OVER, 0, 99)) do
  local ended = tonumber(redis.call('ZSCORE', OVER, old))
  if place > surplus and ended >= before then break end
  local meta = redis.call('HMGET', job(old), 'owner', 'state', 'key')
  redis.call('DEL', job(old))
  redis.call('ZREM', OVER, old)
  if meta[1] then
    redis.call('ZREM', of(meta[1]), old)
    redis.call('ZREM', of(meta[1], meta[2]), old)
    local name = meta[1] .. ':' .. (meta[3] or '')
    if meta[3] and redis.call('HGET', KEYED, name) == old then redis.call('HDEL', KEYED, name) end
  end
  forgotten = forgotten + 1
end
if pending + over - forgotten >= kept then return answer('full') end

redis.call('HSET', job(id), 'job', record, 'input', input, 'owner', owner, 'state', 'queued')
if key ~= '' then
  redis.call('HSET', job(id), 'key', key)
  redis.call('HSET', KEYED, field, id)
end
redis.call('ZADD', DUE, due, id)
redis.call('ZADD', of(owner), 0, id)
redis.call('ZADD', of(owner, 'queued'), 0, id)
redis.call('PUBLISH', 'infer:news', 'due')
return answer('new')
