-- tls.lua: TLS in front of a server that has none, with a certificate made on the spot or your own.
-- Run: [CERT=FILE KEY=FILE] dpm --startfile demos/tls.lua -- [backend host] [backend port] [listen port]
-- Look: mysql -h 127.0.0.1 -P 5500 --ssl-mode=REQUIRED -u <an account of the backend> -p, then: \s

local host, port = arg[1] or "127.0.0.1", tonumber(arg[2]) or 3306
local listen_port = tonumber(arg[3]) or 5500
local cert, key = os.getenv("CERT"), os.getenv("KEY")

local sessions = {} -- client id -> { client, server }: objects without a reference are collected and closed

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
    local client_id = client:id()
    -- A password that a client sends over TLS must not be forwarded in clear: if the server wants the password itself,
    -- the proxy asks it for its RSA key, as clients without TLS do.
    local server = dpm.connect(host, port, { cleartext = "rsa" })
    sessions[client_id] = { client = client, server = server }

    client:register(dpm.MYC_WAITING, function(auth)
        if type(auth) == "number" then
            return -- the wait for a command, not the login
        end
        local tls = client:tls()
        if tls then
            print(("dpm: %s came with %s, %s"):format(auth:user(), tls.version, tls.cipher))
        else
            print(("dpm: %s came without TLS"):format(auth:user()))
        end
    end)
    client:register(dpm.MY_CLOSING, close_session)
    server:register(dpm.MY_CLOSING, function()
        close_session(client_id)
    end)
    dpm.proxy_connect(client, server)
end

-- A global, because a listener without a reference is collected, too.
listener = dpm.listener("127.0.0.1", listen_port, {
    tls = cert and { cert = cert, key = key } or { self_signed = true },
})
listener:register(dpm.MYC_CONNECT, new_client)
print("dpm: tls listening on 127.0.0.1:" .. listener:socket_port())
if not cert then
    print("dpm: its certificate is self-signed, SHA-256 " .. listener:tls().fingerprint)
end
