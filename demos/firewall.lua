-- firewall.lua: learns an application's statements, and then lets no others through.
-- Run: dpm --startfile demos/firewall.lua -- [backend host] [port] [listen port] [ignored] [ignored] [file] [learn]
-- Look: run the application once with "learn" at the end; then without: other values pass, other SQL does not.

local dpml = require "dpml"
local host, port, listen_port = arg[1] or "127.0.0.1", tonumber(arg[2]) or 3306, tonumber(arg[3]) or 5500

local firewall = dpml.firewall {
    file = arg[6] or "firewall.txt", -- one line for each statement, to be read and edited
    learn = arg[7] == "learn",
    on_refused = function(what, client_id)
        print(("client %d: refused: %s"):format(client_id, what))
    end,
}

local listener = dpm.listener("127.0.0.1", listen_port)
dpml.passthrough_new_clients(listener, firewall, { host, port })
print("dpm: firewall listening on 127.0.0.1:" .. listener:socket_port())
