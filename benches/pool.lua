-- A pool of twenty connections, and prints the port it listens on.
-- arg: host and port of the server; with TLS towards clients also a certificate and its key.
local dpml = require "dpml"

local tls = arg[3] and { cert = arg[3], key = arg[4] }
local listener = dpm.listener("127.0.0.1", 0, { tls = tls or nil })
dpml.pool(listener, {
  servers = { { host = arg[1] or "127.0.0.1", port = tonumber(arg[2] or 3306), role = "primary" } },
  users = { bench = { password = "bench" } },
  size = 20,
  min_idle = 20,
  max_waiting = 10000,
  queue_timeout = 60, -- on a busy machine the first connection takes long
  -- Without TLS, as HAProxy's clients.
  auth_plugin = tls and "caching_sha2_password" or "mysql_native_password",
})
print(listener:socket_port())
