-- autoexplain.lua: prints the server's plan of each SELECT before the SELECT itself is run.
-- Run: dpm --startfile demos/autoexplain.lua -- [backend host] [backend port] [listen port]
-- Look: mysql -h 127.0.0.1 -P 5500 ..., then SELECT from a table: the plan is printed here.

local dpml = require "dpml"
local host, port, listen_port = arg[1] or "127.0.0.1", tonumber(arg[2]) or 3306, tonumber(arg[3]) or 5500

local servers = {} -- client id -> its server
local held = {} -- server id -> { cmd = the SELECT that waits, rset = the plan that comes in }

local function end_explain(_, server_id, server)
    local select = held[server_id].cmd
    held[server_id] = nil
    server:package_register(nil) -- from here on the answer passes without Lua
    dpm.wire_packet(server, select)
    return dpm.DPM_NOPROXY
end

-- A package: laid over a server's own callbacks while it explains. Nothing of this is for the client.
local explaining = dpm.new_callback()
dpml.register_callbacks(explaining, {
    [dpm.MYS_SENT_RSET] = function(rset, server_id)
        held[server_id].rset = rset
        return dpm.DPM_NOPROXY
    end,
    [dpm.MYS_SENDING_FIELDS] = function(field, server_id)
        held[server_id].rset:add_field(field)
        return dpm.DPM_NOPROXY
    end,
    [dpm.MYS_SENT_FIELDS] = function() return dpm.DPM_NOPROXY end,
    [dpm.MYS_SENDING_ROWS] = function(row, server_id)
        dpml.dump_table(held[server_id].rset:parse_row_table(row))
        return dpm.DPM_NOPROXY
    end,
    [dpm.MYS_WAIT_CMD] = end_explain,
    [dpm.MYS_RECV_ERR] = end_explain, -- what is wrong with it, the SELECT itself will tell the client
})

local function new_command(cmd, client_id)
    local sql = cmd:command() == dpm.COM_QUERY and cmd:argument() or ""
    -- What comes after a semicolon would be run, not explained, and so run twice.
    if not sql:upper():find("^%s*SELECT%s") or sql:find(";") then return dpm.DPM_OK end
    local server, explain = servers[client_id], dpm.new_cmd_pkt()
    explain:command(dpm.COM_QUERY)
    explain:argument("EXPLAIN " .. sql)
    print("plan of " .. sql)
    held[server:id()] = { cmd = cmd }
    server:package_register(explaining)
    dpm.wire_packet(server, explain)
    return dpm.DPM_NOPROXY
end

listener = dpm.listener("127.0.0.1", listen_port) -- a global, or it would be collected
dpml.passthrough_new_clients(listener, {
    new_client = function(client, server) servers[client:id()] = server end,
    new_command = new_command,
    closing = function(client_id) held[servers[client_id]:id()], servers[client_id] = nil, nil end,
}, { host, port })
print("dpm: autoexplain listening on 127.0.0.1:" .. listener:socket_port())
