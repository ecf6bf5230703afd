-- tls.lua: TLS in front of a server that has none, with a certificate made on the spot or your own.
-- Run: [CERT=FILE KEY=FILE] dpm --startfile demos/tls.lua -- [backend host] [backend port] [listen port]
-- Look: mysql -h 127.0.0.1 -P 5500 --ssl-mode=REQUIRED -u <an account of the backend> -p, then: \s

local host, port = arg[1] or "127.0.0.1", tonumber(arg[2]) or 3306
local listen_port = tonumber(arg[3]) or 5500
local cert, key = os.getenv("CERT"), os.getenv("KEY")

local sessions = {} -- client id -> { client, server }: what nobody holds is collected and closed

-- Whichever end goes first takes the other with it.
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
    -- What clients say over TLS must not go on in clear: where a server wants a password and not
    -- just a hash of it, it is asked for its RSA key, as clients without TLS do.
    local server = dpm.connect(host, port, { cleartext = "rsa" })
    sessions[client_id] = { client = client, server = server }

    client:register(dpm.MYC_WAITING, function(auth)
        if type(auth) == "number" then
            return -- not the login any more
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

-- A global, because a listener that nobody holds is collected too.
listener = dpm.listener("127.0.0.1", listen_port, {
    tls = cert and { cert = cert, key = key } or { self_signed = true },
})
listener:register(dpm.MYC_CONNECT, new_client)
print("dpm: tls listening on 127.0.0.1:" .. listener:socket_port())
if not cert then
    print("dpm: its certificate is self-signed, SHA-256 " .. listener:tls().fingerprint)
end
