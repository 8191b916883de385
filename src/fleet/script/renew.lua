-- ARGV: incarnation, how far it has applied, what it says of itself by now.
local who, applied, about = ARGV[3], tonumber(ARGV[4]), ARGV[5]
local member = one(MEMBERS, who)
if not member then return { 'unknown' } end
if applied < member[2] then return { 'fenced', member[2] } end
keep(MEMBERS, who, { applied, member[2], member[3] + 1, about })
return { 'held', last }
