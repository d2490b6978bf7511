-- Put in front of every script. The keys of one space, always in this order.
local records, keys, log, order, expiry, used = KEYS[1], KEYS[2], KEYS[3], KEYS[4], KEYS[5], KEYS[6]
-- The keys of the whole store: records by space, bytes by space, totals, next expiry by space.
local counts, sizes, totals, due = KEYS[7], KEYS[8], KEYS[9], KEYS[10]

-- Counters move in the script that moves the records, so that counting never has to walk anything.
local function count(space, number, bytes)
  redis.call('HINCRBY', counts, space, number)
  redis.call('HINCRBY', sizes, space, bytes)
  redis.call('HINCRBY', totals, 'records', number)
  redis.call('HINCRBY', totals, 'bytes', bytes)
end

-- The log says which records changed, never what they hold: after an erasure it keeps no text.
local function announce(change, length, ids)
  redis.call('XADD', log, 'MAXLEN', '~', length, '*', 'change', change, 'ids', table.concat(ids, ' '))
end

-- Brings the space's entry in `due` up to its earliest expiry.
local function schedule(space)
  local first = redis.call('ZRANGE', expiry, 0, 0, 'WITHSCORES')
  if first[2] then
    redis.call('ZADD', due, first[2], space)
  else
    redis.call('ZREM', due, space)
  end
end

-- Erases one record wherever it is; returns the bytes it took, or nil when there was none.
local function erase(id)
  local record = redis.call('HGET', records, id)
  if not record then
    redis.call('ZREM', order, id)
    redis.call('ZREM', expiry, id)
    redis.call('ZREM', used, id)
    return nil
  end
  local key = cjson.decode(record).key
  if key then
    local entry = redis.call('HGET', keys, key)
    if entry and string.sub(entry, 1, #id) == id then
      redis.call('HDEL', keys, key)
    end
  end
  redis.call('HDEL', records, id)
  redis.call('ZREM', order, id)
  redis.call('ZREM', expiry, id)
  redis.call('ZREM', used, id)
  return #record
end

-- A space without records leaves nothing behind, not even its name.
local function forget_if_empty(space)
  if redis.call('HLEN', records) == 0 then
    redis.call('UNLINK', records, keys, log, order, expiry, used)
    redis.call('HDEL', counts, space)
    redis.call('HDEL', sizes, space)
    redis.call('ZREM', due, space)
    return true
  end
  return false
end
