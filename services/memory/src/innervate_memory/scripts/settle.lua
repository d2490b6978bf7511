-- Takes back the mark of an erasure, unless there was another one since. ARGV: the mark.
if redis.call('HGET', totals, 'erased') == ARGV[1] then
  redis.call('HDEL', totals, 'erased')
end
