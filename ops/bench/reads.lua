-- Reads of what everybody may see: wrk -s reads.lua URL -- KIND MARKET...
-- KIND is a path below /api/v1 with MARKET in it, or `markets` alone.
local here = debug.getinfo(1, "S").source:match("@(.*/)") or ""
dofile(here .. "report.lua")

local paths, turn = {}, 0

function init(args)
   local kind = args[1]
   if #args == 1 then
      paths[1] = "/api/v1/" .. kind
   else
      for i = 2, #args do paths[#paths + 1] = "/api/v1/" .. string.gsub(kind, "MARKET", args[i]) end
   end
end

function request()
   turn = turn % #paths + 1
   return wrk.format("GET", paths[turn])
end
