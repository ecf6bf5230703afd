-- Connecting and logging in to a server.

local callbacks = require "dpml.callbacks"
local errors = require "dpml.errors"

local servers = {}

local CONNECT_OPTIONS = {
    "tls", "compression", "proxy_protocol", "connect_timeout", "handshake_timeout", "idle_timeout",
    "max_packet", "max_queue",
}

-- Starts to connect; a host that begins with a slash is a unix socket. `from` is a table that may have
-- options of dpm.connect among other things; the PROXY protocol speaks of `client`, if there is one.
function servers.connect(host, port, from, client)
    local options = {}
    for _, name in ipairs(CONNECT_OPTIONS) do
        options[name] = from[name]
    end
    options.client = options.proxy_protocol and client
    if host:sub(1, 1) == "/" then
        return dpm.connect_unix(host, options)
    end
    return dpm.connect(host, port or 3306, options)
end

local logins = {} -- server id -> what connect_mysql_server was given, while it is under way

local function finish_login(server_id, err)
    local login = logins[server_id]
    logins[server_id] = nil
    if err then
        dpm.close(login.server)
        login.callback(nil, err)
    else
        login.server:package_register(nil)
        login.callback(login.server)
    end
    return dpm.DPM_NOPROXY
end

local function answer_handshake(handshake, server_id, server)
    local login = logins[server_id]
    local auth = dpm.new_auth_pkt()
    auth:user(login.user or "")
    if login.db then
        auth:databasename(login.db)
    end
    dpm.crypt_pass(auth, handshake, login.pass or "")
    dpm.wire_packet(server, auth)
    return dpm.DPM_NOPROXY
end

local function login_accepted(_, server_id)
    return finish_login(server_id)
end

local function login_refused(packet, server_id)
    return finish_login(server_id, errors.from_packet(packet))
end

-- The server wants the account to prove itself in a way that is not mysql_native_password.
local function login_switched(authdata, server_id)
    local plugin = authdata:data():match("^\254([^%z]+)") or "unknown"
    local message = ("Authentication plugin '%s' is not supported"):format(plugin)
    return finish_login(server_id, errors.new(2059, "HY000", message))
end

local login_callbacks = dpm.new_callback()
callbacks.register_callbacks(login_callbacks, {
    [dpm.MYS_WAIT_AUTH] = answer_handshake,
    [dpm.MYS_SENDING_AUTH] = login_switched,
    [dpm.MYS_WAIT_CMD] = login_accepted,
    [dpm.MYS_RECV_ERR] = login_refused,
})

local function fail_login(server_id, server)
    local login = logins[server_id]
    if not login then
        return
    end
    local reason = server and server:close_reason() or "closed"
    local message = ("Can't connect to server on '%s' (%s)"):format(login.address, reason)
    finish_login(server_id, errors.new(2003, "HY000", message))
end

-- Connects and logs in: connect_mysql_server{ host =, port =, path =, user =, pass =, db =,
-- callback = } calls callback(server) or, if that fails, callback(nil, err). `path` is a unix
-- socket and stands for host and port. Options of dpm.connect can stand beside these. Hold on to the server from then on, or it is collected.
function servers.connect_mysql_server(options)
    local host, port = options.path or options.host or "127.0.0.1", options.port or 3306
    local server = servers.connect(host, port, options, options.client)
    logins[server:id()] = {
        server = server,
        address = host:sub(1, 1) == "/" and host or host .. ":" .. port,
        user = options.user,
        pass = options.pass,
        db = options.db,
        callback = options.callback,
    }
    server:on_close(fail_login)
    server:package_register(login_callbacks)
    return server
end

return servers
