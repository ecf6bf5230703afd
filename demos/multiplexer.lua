-- multiplexer.lua: one connection to watch a whole fleet.
-- Run: dpm --startfile demos/multiplexer.lua -- [ignored] [ignored] [listen port] [user] [password] [fleet]
-- Look: mysql -h 127.0.0.1 -P 5500 -u watcher -pwatcher: HELP; ADD DB host=…,user=…; QUERY ALL 5 SHOW TABLES;

local dpml = require "dpml"
local dsn = require "dpml.multiplexer.dsn"
local listen_port, user, password = tonumber(arg[3]) or 5500, arg[4] or "watcher", arg[5] or "watcher"

local fleet = {} -- host=…,user=…,pass=… of each server, or the path of a file that returns a list
for n = 6, #arg do
    if not arg[n]:find("=", 1, true) then
        fleet = arg[n]
        break
    end
    fleet[#fleet + 1] = assert(dsn.pairs_of(arg[n]))
end

local listener = dpm.listener("127.0.0.1", listen_port, { tls = true })
dpml.multiplex(listener, { users = { [user] = { password = password } }, fleet = fleet })
print("dpm: multiplexer listening on 127.0.0.1:" .. listener:socket_port())
