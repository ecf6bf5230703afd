-- table_counter.lua: shows and steers what demos/table_counter.rs counts: the queries of each table.
-- Run: cargo run --example table_counter -- --startfile demos/table_counter.lua -- [backend host] [port] [listen port]
-- Look: SHOW TABLE COUNTS, STOP COUNTING and SHOW BUSIEST CLIENT, among queries of your own.

local dpml = require "dpml"
local host, port, listen_port = arg[1] or "127.0.0.1", tonumber(arg[2]) or 3306, tonumber(arg[3]) or 5500

-- `counter` is what the program in Rust gives to scripts.
local commands = {}

commands["SHOW TABLE COUNTS"] = function(client)
    local rows = {}
    for name, queries in pairs(counter.tables()) do
        rows[#rows + 1] = { name, queries }
    end
    table.sort(rows, function(a, b)
        return a[1] < b[1]
    end)
    dpml.send_resultset(client, { fields = { "table", "queries" }, rows = rows })
end

commands["STOP COUNTING"] = function(client)
    counter.ignore(client, true)
    dpm.wire_packet(client, dpm.new_ok_pkt())
end

commands["SHOW BUSIEST CLIENT"] = function(client)
    local busiest, queries = counter.busiest()
    local rows = busiest and { { busiest:id(), queries } } or {}
    dpml.send_resultset(client, { fields = { "client", "queries" }, rows = rows })
end

local listener = dpm.listener("127.0.0.1", listen_port)
dpml.passthrough_new_clients(listener, {
    new_command = function(cmd, _, client)
        local command = cmd:command() == dpm.COM_QUERY and commands[cmd:argument():upper()]
        if command then
            command(client)
            return dpm.DPM_NOPROXY
        end
    end,
}, { host, port })
print("dpm: table_counter listening on 127.0.0.1:" .. listener:socket_port())
