-- multiplexer.lua: one connection to watch a whole fleet.
-- Run: dpm --startfile demos/multiplexer.lua -- [listen port] [user] [password] [fleet.lua or host=…,user=…]…
-- Look: mysql -h 127.0.0.1 -P 5500 -u watcher -p, then: HELP; ADD DB host=…,user=…,pass=…; QUERY ALL 5 SHOW DATABASES;

local dpml = require "dpml"
local dsn = require "dpml.multiplexer.dsn"
local listen_port, user, pass = tonumber(arg[1]) or 5500, arg[2] or "watcher", arg[3] or "watcher"

local fleet = {}
for n = 4, #arg do
    if not arg[n]:find("=", 1, true) then
        fleet = arg[n] -- a file that returns a list, and is read again on HUP
        break
    end
    fleet[#fleet + 1] = assert(dsn.pairs_of(arg[n]))
end

listener = dpm.listener("127.0.0.1", listen_port, { tls = true }) -- a global, or it would be collected
dpml.multiplex(listener, { users = { [user] = { password = pass } }, fleet = fleet })
print("dpm: multiplexer listening on 127.0.0.1:" .. listener:socket_port())
