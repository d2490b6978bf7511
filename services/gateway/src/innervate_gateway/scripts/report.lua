-- Joins feedback to exchanges, all of it or none; what was joined before stays.
-- KEYS: for each feedback the bucket it is kept in, its arm's counts, and the units counted for arm and name.
-- ARGV: milliseconds now, most names of one exchange; for each feedback the bucket's end, request id, name,
-- value, expected answer, unit ('-' for none, '!' where nothing is counted).
-- Returns for each 1 recorded, 2 there already, 3 too many names; with any 3 nothing was recorded.
local now, most = ARGV[1], tonumber(ARGV[2])
local results, new, refused = {}, {}, false
local kept = {}
for n = 0, #KEYS / 3 - 1 do
  local bucket, at = KEYS[3 * n + 1], 3 + 6 * n
  local id, name, value, expected = ARGV[at + 1], ARGV[at + 2], ARGV[at + 3], ARGV[at + 4]
  local place = bucket .. ' ' .. id
  if not kept[place] then
    local found = redis.call('HGET', bucket, id)
    kept[place] = found and cjson.decode(found) or {}
  end
  local feedback = kept[place]
  local known, number = false, 0
  for _, entry in ipairs(feedback) do
    number = number + 1
    known = known or entry[1] == name
  end
  if known then
    results[n + 1] = 2
  elseif number >= most then
    results[n + 1] = 3
    refused = true
  else
    feedback[number + 1] = {name, value, expected}
    new[#new + 1] = n
    results[n + 1] = 1
  end
end
if refused then
  return results
end
for _, n in ipairs(new) do
  local bucket, counts, units = KEYS[3 * n + 1], KEYS[3 * n + 2], KEYS[3 * n + 3]
  local at = 3 + 6 * n
  local id, name, value, unit = ARGV[at + 1], ARGV[at + 2], ARGV[at + 3], ARGV[at + 5]
  redis.call('HSET', bucket, id, cjson.encode(kept[bucket .. ' ' .. id]))
  redis.call('PEXPIREAT', bucket, ARGV[at])
  if unit ~= '!' and (unit == '-' or redis.call('ZADD', units, 'NX', now, unit) == 1) then
    redis.call('HINCRBY', counts, 'units:' .. name, 1)
    redis.call('HINCRBY', counts, 'successes:' .. name, tonumber(value) >= 0.5 and 1 or 0)
  end
end
return results
