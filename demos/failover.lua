-- failover.lua: the pool finds out which server is the primary; while there is none, commands wait instead of failing.
-- Run: dpm --startfile demos/failover.lua -- [host] [port] [listen port] [user] [password] [host 2] [port 2] …
-- Look: stop the primary, INSERT (it waits), and promote the replica: SET GLOBAL read_only = 0. The INSERT goes on there.

local dpml = require "dpml"
local user, password = arg[4] or "root", arg[5] or ""
local servers = { { host = arg[1] or "127.0.0.1", port = tonumber(arg[2]) or 3306 } }
for i = 6, math.max(#arg, 7), 2 do
    servers[#servers + 1] = { host = arg[i] or "127.0.0.1", port = tonumber(arg[i + 1]) or 3307 }
end

local listener = dpm.listener("127.0.0.1", tonumber(arg[3]) or 5500)
local pool = dpml.pool(listener, { servers = servers, users = { [user] = { password = password } }, failover_timeout = 60 })

local seen = {} -- server -> what was printed of it
dpm.new_timer():schedule(0, 500, function()
    for _, server in ipairs(pool:status("servers")) do
        local now = ("%s, %s"):format(server.state, server.role or "role unknown")
        if seen[server.server] ~= now then
            print(("dpm: %s is %s"):format(server.server, now))
            seen[server.server] = now
        end
    end
end)
print("dpm: failover listening on 127.0.0.1:" .. listener:socket_port())
