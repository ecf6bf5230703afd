-- Every row enters Lua and is parsed to an array.
local rsets = {} -- server id → the resultset it is sending

local function begins(rset, id)
  rsets[id] = rset
end

local function row(packet, id)
  rsets[id]:parse_row_array(packet)
end

local function complete(_, id)
  rsets[id] = nil
end

require "link" (function(server)
  server:register(dpm.MYS_SENT_RSET, begins)
  server:register(dpm.MYS_SENDING_ROWS, row)
  server:register(dpm.MYS_WAIT_CMD, complete)
  server:register(dpm.MYS_RECV_ERR, complete)
end)
