-- A passthrough that observes nothing, what one does by default, or everything.
-- arg: host and port of the server, the collector's port, "none", "counted", "some" or "all"
local dpml = require "dpml"

local how = arg[4]
if how ~= "none" then
    dpml.digests {}
    dpml.metrics(dpm.http_listener("127.0.0.1", 0))
end
if how == "some" or how == "all" then
    dpml.tracing {
        endpoint = ("http://127.0.0.1:%d/v1/traces"):format(tonumber(arg[3])),
        sample = how == "all" and 1 or 0.01, interval = 1, queue = 65536,
    }
    local timer = dpm.new_timer()
    timer:schedule(1, 0, function()
        local traces = dpm.stats("traces")
        print(("traces: recorded %d, sent %d, dropped %d, failed %d"):format(traces.recorded, traces.sent, traces.dropped,
            traces.failed))
    end)
end

local listener = dpm.listener("127.0.0.1", 0)
dpml.passthrough_new_clients(listener, {}, { arg[1], tonumber(arg[2]) })
print("port " .. listener:socket_port())
