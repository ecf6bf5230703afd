-- pool-one.lua: all clients share one server connection; their commands queue while it is busy.
-- Run: dpm --startfile demos/pool-one.lua -- [backend host] [port] [listen port] [user] [password]
-- Look: log in several times: SHOW PROCESSLIST shows one connection, and USE in one moves them all.

local dpml = require "dpml"
local host, port, listen_port = arg[1] or "127.0.0.1", tonumber(arg[2]) or 3306, tonumber(arg[3]) or 5500
local user, password = arg[4] or "root", arg[5] or ""

local backend, current -- the server, once it is connected; the client whose command it executes
local waiting = {} -- the commands that have not been sent to it, oldest first
local unanswered = { [dpm.COM_STMT_CLOSE] = true, [dpm.COM_STMT_SEND_LONG_DATA] = true }

local function run_next()
    while backend and waiting[1] and not current do
        local job = table.remove(waiting, 1)
        local linked, why = pcall(dpm.proxy_connect, job.client, backend) -- replaces the link to the client before
        if linked then
            current = not unanswered[job.cmd:command()] and job.client or nil
            dpm.wire_packet(backend, job.cmd)
        else
            pcall(dpml.send_error, job.client, "HY000", 1105, why) -- the client may have left
        end
    end
end

local function new_command(cmd, client_id, client)
    -- When a client leaves, the shared server stays.
    if cmd:command() == dpm.COM_QUIT then dpm.close(client) else table.insert(waiting, { client = client, cmd = cmd }) end
    run_next()
    return dpm.DPM_NOPROXY
end

local function answered(client_id)
    if not current or current:id() ~= client_id then return end
    current = nil
    run_next()
end

-- The end of an answer whose client has left: the next client must not get it.
local function drop_orphan()
    if current and current:close_reason() then
        answered(current:id())
        return dpm.DPM_NOPROXY
    end
end

local function use_backend(server, err)
    if err then return print("dpm: pool-one: " .. tostring(err)) end
    backend = server
    dpml.register_callbacks(backend, { [dpm.MYS_WAIT_CMD] = drop_orphan, [dpm.MYS_RECV_ERR] = drop_orphan })
    run_next()
end

local listener = dpm.listener("127.0.0.1", listen_port)
local callbacks, accounts = { new_command = new_command, finished_command = answered }, { [user] = { password = password } }
dpml.authenticate_new_clients(listener, callbacks, accounts)
local options = { host = host, port = port, user = user, password = password, callback = use_backend }
dpml.connect_mysql_server(options):on_close(function() dpm.exit(1) end) -- no backend, no pool
print("dpm: pool-one listening on 127.0.0.1:" .. listener:socket_port())
