-- reload_all.lua: a startfile that can be edited while it runs; clients move to the new one, with what it knew of them.
-- Run: dpm --startfile demos/reload_all.lua -- [backend host] [port] [listen port]
-- Look: SELECT 1; change GREETING, then `kill -HUP` the process; SELECT 1 in the same session.

local dpml = require "dpml"
local host, port, listen_port = arg[1] or "127.0.0.1", tonumber(arg[2]) or 3306, tonumber(arg[3]) or 5500

local GREETING = "Hello"

local function plugin(client)
    local count = 0
    return {
        new_command = function()
            count = count + 1
            print(("dpm: reload_all %s, client %d: command %d"):format(GREETING, client:id(), count))
        end,
        save = function() return tostring(count) end,
        restore = function(_, text) count = tonumber(text) end,
    }
end

local listener = dpm.listener("127.0.0.1", listen_port)
dpml.passthrough_new_clients(listener, plugin, { host, port })
print("dpm: reload_all listening on 127.0.0.1:" .. listener:socket_port())

-- What must hold before this startfile is used: otherwise the one before stays.
return { selftest = function() assert(#GREETING > 0, "nobody is greeted") end }
