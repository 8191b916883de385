-- What wrk asks, and what it says in the end.
-- `wrk -s load.lua URL/ -- N` asks for URL/0 … URL/(N-1) at random, the same sequence for every server;
-- `wrk -s load.lua URL` asks for one address, without calling Lua at all.

function init(arguments)
  local count = tonumber(arguments[1])
  if not count then return end
  local requests = {}
  for n = 1, count do
    requests[n] = wrk.format(nil, wrk.path .. (n - 1))
  end
  request = function() return requests[math.random(count)] end
end

function done(summary, latency)
  local errors = summary.errors
  io.write(string.format(
    '\n{"requests": %d, "seconds": %f, "errors": %d, "p50": %f, "p99": %f}\n',
    summary.requests, summary.duration / 1e6,
    errors.connect + errors.read + errors.write + errors.status + errors.timeout,
    latency:percentile(50) / 1e3, latency:percentile(99) / 1e3))
end
