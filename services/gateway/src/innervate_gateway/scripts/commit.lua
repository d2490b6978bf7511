-- Writes one batch of exchanges, counts included, or finds that an earlier try did.
-- KEYS: stream, last batch of this writer, known arms, then the counts of each arm in the batch, then each
-- index in the batch.
-- ARGV: number of the batch, milliseconds now, number of arms, number of indexes; for each arm its name,
-- release, exchanges and errors; for each index when it ends and its number of exchanges; for each exchange,
-- those of the first index first, request id, unit and arm in one text, record.
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
local row = at + 2 * indexes
for n = 1, indexes do
  local key, places = KEYS[3 + arms + n], {}
  for _ = 1, tonumber(ARGV[at + 1]) do
    local place = redis.call('XADD', KEYS[1], '*', 'r', ARGV[row + 2])
    places[#places + 1] = ARGV[row]
    places[#places + 1] = place .. ' ' .. ARGV[row + 1]
    row = row + 3
  end
  redis.call('HSET', key, unpack(places))
  redis.call('PEXPIREAT', key, ARGV[at])
  at = at + 2
end
redis.call('SET', KEYS[2], batch, 'PX', 3600000)
return 1
