-- metrics.lua: a live page of what passes through, and the same for Prometheus and for probes.
-- Run: dpm --startfile demos/metrics.lua -- [backend host] [port] [listen port] [ignored] [ignored] [http port]
-- Look: http://127.0.0.1:9104/ in a browser; /metrics, /healthz and /readyz are for programs.

local dpml = require "dpml"
local host, port = arg[1] or "127.0.0.1", tonumber(arg[2]) or 3306

dpml.digests {} -- for the page's latencies and its top statements

local listener = dpm.listener("127.0.0.1", tonumber(arg[3]) or 5500)
dpml.passthrough_new_clients(listener, {}, { host, port })

local http = dpm.http_listener("127.0.0.1", tonumber(arg[6]) or 9104)
dpml.metrics(http)

print("dpm: metrics listening on 127.0.0.1:" .. listener:socket_port())
print("dpm: metrics: http://127.0.0.1:" .. http:port() .. "/")
