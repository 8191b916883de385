-- ARGV: incarnation, write, record, most intents. Intended again, it is a write that may yet be sent: what was journalled
-- of it is not enough.
local who, write, record, most = ARGV[3], ARGV[4], ARGV[5], tonumber(ARGV[6])
if not one(MEMBERS, who) then return { 'unknown' } end
if not one(INTENTS, write) and redis.call('HLEN', INTENTS) > most then
  return redis.error_reply('ERR there are too many intents')
end
keep(INTENTS, write, { who, 0, record })
return { 'done' }
