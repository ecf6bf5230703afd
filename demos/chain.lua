-- chain.lua: several plug-ins over one connection: each sees what the one before it has made of a command or a row.
-- Run: dpm --startfile demos/chain.lua -- [backend host] [port] [listen port] [ignored] [ignored] [firewall file]
-- Look: the firewall stops what its file does not list, mask hides, rewrite limits, slowlog counts (SHOW DIGESTS).

local dpml = require "dpml"
local host, port, listen_port = arg[1] or "127.0.0.1", tonumber(arg[2]) or 3306, tonumber(arg[3]) or 5500

-- The demos of these names. Whoever is required has a name, `...`, and returns its plug-in; as a startfile it has
-- none, and listens.
local firewall, mask, rewrite, slowlog = require "firewall", require "mask", require "rewrite", require "slowlog"

local links = { slowlog(1000) } -- also what is refused takes time
if arg[6] then links[#links + 1] = firewall(arg[6], arg[7] == "learn") end -- before anybody rewrites
links[#links + 1] = mask("customers.email,customers.card")
links[#links + 1] = rewrite(100)

listener = dpm.listener("127.0.0.1", listen_port) -- a global, or it would be collected
dpml.passthrough_new_clients(listener, dpml.chain(links), { host, port })
print("dpm: chain listening on 127.0.0.1:" .. listener:socket_port())
