-- Passthrough, and passthrough with auto-explain, in one process; arguments: host, port, user, password.
-- Point selects do not reach the threshold; a statement that scans a table is reported once in 60 s.

local dpml = require "dpml"
local host, port = arg[1], tonumber(arg[2])

plain_listener = dpm.listener("127.0.0.1", 0)
dpml.passthrough_new_clients(plain_listener, {}, { host, port })

explained_listener = dpm.listener("127.0.0.1", 0)
dpml.passthrough_new_clients(explained_listener, dpml.autoexplain {
    threshold = 1000,
    interval = 60,
    side = { host = host, port = port, user = arg[3], pass = arg[4] },
}, { host, port })

print("plain " .. plain_listener:socket_port())
print("explained " .. explained_listener:socket_port())
