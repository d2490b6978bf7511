-- Tells what changed after a place in the log, with the records as they are now.
-- ARGV: the place's stream id and change, most bytes to answer with.
-- The place itself must still be in the log and be the same change: else it was trimmed, the space was
-- erased, or Redis came back without its last second, and the caller has to start from the records.
-- Returns {'gap'} or {'ok', more (1|0), stream id, change, id, record or false, …}.
local place, change, most = ARGV[1], ARGV[2], tonumber(ARGV[3])
local reply, seen, bytes = {'ok', 0, place, change}, {}, 0
local entries = redis.call('XRANGE', log, place, '+', 'COUNT', 1)
if not entries[1] or entries[1][1] ~= place or entries[1][2][2] ~= change then
  return {'gap'}
end
while true do
  entries = redis.call('XRANGE', log, '(' .. reply[3], '+', 'COUNT', 64)
  for _, entry in ipairs(entries) do
    if bytes > most then
      reply[2] = 1
      return reply
    end
    for id in string.gmatch(entry[2][4], '%S+') do
      if not seen[id] then
        seen[id] = true
        local record = redis.call('HGET', records, id)
        reply[#reply + 1] = id
        reply[#reply + 1] = record
        bytes = bytes + #id + (record and #record or 0)
      end
    end
    reply[3], reply[4] = entry[1], entry[2][2]
  end
  if #entries < 64 then
    return reply
  end
end
