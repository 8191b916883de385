-- ARGV: incarnation, how far it has applied.
local who, applied = ARGV[3], tonumber(ARGV[4])
local member = one(MEMBERS, who)
if not member then return { 'unknown' } end
if applied < member[2] then return { 'fenced', member[2] } end
keep(MEMBERS, who, { applied, member[2], member[3] + 1, member[4] })
return { 'held', last }
