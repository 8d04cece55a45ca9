-- Arguments after `--`: the method, the mean delay between a connection's requests in
-- milliseconds, the type of the body, and the body. Prints a line of JSON when all is done.
local delays = 0

function init(args)
  wrk.method = args[1]
  delays = tonumber(args[2])
  if args[4] ~= nil and args[4] ~= "" then
    wrk.headers["Content-Type"] = args[3]
    wrk.body = args[4]
  end
end

-- Spread evenly around its mean, so that connections don't march in step.
function delay()
  return math.random(0, 2 * delays)
end

function done(summary, latency, requests)
  local errors = summary.errors
  io.write(string.format(
    '{"requests": %d, "seconds": %.6f, "failures": %d, "p50_ms": %.3f, "p99_ms": %.3f}\n',
    summary.requests,
    summary.duration / 1e6,
    errors.connect + errors.read + errors.write + errors.status + errors.timeout,
    latency:percentile(50) / 1e3,
    latency:percentile(99) / 1e3
  ))
end
