-- tracing.lua: each query is a span in an OpenTelemetry collector, below the application's own span if the query names that.
-- Run: dpm --startfile demos/tracing.lua -- [backend host] [port] [listen port] [ignored] [ignored] [collector's port]
-- Look: SELECT 1 /*traceparent='00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01'*/; then at the collector.

local dpml = require "dpml"
local host, port = arg[1] or "127.0.0.1", tonumber(arg[2]) or 3306

dpml.tracing {
    endpoint = ("http://127.0.0.1:%d/v1/traces"):format(tonumber(arg[6]) or 4318),
    service_name = "shop-database",
    sample = 1,        -- all, as this is a demo; 0.01 suffices where there are thousands in a second
    comment = true,    -- the server's slow log names the span, too
    interval = 1,
}

local listener = dpm.listener("127.0.0.1", tonumber(arg[3]) or 5500)
dpml.passthrough_new_clients(listener, {}, { host, port })
print("dpm: tracing listening on 127.0.0.1:" .. listener:socket_port())
