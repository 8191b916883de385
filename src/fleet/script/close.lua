-- ARGV: write, whether its outcome is 'known', or it is merely over: then something must stand for it in this epoch.
local intent = one(INTENTS, ARGV[3])
if intent and ARGV[4] ~= 'known' and intent[2] == 0 then return { 'open' } end
if intent then redis.call('HDEL', INTENTS, ARGV[3]) end
return { 'done' }
