-- Erases everything of a space. ARGV: space, change. Returns how many records there were.
local number = redis.call('HLEN', records)
if number > 0 then
  count(ARGV[1], -number, -tonumber(redis.call('HGET', sizes, ARGV[1])))
  redis.call('HSET', totals, 'erased', ARGV[2])
  redis.call('UNLINK', records)
  forget_if_empty(ARGV[1])
end
return number
