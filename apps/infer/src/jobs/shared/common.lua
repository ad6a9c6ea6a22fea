-- What the scripts have in common. Each runs as a whole: nobody sees half of what it does.
--
-- infer:job:<id>            hash: job (the record in JSON), input, result, owner, state, key
-- infer:due                 sorted set: jobs that wait, by when they are due
-- infer:running             sorted set: jobs that a worker is at, by when its lease is over
-- infer:over                sorted set: jobs that are over, by when they were
-- infer:of:<owner>[:<state>] sorted set: the owner's jobs by name, which is their order of creation
-- infer:keys                hash: <owner>:<idempotency key> to the job's name
-- infer:news                channel: "due", or "stop <id>" for whoever is at that job
--
-- Times are in microseconds by Redis' own clock where leases are concerned, so that no two workers' clocks need agree.
local DUE, RUNNING, OVER, KEYED = 'infer:due', 'infer:running', 'infer:over', 'infer:keys'
local PLACES = { queued = DUE, running = RUNNING, succeeded = OVER, failed = OVER, cancelled = OVER }

local function now()
  local time = redis.call('TIME')
  return tonumber(time[1]) * 1000000 + tonumber(time[2])
end

local function micros(number)
  return string.format('%.0f', number)
end

local function job(id)
  return 'infer:job:' .. id
end

local function of(owner, state)
  if state then return 'infer:of:' .. owner .. ':' .. state end
  return 'infer:of:' .. owner
end

-- Every answer ends with how many jobs wait and run.
local function answer(first, second)
  return { first, second or '', redis.call('ZCARD', DUE), redis.call('ZCARD', RUNNING) }
end
