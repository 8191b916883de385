-- ARGV: place. Who has not applied it, and is not shut out. If that is nobody, who is shut out owes it too.
local place = tonumber(ARGV[3])
local names, members = all(MEMBERS)
local behind, out = {}, {}
for _, name in ipairs(names) do
  local applied, fence = members[name][1], members[name][2]
  if applied < fence then
    out[#out + 1] = name
  elseif applied < place then
    behind[#behind + 1] = name
  end
end
if #behind == 0 then
  for _, name in ipairs(out) do
    local member = members[name]
    if member[2] < place then keep(MEMBERS, name, { member[1], place, member[3], member[4] }) end
  end
end
return { 'behind', shown(behind, members) }
