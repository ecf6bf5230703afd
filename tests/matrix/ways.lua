-- The proxy of the matrix, before one server.
--   dpm -s tests/matrix/ways.lua -- WAY HOST PORT CERT KEY CA PASSWORD
local way, host, port = arg[1], arg[2], tonumber(arg[3])

-- Functions for every state, which look at what they are given.
local function watch_everything(conn, side)
  local columns
  for name, state in pairs(dpm) do
    local is_state = name:match("^" .. side .. "_") and name ~= "MYC_CONNECT"
    if is_state and type(state) == "number" then
      conn:register(state, function(packet)
        if name == "MYS_SENT_RSET" then columns = packet end
        if name == "MYS_SENDING_ROWS" and columns then columns:parse_row_array(packet) end
      end)
    end
  end
end

local held = {} -- client id -> client, while it is connected

-- Global: nothing else keeps it.
listener = dpm.listener("127.0.0.1", 0)
listener:register(dpm.MYC_CONNECT, function(client)
  local server = dpm.connect(host, port)
  if way == "callbacks" then
    watch_everything(client, "MYC")
    watch_everything(server, "MYS")
  end
  dpm.proxy_connect(client, server)
  -- The link keeps the server as long as the client is kept.
  local id = client:id()
  held[id] = client
  client:on_close(function() held[id] = nil end)
  server:on_close(function() dpm.close(client) end)
end)

dpm.on_signal("USR1", function()
  local parts = {}
  for name, value in pairs(dpm.stats()) do parts[#parts + 1] = name .. "=" .. tostring(value) end
  print("STATS " .. table.concat(parts, " "))
end)
print("port " .. listener:socket_port())
