-- ARGV: incarnation, what it says of itself, most members, how it lives. It owes everything up to now before its first
-- renewal. The first of an epoch says how all of it live.
local who, about, most, coherence = ARGV[3], ARGV[4], tonumber(ARGV[5]), ARGV[6]
local lives = redis.call('HGET', META, 'coherence')
if lives and lives ~= coherence then return redis.error_reply('COHERENCE ' .. lives) end
local member = one(MEMBERS, who)
if not member and redis.call('HLEN', MEMBERS) > most then
  return redis.error_reply('ERR the registry is full')
end
if not lives then redis.call('HSET', META, 'coherence', coherence) end
-- Sent again it changes nothing that counts: the entry may have a lease by now. It is written all the same, for WAIT
-- waits for what this connection wrote.
member = member or { 0, last, 0, about }
member[4] = about
keep(MEMBERS, who, member)
return { 'extent', epoch, first(), last }
