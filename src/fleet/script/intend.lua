-- ARGV: incarnation, write, record. Intended again, it is a write that may yet be sent: what was journalled of it is not
-- enough.
local who, write, record = ARGV[3], ARGV[4], ARGV[5]
if not one(MEMBERS, who) then return { 'unknown' } end
keep(INTENTS, write, { who, 0, record })
return { 'done' }
