-- ARGV: incarnation, its counter as it was seen to stand still. It owes what the journal has now, and nobody knows what
-- became of what it intended. Who is shut out already, or would owe nothing, is let go: it registers again, or never.
local who, renewals = ARGV[3], tonumber(ARGV[4])
local member = one(MEMBERS, who)
if not member then return { 'out' } end
if member[3] ~= renewals then return { 'moved' } end
local is_out = member[1] < member[2]
orphan(who)
if is_out or member[1] >= last then
  redis.call('HDEL', MEMBERS, who)
else
  keep(MEMBERS, who, { member[1], last, member[3], member[4] })
end
return { 'out' }
