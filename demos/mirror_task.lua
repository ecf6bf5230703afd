-- mirror_task.lua: mirror.lua as a task for each client: both servers have executed a write before it is answered.
-- Run: dpm --startfile demos/mirror_task.lua -- [host] [port] [listen port] [user] [password] [host 2] [port 2]
-- Look: with one server for both, INSERT INTO t VALUES (1), then SELECT * FROM t: there are two.

local dpml = require "dpml"
local host, port, listen_port = arg[1] or "127.0.0.1", tonumber(arg[2]) or 3306, tonumber(arg[3]) or 5500
local user, password = arg[4] or "root", arg[5] or ""
local mirror_host, mirror_port = arg[6] or host, tonumber(arg[7]) or port

local function connect(to_host, to_port, session)
    return dpml.connect { host = to_host, port = to_port, user = user, password = password, database = session.database,
        like = session.auth, charset = session.auth:charset_number() }
end

-- Statement ids and files belong to one server only, so that other commands are not mirrored.
local function is_mirrored(cmd)
    local kind, info = dpm.statement_kind(cmd:argument())
    return cmd:command() == dpm.COM_QUERY and kind ~= nil and not info.read_only
end

local function close(...)
    for _, db in pairs { ... } do db:close() end
end

local function handler(session)
    local auth, server, mirror
    for cmd in session:commands() do
        if session.auth ~= auth then -- for the first command, and after each COM_CHANGE_USER
            close(server, mirror)
            auth = session.auth
            server = connect(host, port, session)
            local ok, result = pcall(connect, mirror_host, mirror_port, session)
            mirror = ok and result or print("no mirror: " .. tostring(result))
        end
        if mirror and cmd:command() == dpm.COM_INIT_DB then
            pcall(mirror.use, mirror, cmd:argument())
        elseif mirror and is_mirrored(cmd) then
            local ok, err = pcall(mirror.query, mirror, cmd:argument())
            print(("mirror of client %d: %s"):format(session:id(), ok and "done" or tostring(err)))
        end
        session:forward(cmd, server)
    end
    close(server, mirror)
end

local listener = dpm.listener("127.0.0.1", listen_port)
dpml.accept_clients(listener, { users = { [user] = { password = password } }, handler = handler, all_commands = true })
print("dpm: mirror_task listening on 127.0.0.1:" .. listener:socket_port())
