-- autoexplain.lua: has the server explain statements that are slow or use no index, on a connection of its own.
-- Run: dpm --startfile demos/autoexplain.lua -- [host] [port] [listen port] [user] [password] [threshold in ms] [seconds]
-- Look: run a SELECT that scans a table: the log says so. Then mysql -P (the other port) -u dpm -pdpm -e "SHOW PLANS".

local dpml = require "dpml"
local host, port, listen_port = arg[1] or "127.0.0.1", tonumber(arg[2]) or 3306, tonumber(arg[3]) or 5500

local explain = dpml.autoexplain {
    threshold_ms = tonumber(arg[6]) or 100,
    interval = tonumber(arg[7]) or 3600, -- seconds in which a statement is not explained again
    -- The account that explains needs the privileges of the explained statements, and no others. Clients never use
    -- it.
    side = { host = host, port = port, user = arg[4] or "root", password = arg[5] or "" },
    -- The log has no values of the statement itself; the text of EXPLAIN may have some.
    report = function(plan)
        for _, step in ipairs(plan.steps or {}) do
            print(("%s: %s, key %s, %s rows"):format(step.table, step.access, step.key or "none", step.rows or "?"))
        end
    end,
}

local listener = dpm.listener("127.0.0.1", listen_port)
dpml.passthrough_new_clients(listener, explain, { host, port })

local admin_listener = dpm.listener("127.0.0.1", listen_port == 0 and 0 or listen_port + 1)
explain:admin(admin_listener, { users = { dpm = { password = "dpm" } } })

print("dpm: autoexplain's SHOW PLANS on 127.0.0.1:" .. admin_listener:socket_port())
print("dpm: autoexplain listening on 127.0.0.1:" .. listener:socket_port())
