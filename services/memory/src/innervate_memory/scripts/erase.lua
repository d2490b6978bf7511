-- Erases records. ARGV: space, change, log length, condition, cut-off, then ids.
-- Condition: 'any'; 'expired' or 'idle' erase only what still is so at the cut-off.
-- Returns how many were erased.
local space, change, length, condition, cutoff = ARGV[1], ARGV[2], ARGV[3], ARGV[4], tonumber(ARGV[5])
local times = {expired = expiry, idle = used}
local bytes, ids = 0, {}
for i = 6, #ARGV do
  local time = times[condition] and redis.call('ZSCORE', times[condition], ARGV[i])
  if not times[condition] or (time and tonumber(time) <= cutoff) then
    local size = erase(ARGV[i])
    if size then
      bytes = bytes + size
      ids[#ids + 1] = ARGV[i]
    end
  end
end
if #ids > 0 then
  count(space, -#ids, -bytes)
  redis.call('HSET', totals, 'erased', change)
  if not forget_if_empty(space) then
    announce(change, length, ids)
    schedule(space)
  end
end
return #ids
