-- rw-split.lua: writes go to the primary, reads to a replica, which is waited for until it has what the client has written.
-- Run: dpm --startfile demos/rw-split.lua -- [host] [port] [listen port] [user] [password] [replica's host] [replica's port]
-- Look: SELECT @@port, COUNT(*) FROM a_table, also after BEGIN, and (mysql --comments) behind /* dpm:primary */

local dpml = require "dpml"
local host, port, listen_port = arg[1] or "127.0.0.1", tonumber(arg[2]) or 3306, tonumber(arg[3]) or 5500
local user, password = arg[4] or "root", arg[5] or ""

local listener = dpm.listener("127.0.0.1", listen_port)
dpml.pool(listener, {
    servers = {
        { host = host, port = port, role = "primary" },
        { host = arg[6] or host, port = tonumber(arg[7]) or 3307, role = "replica" },
    },
    users = { [user] = { password = password } },
    split = true,
    consistency = "session",
})
print("dpm: rw-split listening on 127.0.0.1:" .. listener:socket_port())
