-- A pool of twenty connections, and prints the port it listens on.
-- arg: host and port of the server.
local dpml = require "dpml"

local listener = dpm.listener("127.0.0.1", 0)
dpml.pool(listener, {
  servers = { { host = arg[1] or "127.0.0.1", port = tonumber(arg[2] or 3306), role = "primary" } },
  users = { bench = { password = "bench" } },
  size = 20,
  min_idle = 20,
  max_waiting = 10000,
  auth_plugin = "mysql_native_password", -- the only method that the load knows
})
print(listener:socket_port())
