-- reload.lua: a proxy whose plug-in can be edited while it runs: no connection is cut, and no query fails.
-- Run: dpm --startfile demos/reload.lua -- [backend host] [port] [listen port] [ignored] [ignored] [file]
-- Look: SELECT 1; change reload_plugin.lua beside this file; new clients have it, an error is printed here.

local dpml = require "dpml"
local host, port, listen_port = arg[1] or "127.0.0.1", tonumber(arg[2]) or 3306, tonumber(arg[3]) or 5500
local path = arg[6] or (arg[0]:match("^.*/") or "") .. "reload_plugin.lua"

local listener = dpm.listener("127.0.0.1", listen_port)
-- The file is checked every second, and at once on HUP. Clients keep the version that they began with.
dpml.passthrough_new_clients(listener, dpml.reloadable(path, 1), { host, port })
print("dpm: reload listening on 127.0.0.1:" .. listener:socket_port())
