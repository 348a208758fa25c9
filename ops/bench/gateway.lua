-- wrk: single orders to the gateway of the PyPI package matching-engine, in the mix of orders.lua.

function init(args)
  math.randomseed(os.time())
  headers = { ["Content-Type"] = "application/json" }
end

local order = '{"account":%d,"side":"%s","price":"%.2f","quantity":"%d"}'

function request()
  local buy = math.random() < 0.5
  local ticks = buy and 3 or -3
  if math.random() < 0.7 then
    ticks = buy and -math.random(20) or math.random(20)
  end
  local market = math.random() < 0.5 and "BTC-USDT" or "ETH-USDT"
  local body = order:format(math.random(32), buy and "buy" or "sell", 0.5 + ticks / 100, math.random(50))
  return wrk.format("POST", "/markets/" .. market .. "/orders", headers, body)
end

-- The result is told as by the other scripts.
dofile(debug.getinfo(1, "S").source:match("^@(.*/)") .. "report.lua")
