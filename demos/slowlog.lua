-- slowlog.lua: prints each slow query, and counts all queries by digest.
-- Run: dpm --startfile demos/slowlog.lua -- [backend host] [port] [listen port] [ignored] [ignored] [time]
-- Look: SELECT SLEEP(1.5); then SHOW DIGESTS, which is answered here; kill -USR1 prints the same.

local dpml = require "dpml"
local host, port, listen_port = arg[1] or "127.0.0.1", tonumber(arg[2]) or 3306, tonumber(arg[3]) or 5500

local slowlog = dpml.slowlog {
    threshold_ms = dpml.milliseconds(arg[6] or "1s"),
    report = function(digest, milliseconds, client_id)
        print(("client %d: %s: %s"):format(client_id, dpml.duration(milliseconds), digest))
    end,
}
dpm.on_signal("USR1", function() dpml.dump_table(slowlog:digests().rows) end)

-- A plug-in before it that answers SHOW DIGESTS.
local show_digests = {
    new_command = function(cmd, client_id, client)
        if cmd:argument():upper() == "SHOW DIGESTS" then
            dpml.send_resultset(client, slowlog:digests())
            return dpm.DPM_NOPROXY
        end
    end,
}

local listener = dpm.listener("127.0.0.1", listen_port)
dpml.passthrough_new_clients(listener, dpml.chain { show_digests, slowlog }, { host, port })
print("dpm: slowlog listening on 127.0.0.1:" .. listener:socket_port())
