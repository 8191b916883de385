-- What is open: write, incarnation, place.
local writes, intents = all(INTENTS)
local rows = {}
for at, write in ipairs(writes) do rows[at] = { write, intents[write][1], intents[write][2] } end
return { 'intents', rows }
