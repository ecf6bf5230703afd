-- mirror.lua: sends each query to two servers at once; the client gets the first one's answer.
-- Run: dpm --startfile demos/mirror.lua -- [host] [port] [listen port] [user] [password] [host 2] [port 2]
-- Look: log in with an account of the first server, run queries: the mirror's answers are told here.

local dpml = require "dpml"
local host, port, listen_port = arg[1] or "127.0.0.1", tonumber(arg[2]) or 3306, tonumber(arg[3]) or 5500
local user, pass = arg[4] or "root", arg[5] or "" -- for the mirror: at the first server, clients log in
local mirror_host, mirror_port = arg[6] or host, tonumber(arg[7]) or port

local mirrors = {} -- client id -> the second server that works for it

-- Statement ids and files belong to one server only, so that other commands are not mirrored.
local mirrored = { [dpm.COM_QUERY] = true, [dpm.COM_INIT_DB] = true }

local function new_command(cmd, client_id)
    local mirror = mirrors[client_id]
    if mirror and mirrored[cmd:command()] then
        -- This copy leaves now, the original when we return. If the mirror is slower, commands pile
        -- up in its queue and are answered in their order.
        dpm.wire_packet(mirror, cmd)
    end
end

-- The mirror has no link, so that its answers go nowhere: they are only looked at.
local function watch(mirror, client_id)
    local function report(text) print(("mirror of client %d: %s"):format(client_id, text)) end
    mirror:register(dpm.MYS_WAIT_CMD, function() report("done") end)
    mirror:register(dpm.MYS_RECV_ERR, function(err) report(err:errnum() .. " " .. err:message()) end)
    mirror:register(dpm.MY_CLOSING, function() mirrors[client_id] = nil end)
end

local function new_client(client)
    client:pause() -- not a command shall be missed while the mirror is not there yet
    dpml.connect_mysql_server {
        host = mirror_host, port = mirror_port, user = user, pass = pass,
        callback = function(mirror, err)
            if client:close_reason() then return mirror and dpm.close(mirror) end
            client:resume()
            if err then return print("no mirror: " .. tostring(err)) end
            mirrors[client:id()] = mirror
            watch(mirror, client:id())
        end,
    }
end

local function closing(client_id)
    if mirrors[client_id] then dpm.close(mirrors[client_id]) end
end

listener = dpm.listener("127.0.0.1", listen_port) -- a global, or it would be collected
dpml.passthrough_new_clients(listener, {
    new_client = new_client,
    new_command = new_command,
    closing = closing,
}, { host, port })
print("dpm: mirror listening on 127.0.0.1:" .. listener:socket_port())
