-- Writes one batch of exchanges, counts included, or finds that an earlier try did.
-- KEYS: stream, last batch of this writer, known arms, then the counts of each arm in the batch, then each
-- index in the batch.
-- ARGV: number of the batch, milliseconds now, number of arms, number of indexes; for each arm its name,
-- release, exchanges and errors; for each index when it ends; for each exchange which index, request id,
-- unit and arm in one text, then the record.
local batch, now = ARGV[1], ARGV[2]
local arms, indexes = tonumber(ARGV[3]), tonumber(ARGV[4])
if redis.call('GET', KEYS[2]) == batch then
  return 0
end
local at = 5
for n = 1, arms do
  local key = KEYS[3 + n]
  redis.call('ZADD', KEYS[3], now, ARGV[at])
  redis.call('HSET', key, 'release', ARGV[at + 1])
  redis.call('HINCRBY', key, 'exchanges', ARGV[at + 2])
  redis.call('HINCRBY', key, 'errors', ARGV[at + 3])
  at = at + 4
end
local first = 3 + arms
local ends = at
at = at + indexes
while at < #ARGV do
  local index, id, rest = string.match(ARGV[at], '^(%d+) (%S+) (.*)$')
  local place = redis.call('XADD', KEYS[1], '*', 'r', ARGV[at + 1])
  redis.call('HSET', KEYS[first + tonumber(index)], id, place .. ' ' .. rest)
  at = at + 2
end
for n = 1, indexes do
  redis.call('PEXPIREAT', KEYS[first + n], ARGV[ends + n - 1])
end
redis.call('SET', KEYS[2], batch, 'PX', 3600000)
return 1
