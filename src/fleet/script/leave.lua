-- ARGV: incarnation. Nobody knows what became of a write that it leaves behind.
orphan(ARGV[3])
redis.call('HDEL', MEMBERS, ARGV[3])
return { 'done' }
