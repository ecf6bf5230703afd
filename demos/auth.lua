-- auth.lua: users kept in the proxy. The server knows one account only, and none of their passwords.
-- Run: dpm --startfile demos/auth.lua -- [backend host] [port] [listen port] [user] [password]
-- Look: mysql -h 127.0.0.1 -P 5500 -u ann -pann, then: SELECT CURRENT_USER(); and the same as bob.

local dpml = require "dpml"
local host, port, listen_port = arg[1] or "127.0.0.1", tonumber(arg[2]) or 3306, tonumber(arg[3]) or 5500
local user, password = arg[4] or "root", arg[5] or ""

local users = {
    ann = { password = "ann" }, -- any method
    bob = dpm.hash_pass("bob", "caching_sha2_password"), -- what MySQL 8 and 9 keep
    old = dpm.hash_pass("old"), -- what SELECT PASSWORD('old') prints: for old clients
}

local listener = dpm.listener("127.0.0.1", listen_port, { tls = true })
-- A client gets its OK once there is a server for it. Each COM_CHANGE_USER gets a new server, so that nothing of the
-- previous user is left.
dpml.proxy_new_clients(listener, {}, {
    users = users,
    backend = { host = host, port = port, user = user, password = password },
})
print("dpm: auth listening on 127.0.0.1:" .. listener:socket_port())
