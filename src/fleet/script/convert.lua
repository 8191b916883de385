-- ARGV: how the caller lives; then incarnation and counter of each that was seen to stand still. Unless somebody may have a
-- lease, an epoch begins that lives so.
local coherence, still = ARGV[3], {}
for at = 4, #ARGV, 2 do still[ARGV[at]] = tonumber(ARGV[at + 1]) end
if redis.call('HGET', META, 'coherence') == coherence then return { 'done' } end
local names, members = all(MEMBERS)
for _, name in ipairs(names) do
  local member = members[name]
  if member[1] >= member[2] and member[3] ~= still[name] then return { 'moved' } end
end
begin()
redis.call('HSET', META, 'coherence', coherence)
return { 'done' }
