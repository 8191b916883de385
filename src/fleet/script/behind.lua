-- ARGV: place. Who has not applied it, and is not shut out. Up to where the last of them is, who is shut out owes it too: so far it
-- may be acknowledged.
local place = tonumber(ARGV[3])
local names, members = all(MEMBERS)
local behind, out, least = {}, {}, place
for _, name in ipairs(names) do
  local applied, fence = members[name][1], members[name][2]
  if applied < fence then
    out[#out + 1] = name
  elseif applied < place then
    behind[#behind + 1] = name
    least = math.min(least, applied)
  end
end
for _, name in ipairs(out) do
  local member = members[name]
  if member[2] < least then keep(MEMBERS, name, { member[1], least, member[3], member[4] }) end
end
return { 'behind', shown(behind, members) }
