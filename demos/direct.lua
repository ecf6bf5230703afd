-- direct.lua: each client gets a server connection of its own; HELLO is rewritten on the way.
-- Run: dpm --startfile demos/direct.lua -- [backend host] [backend port] [listen port]
-- Look: mysql -h 127.0.0.1 -P 5500 -u <an account of the backend> -p, then: hello;

local host, port = arg[1] or "127.0.0.1", tonumber(arg[2]) or 3306
local listen_port = tonumber(arg[3]) or 5500

local sessions = {} -- client id -> { client, server }: objects without a reference are collected and closed

local function connect_backend()
    if host:sub(1, 1) == "/" then
        return dpm.connect_unix(host)
    end
    return dpm.connect(host, port)
end

local function new_command(cmd, client_id)
    if cmd:command() ~= dpm.COM_QUERY or cmd:argument():upper() ~= "HELLO" then
        return dpm.DPM_OK
    end
    -- A changed packet is sent by hand, and the original is held back.
    cmd:argument("SELECT 1 + 1")
    dpm.wire_packet(sessions[client_id].server, cmd)
    return dpm.DPM_NOPROXY
end

-- When one end closes, the other is closed, too.
local function close_session(client_id)
    local session = sessions[client_id]
    if session then
        sessions[client_id] = nil
        dpm.close(session.client)
        dpm.close(session.server)
    end
end

local function new_client(client)
    local client_id, server = client:id(), connect_backend()
    sessions[client_id] = { client = client, server = server }

    client:register(dpm.MYC_SENT_CMD, new_command)
    client:register(dpm.MY_CLOSING, close_session)
    server:register(dpm.MY_CLOSING, function()
        close_session(client_id)
    end)
    -- From here on the proxy forwards between the two: handshake, login and all that follows.
    dpm.proxy_connect(client, server)
end

-- A global, because a listener without a reference is collected, too.
listener = dpm.listener("127.0.0.1", listen_port)
listener:register(dpm.MYC_CONNECT, new_client)
print("dpm: direct listening on 127.0.0.1:" .. listener:socket_port())
