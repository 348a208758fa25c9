-- wrk: orders, each with a client_order_id of its own, over several keys and markets.
-- Arguments: a file (keys on its first line, market ids on its second), a prefix for the ids, and how many orders a
-- request carries: 0 sends single orders, more sends batches.

local threads = 0

function setup(thread)
  thread:set("number", threads)
  threads = threads + 1
end

local function words(line)
  local found = {}
  for word in line:gmatch("%S+") do
    found[#found + 1] = word
  end
  return found
end

function init(args)
  local file = assert(io.open(args[1]))
  local keys = words(file:read("*l"))
  markets = words(file:read("*l"))
  file:close()
  prefix = args[2] .. "-" .. number .. "-"
  items = tonumber(args[3])
  sent = 0
  headers = {}
  for i, key in ipairs(keys) do
    headers[i] = { ["Authorization"] = "Bearer " .. key, ["Content-Type"] = "application/json" }
  end
  math.randomseed(os.time() + number * 7919)
end

local order = '{%s"outcome":"Yes","side":"%s","price":"%.4f","quantity":%d,"client_order_id":"%s%d"}'

-- Seven of ten rest around the middle, three cross it.
local function new_order(market)
  sent = sent + 1
  local buy = math.random() < 0.5
  local ticks = buy and 3 or -3
  if math.random() < 0.7 then
    ticks = buy and -math.random(20) or math.random(20)
  end
  return order:format(market, buy and "buy" or "sell", 0.5 + ticks / 100, math.random(50), prefix, sent)
end

function request()
  local path, body
  if items == 0 then
    path = "/api/v1/markets/" .. markets[math.random(#markets)] .. "/orders"
    body = new_order("")
  else
    local orders = {}
    for i = 1, items do
      orders[i] = new_order('"market_id":"' .. markets[math.random(#markets)] .. '",')
    end
    path = "/api/v1/orders/batch"
    body = '{"orders":[' .. table.concat(orders, ",") .. ']}'
  end
  return wrk.format("POST", path, headers[math.random(#headers)], body)
end
-- wrk: the result as one line of JSON; loaded after a script that makes the requests.
function done(summary, latency, requests)
  local errors = summary.errors
  io.write(string.format(
    '\nRESULT {"requests": %d, "duration_us": %d, "refused": %d, "socket_errors": %d, "timeouts": %d, '
      .. '"p50_us": %d, "p99_us": %d}\n',
    summary.requests, summary.duration, errors.status, errors.connect + errors.read + errors.write,
    errors.timeout, latency:percentile(50.0), latency:percentile(99.0)))
end
