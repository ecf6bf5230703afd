-- pool.lua: many clients over few server connections, each with a session of its own; a second port shows who is held.
-- Run: dpm --startfile demos/pool.lua -- [backend host] [port] [listen port] [user] [password] [admin port]
-- Look: SET @a = 1; then on port 5501, with the same account: SHOW HELD; SHOW POOLS; SHOW HELP

local dpml = require "dpml"
local users = { [arg[4] or "root"] = { password = arg[5] or "" } }
local listener = dpm.listener("127.0.0.1", tonumber(arg[3]) or 5500)
local servers = { { host = arg[1] or "127.0.0.1", port = tonumber(arg[2]) or 3306 } }
local pool = dpml.pool(listener, { servers = servers, users = users, size = 5 })
local admin_listener = dpm.listener("127.0.0.1", tonumber(arg[6]) or 5501)
pool:admin(admin_listener, { users = users })
print("dpm: pool listening on 127.0.0.1:" .. listener:socket_port())
print("dpm: pool: SHOW HELD on port " .. admin_listener:socket_port())
