-- Stores records, all or none; with an `old` one, which the first record replaces.
-- ARGV: space, now, change, log length, most records, track use (1|0), old id, old as read, old as replaced,
--       then for each record: id, record, key, digest, expiry (0: never).
-- Returns {'ok', id, created, id, created, …}, {'conflict', place, id}, {'full', records} or {'changed'}.
local space, now, change, length = ARGV[1], tonumber(ARGV[2]), ARGV[3], ARGV[4]
local most, track, old_id, old, replaced = tonumber(ARGV[5]), ARGV[6], ARGV[7], ARGV[8], ARGV[9]
local reply, new, stale = {'ok'}, {}, {}

for i = 10, #ARGV, 5 do
  local id, key, digest = ARGV[i], ARGV[i + 2], ARGV[i + 3]
  local held, created = id, 1
  if key ~= '' then
    local entry = redis.call('HGET', keys, key)
    if entry then
      local at, seal, expires = string.match(entry, '^(%S+) (%S+) (%d+)$')
      if tonumber(expires) > 0 and tonumber(expires) <= now then
        stale[#stale + 1] = at
      elseif at ~= id and seal ~= digest then
        return {'conflict', (i - 10) / 5, at}
      elseif at ~= id then
        held, created = at, 0
      end
    end
  end
  -- The same id is there already when this is the second try of a write whose answer was lost.
  if created == 1 and redis.call('HEXISTS', records, id) == 0 then
    new[#new + 1] = i
  end
  reply[#reply + 1] = held
  reply[#reply + 1] = created
end

if #new == 0 then
  return reply
end
if old_id ~= '' and redis.call('HGET', records, old_id) ~= old then
  return {'changed'}
end
local present = redis.call('HLEN', records)
if present - #stale + #new > most then
  return {'full', present}
end

local bytes, ids = 0, {}
for _, id in ipairs(stale) do
  bytes = bytes - (erase(id) or 0)
  ids[#ids + 1] = id
end
local number = #new - #stale
for _, i in ipairs(new) do
  local id, record, key, digest, expires = ARGV[i], ARGV[i + 1], ARGV[i + 2], ARGV[i + 3], ARGV[i + 4]
  redis.call('HSET', records, id, record)
  redis.call('ZADD', order, redis.call('HINCRBY', totals, 'sequence', 1), id)
  if key ~= '' then
    redis.call('HSET', keys, key, id .. ' ' .. digest .. ' ' .. expires)
  end
  if expires ~= '0' then
    redis.call('ZADD', expiry, expires, id)
  end
  if track == '1' then
    redis.call('ZADD', used, ARGV[2], id)
  end
  bytes = bytes + #record
  ids[#ids + 1] = id
end
if old_id ~= '' then
  redis.call('HSET', records, old_id, replaced)
  bytes = bytes + #replaced - #old
  ids[#ids + 1] = old_id
end
count(space, number, bytes)
announce(change, length, ids)
schedule(space)
return reply
