-- coalesce.lua: identical SELECTs at the same time are sent once, and all clients that asked get the rows.
-- Run: dpm --startfile demos/coalesce.lua -- [backend host] [port] [listen port] [user] [password]
-- Look: SELECT SLEEP(5), 'x' in several terminals: SHOW PROCESSLIST has it once, and all get it together.

local dpml = require "dpml"
local host, port, listen_port = arg[1] or "127.0.0.1", tonumber(arg[2]) or 3306, tonumber(arg[3]) or 5500
local user, password = arg[4] or "root", arg[5] or "" -- the account, here and at the server

local listener = dpm.listener("127.0.0.1", listen_port)
dpml.accept_clients(listener, {
    users = { [user] = { password = password } },
    handler = dpml.coalesce { host = host, port = port, user = user, password = password },
    all_commands = true, -- all commands go to the server, not only queries
})
print("dpm: coalesce listening on 127.0.0.1:" .. listener:socket_port())
