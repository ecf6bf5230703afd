-- ways.lua: the proxy of the matrix, in front of one server.
--   dpm --startfile tests/matrix/ways.lua -- WAY HOST PORT CERT KEY CA PASSWORD VERSION POOL-SIZE
-- WAY is "passthrough"; "callbacks": the same with a function in every state; "accounts": clients
-- log in to the proxy as a_NAME, and the proxy to the server as b_NAME; or "pool": the same, but the
-- clients share connections, also with strangers, who are s_NAME.

local dpml = require "dpml"
local way, host, port = arg[1], arg[2], tonumber(arg[3])
local cert, key, ca, password, version = arg[4], arg[5], arg[6], arg[7], arg[8]

local listener_options = { tls = { cert = cert, key = key } }
local server_options = { tls = { mode = "verify-ca", ca = ca } }

-- Registers a function for every state, which reads its arguments.
local function watch_everything(conn, side)
    local columns
    for name, state in pairs(dpm) do
        -- Not MY_CLIENT and MY_SERVER, which have the same numbers as some states.
        local is_state = name:match("^" .. side .. "_") and type(state) == "number" and name ~= "MYC_CONNECT"
        if is_state then
            conn:register(state, function(packet)
                if name == "MYS_SENT_RSET" then columns = packet end
                if name == "MYS_SENDING_ROWS" and columns then columns:parse_row_array(packet) end
            end)
        end
    end
end

-- Client id -> its first auth packet: COM_CHANGE_USER does not change the capabilities.
local first_auth = {}

local held = {} -- client id -> its client and server, while they are connected

-- Counts the TLS and compression of the clients' connections: a client that silently falls back to
-- neither would show the same results.
local legs = {}

local function count_leg(client)
    local leg = ("leg_%s_%s"):format(client:tls() and "tls" or "off", client:compression() or "none")
    legs[leg] = (legs[leg] or 0) + 1
end

local function close_pair(client_id)
    local pair = held[client_id]
    held[client_id], first_auth[client_id] = nil, nil
    if pair then
        dpm.close(pair.client)
        if pair.server then dpm.close(pair.server) end
    end
end

local function hold(client, server)
    local client_id = client:id()
    held[client_id] = { client = client, server = server }
    client:on_close(function() close_pair(client_id) end)
    client:register(dpm.MY_CLOSING, function() count_leg(client) end)
    server:on_close(function()
        -- Another server may have replaced it.
        if held[client_id] and held[client_id].server == server then close_pair(client_id) end
    end)
end

local function pass_through(client)
    local server = dpm.connect(host, port, server_options)
    if way == "callbacks" then
        watch_everything(client, "MYC")
        watch_everything(server, "MYS")
    end
    hold(client, server)
    dpm.proxy_connect(client, server)
end

-- The password was right: the client gets its OK when the server is connected.
local function log_in_for(client, auth, ok)
    local before = held[client:id()]
    first_auth[client:id()] = first_auth[client:id()] or auth
    if before and before.server then
        local server = before.server
        before.server = nil
        dpm.proxy_disconnect(server)
        dpm.close(server)
    end
    dpml.connect_mysql_server {
        host = host, port = port, db = auth:databasename(), tls = server_options.tls,
        charset = auth:charset_number(), like = first_auth[client:id()],
        user = auth:user():gsub("^a_", "b_"), pass = password,
        callback = function(server, err)
            if client:close_reason() then
                if server then dpm.close(server) end
            elseif err then
                dpml.send_error(client, err.sqlstate, err.errnum, err.message)
            else
                hold(client, server)
                dpm.wire_packet(client, ok)
                dpm.proxy_connect(client, server)
            end
        end,
    }
    return dpm.DPM_NOPROXY
end

-- The method in an account's name decides in which form its password is kept.
local kept = {
    native = dpm.hash_pass and dpm.hash_pass(password),
    sha2_full = dpm.hash_pass and dpm.hash_pass(password, "caching_sha2_password"),
}

local function credential_of(user)
    local method = user:match("^a_(%l[%l%d]*_?%l*)")
    return kept[(method or ""):gsub("_$", "")] or { password = password }
end

-- As in the server's own handshake.
local auth_plugin = version:find("MariaDB") and "mysql_native_password" or "caching_sha2_password"

-- Global, so that it is not collected.
listener = dpm.listener("127.0.0.1", 0, listener_options)
if way == "accounts" then
    local offered = version:find("MariaDB") and {
        [dpm.CLIENT_LONG_PASSWORD] = false, -- or MariaDB's capabilities would be ignored
        [dpm.MARIADB_CLIENT_EXTENDED_METADATA] = true,
        [dpm.MARIADB_CLIENT_PROGRESS] = true,
        [dpm.MARIADB_CLIENT_STMT_BULK_OPERATIONS] = true,
        [dpm.MARIADB_CLIENT_BULK_UNIT_RESULTS] = not version:find("^5%.5%.5%-"), -- from 11 on
    } or { [dpm.CLIENT_QUERY_ATTRIBUTES] = true }
    local callbacks = {
        new_client = log_in_for,
        -- As in the server's own handshake, too.
        server_version = version,
        capabilities = offered,
        auth_plugin = auth_plugin,
    }
    dpml.authenticate_new_clients(listener, callbacks, credential_of)
elseif way == "pool" then
    pool = dpml.pool(listener, {
        servers = { { host = host, port = port, tls = server_options.tls } },
        authenticate = function(user)
            return user:find("^s_") and "" or credential_of(user)
        end,
        backend = function(user)
            return { user = user:gsub("^[as]_", "b_"), password = password }
        end,
        monitor = { user = "b_other", password = password },
        -- For the matrix fewer than clients and strangers, all of whom may have to wait for one that is held.
        size = tonumber(arg[9]),
        auth_plugin = auth_plugin,
        queue_timeout = 60,
        plugin = {
            new_client = function(client)
                client:register(dpm.MY_CLOSING, function() count_leg(client) end)
            end,
        },
    })
    local admin = dpm.listener("127.0.0.1", 0)
    pool:admin(admin, { users = { stranger = "" } })
    print("admin " .. admin:socket_port())
else
    listener:register(dpm.MYC_CONNECT, pass_through)
end

dpm.on_signal("USR1", function()
    local parts = {}
    for name, value in pairs(dpm.stats()) do parts[#parts + 1] = name .. "=" .. tostring(value) end
    for name, value in pairs(pool and pool:status("counters") or {}) do parts[#parts + 1] = "pool_" .. name .. "=" .. value end
    for name, value in pairs(legs) do parts[#parts + 1] = name .. "=" .. tostring(value) end
    print("STATS " .. table.concat(parts, " "))
end)
print("port " .. listener:socket_port())
