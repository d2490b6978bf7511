-- Erases records. ARGV: space, change, log length, condition, cut-off, newest to keep, then ids.
-- Condition: 'any'; 'expired' or 'idle' erase only what still is so at the cut-off.
-- Returns how many were erased.
local space, change, length, condition = ARGV[1], ARGV[2], ARGV[3], ARGV[4]
local cutoff, keep = tonumber(ARGV[5]), tonumber(ARGV[6])
local times = {expired = expiry, idle = used}
local bytes, ids = 0, {}
-- Erasing an older record leaves the rank of the newer ones (counted from 0, the newest) as it is.
for i = 7, #ARGV do
  local id = ARGV[i]
  local time = times[condition] and redis.call('ZSCORE', times[condition], id)
  local meant = not times[condition] or (time and tonumber(time) <= cutoff)
  if meant and keep > 0 then
    meant = (redis.call('ZREVRANK', order, id) or 0) >= keep
  end
  if meant then
    local size = erase(id)
    if size then
      bytes = bytes + size
      ids[#ids + 1] = id
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
