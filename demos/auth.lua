-- auth.lua: users kept in the proxy. The server knows one account only, and none of their passwords.
-- Run: dpm --startfile demos/auth.lua -- [backend host] [port] [listen port] [user] [password]
-- Look: mysql -h 127.0.0.1 -P 5500 -u ann -pann, then: SELECT CURRENT_USER(); and the same as bob.

local dpml = require "dpml"
local host, port, listen_port = arg[1] or "127.0.0.1", tonumber(arg[2]) or 3306, tonumber(arg[3]) or 5500
local user, pass = arg[4] or "root", arg[5] or ""

local accounts = {
    ann = { password = "ann" }, -- any method
    bob = dpm.hash_pass("bob", "caching_sha2_password"), -- what MySQL 8 and 9 keep
    old = dpm.hash_pass("old"), -- what SELECT PASSWORD('old') prints: for clients of that age
}

local servers = {} -- client id -> its server

local function close_server(client_id)
    local server = servers[client_id]
    servers[client_id] = nil
    if not server then return end
    dpm.proxy_disconnect(server) -- or the client would be told that its server has died
    dpm.close(server)
end

-- Its password was right. It gets its OK once there is a server; and a new one with each new user,
-- so that nothing of the one before is left.
local function new_client(client, auth, ok)
    local client_id, database = client:id(), auth:databasename()
    close_server(client_id)
    servers[client_id] = dpml.connect_mysql_server {
        host = host, port = port, user = user, pass = pass, db = database,
        like = auth, charset = auth:charset_number(), -- it can do what this client can
        attributes = { proxied_user = auth:user() },
        callback = function(server, err)
            if client:close_reason() then return close_server(client_id) end
            if err then return dpml.send_error(client, err.sqlstate, err.errnum, err.message) end
            server:on_close(function()
                if servers[client_id] == server then dpm.close(client) end
            end)
            dpm.wire_packet(client, ok)
            dpm.proxy_connect(client, server)
        end,
    }
    return dpm.DPM_NOPROXY -- the OK, or an error, is still to come
end

listener = dpm.listener("127.0.0.1", listen_port, { tls = true }) -- a global, or it would be collected
dpml.authenticate_new_clients(listener, { new_client = new_client, closing = close_server }, accounts)
print("dpm: auth listening on 127.0.0.1:" .. listener:socket_port())
