-- operations.lua: a port for administrators: who is connected, what is slow, and what can be done about it.
-- Run: dpm --startfile demos/operations.lua -- [backend host] [port] [listen port] [user] [password] [admin port]
-- Look: mysql -h 127.0.0.1 -P 5501 with that account, then: SHOW CLIENTS; SHOW DIGESTS LIMIT 5; SHOW HELP;

local dpml = require "dpml"
local host, port, listen_port = arg[1] or "127.0.0.1", tonumber(arg[2]) or 3306, tonumber(arg[3]) or 5500
local user, password, admin_port = arg[4] or "root", arg[5] or "", tonumber(arg[6]) or 5501
assert(password ~= "", "who operates the proxy here needs a password")

dpml.digests { max = 5000, by = { "user" } }

local listener = dpm.listener("127.0.0.1", listen_port)
dpml.passthrough_new_clients(listener, {}, { host, port })

local admin = dpm.listener("127.0.0.1", admin_port)
dpml.admin(admin, {
    users = { [user] = { password = password }, guest = { password = "guest" } },
    roles = { [user] = "operator" }, -- guests may look only
})
print("dpm: operations: administrators on port " .. admin:socket_port())
print("dpm: operations listening on 127.0.0.1:" .. listener:socket_port())
