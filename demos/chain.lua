-- chain.lua: several plug-ins on one connection: each sees commands and rows as the one before it has changed them.
-- Run: dpm --startfile demos/chain.lua -- [backend host] [port] [listen port] [ignored] [ignored] [firewall file]
-- Look: the firewall stops what its file does not list, mask hides, rewrite limits, slowlog counts (SHOW DIGESTS).

local dpml = require "dpml"
local rewrite = require "rewrite" -- the demo of this name, which returns its plug-in when it is required
local host, port, listen_port = arg[1] or "127.0.0.1", tonumber(arg[2]) or 3306, tonumber(arg[3]) or 5500

local slowlog = dpml.slowlog { threshold_ms = 1000 }
local show_digests = {
    new_command = function(cmd, client_id, client)
        if cmd:argument():upper() == "SHOW DIGESTS" then
            dpml.send_resultset(client, slowlog:digests())
            return dpm.DPM_NOPROXY
        end
    end,
}

local links = { show_digests, slowlog } -- before the firewall, so that refused statements are counted, too
if arg[6] then
    links[#links + 1] = dpml.firewall { file = arg[6], learn = arg[7] == "learn" } -- before statements are rewritten
end
links[#links + 1] = dpml.mask { columns = { "customers.email", "customers.card" } }
links[#links + 1] = rewrite(100)

local listener = dpm.listener("127.0.0.1", listen_port)
dpml.passthrough_new_clients(listener, dpml.chain(links), { host, port })
print("dpm: chain listening on 127.0.0.1:" .. listener:socket_port())
