-- What every script begins with: whether this server is the one that began the stored epoch, and has forgotten nothing
-- since. If not, an epoch begins here. KEYS: meta, journal, members, intents. ARGV: a number for a new epoch, the epoch of
-- the caller ('0': whichever it is), and what the script itself takes.
--
-- meta     epoch, run, reign, last: of the server that began the epoch; the newest place. coherence: how its nodes live
-- journal  <place>-0: e = epoch, r = record
-- members  incarnation: [applied, fence, renewals, about]
-- intents  write: [incarnation, or '' for nobody; place of its unknown outcome, or 0; record]
--
-- Members and intents have a field '' besides, so that a key that is missing was deleted, and is never merely empty.
-- A server that gets its first replica, or has had none for an hour, changes its `master_replid` and so begins an epoch:
-- that costs what is kept, and nothing else.
local META, JOURNAL, MEMBERS, INTENTS = KEYS[1], KEYS[2], KEYS[3], KEYS[4]

-- What the server says of itself below is another answer on a replica: what is replicated has to be the writes. Always so
-- from Redis 7 on.
if redis.replicate_commands then redis.replicate_commands() end

local function field(info, name) return string.match(info, '\n' .. name .. ':(%w+)') end

local server, replication = redis.call('INFO', 'server'), redis.call('INFO', 'replication')
-- One that follows another refuses writes; what it has is not to be read either.
if field(replication, 'role') ~= 'master' then
  return redis.error_reply('READONLY the server follows another one')
end
-- It would evict leases and the journal as it does entries. Asked each time: it may be told so while a fleet goes by it.
local policy = string.match(redis.call('INFO', 'memory'), '\nmaxmemory_policy:([%w%-]+)')
if policy and string.sub(policy, 1, 8) == 'allkeys-' then return redis.error_reply('EVICTS ' .. policy) end
local run, reign = field(server, 'run_id'), field(replication, 'master_replid')

local meta = redis.call('HMGET', META, 'epoch', 'run', 'reign', 'last')
local epoch, last = meta[1], tonumber(meta[4] or 0)

-- Lua writes out numbers with 14 digits only.
local function digits(number) return string.format('%.0f', number) end

-- Names in their order, and what stands under each.
local function all(key)
  local flat, names, kept = redis.call('HGETALL', key), {}, {}
  for at = 1, #flat, 2 do
    if flat[at] ~= '' then
      names[#names + 1] = flat[at]
      kept[flat[at]] = cmsgpack.unpack(flat[at + 1])
    end
  end
  table.sort(names)
  return names, kept
end

local function one(key, name)
  local kept = redis.call('HGET', key, name)
  return kept and cmsgpack.unpack(kept)
end

local function keep(key, name, what) redis.call('HSET', key, name, cmsgpack.pack(what)) end

local function append(record)
  last = last + 1
  redis.call('XADD', JOURNAL, digits(last) .. '-0', 'e', epoch, 'r', record)
  redis.call('HSET', META, 'last', digits(last))
  return last
end

-- The oldest place that is kept, or the next one if none is.
local function first()
  local oldest = redis.call('XRANGE', JOURNAL, '-', '+', 'COUNT', 1)[1]
  return oldest and tonumber(string.match(oldest[1], '^%d+')) or last + 1
end

-- Journals that nobody knows what became of a write. Its intent stays until the write must be over, so that the next
-- epoch finds it again.
local function cover(write, intent)
  intent[2] = append(intent[3])
  keep(INTENTS, write, intent)
end

-- The same for all that hangs on an incarnation, and was not journalled yet.
local function orphan(who)
  local writes, intents = all(INTENTS)
  for _, write in ipairs(writes) do
    if intents[write][1] == who and intents[write][2] == 0 then cover(write, intents[write]) end
  end
end

local function shown(names, members)
  local rows = {}
  for at, name in ipairs(names) do
    local member = members[name]
    rows[at] = { name, member[4], member[1], member[2], member[3] }
  end
  return rows
end

local function begin()
  local writes, intents = all(INTENTS)
  -- The name of the epoch goes first and comes last: what breaks off in between begins again.
  redis.call('DEL', META, JOURNAL, MEMBERS)
  epoch, last = ARGV[1], 0
  redis.call('HSET', MEMBERS, '', '')
  redis.call('HSET', INTENTS, '', '')
  for _, write in ipairs(writes) do
    intents[write][1] = ''
    cover(write, intents[write])
  end
  redis.call('HSET', META, 'run', run, 'reign', reign, 'last', digits(last), 'epoch', epoch)
end

-- A journal that has no record yet is no key.
local there = redis.call('EXISTS', MEMBERS, INTENTS, last > 0 and JOURNAL or META)
if not epoch or there < 3 or meta[2] ~= run or meta[3] ~= reign then begin() end
if ARGV[2] ~= '0' and ARGV[2] ~= epoch then return { 'began', epoch } end

