-- ARGV: record, records to be kept, write ('': none), what is known of its outcome ('known', 'unknown').
local record, kept, write, outcome = ARGV[3], tonumber(ARGV[4]), ARGV[5], ARGV[6]
local place = append(record)
local intent = write ~= '' and one(INTENTS, write)
if intent and outcome == 'known' then
  redis.call('HDEL', INTENTS, write)
elseif intent then
  -- It may still reach the origin: the intent stays until it cannot.
  keep(INTENTS, write, { intent[1], place, record })
end
-- Redis gives up whole nodes of a hundred records at most, so there is no need to look more often.
if place > kept and place % 100 == 0 then
  local oldest = place - kept + 1
  local writes, intents = all(INTENTS)
  for _, open in ipairs(writes) do
    -- What holds a write that may still be on its way is not forgotten: it is journalled once more.
    if intents[open][2] > 0 and intents[open][2] < oldest then cover(open, intents[open]) end
  end
  redis.call('XTRIM', JOURNAL, 'MINID', '~', digits(oldest) .. '-0')
end
return { 'place', place }
