-- mirror.lua: sends statements that write to two servers at once, and those that read to the first one only.
-- Run: dpm --startfile demos/mirror.lua -- [host] [port] [listen port] [user] [password] [host 2] [port 2]
-- Look: with one server for both, INSERT INTO t VALUES (1), then SELECT * FROM t: there are two.

local dpml = require "dpml"
local host, port, listen_port = arg[1] or "127.0.0.1", tonumber(arg[2]) or 3306, tonumber(arg[3]) or 5500
local user, password = arg[4] or "root", arg[5] or "" -- for the mirror; at the first server clients log in themselves
local mirror_host, mirror_port = arg[6] or host, tonumber(arg[7]) or port

-- Statement ids and files belong to one server only, so that other commands are not mirrored.
local function is_mirrored(cmd)
    if cmd:command() == dpm.COM_INIT_DB then return true end
    local kind, info = dpm.statement_kind(cmd:argument())
    return cmd:command() == dpm.COM_QUERY and kind ~= nil and not info.read_only
end

-- The mirror has no link, so its answers are not forwarded: they are only checked.
local function watch(mirror, client_id)
    local function report(text) print(("mirror of client %d: %s"):format(client_id, text)) end
    mirror:register(dpm.MYS_WAIT_CMD, function() report("done") end)
    mirror:register(dpm.MYS_RECV_ERR, function(err) report(err:errnum() .. " " .. err:message()) end)
end

local function plugin(client)
    local client_id, mirror = client:id(), nil
    client:pause() -- no command may be missed while the mirror is still connecting
    dpml.connect_mysql_server {
        host = mirror_host, port = mirror_port, user = user, password = password,
        callback = function(server, err)
            if client:close_reason() then return server and dpm.close(server) end
            client:resume()
            if err then return print("no mirror: " .. tostring(err)) end
            mirror = server
            watch(mirror, client_id)
            mirror:on_close(function() mirror = nil end)
        end,
    }
    return {
        new_command = function(cmd)
            -- This copy is sent now, the original when we return. If the mirror is slower, commands wait in its queue
            -- and are answered in order.
            if mirror and is_mirrored(cmd) then dpm.wire_packet(mirror, cmd) end
        end,
        closing = function()
            if mirror then dpm.close(mirror) end
        end,
    }
end

local listener = dpm.listener("127.0.0.1", listen_port)
dpml.passthrough_new_clients(listener, plugin, { host, port })
print("dpm: mirror listening on 127.0.0.1:" .. listener:socket_port())
