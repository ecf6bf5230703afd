-- Connecting and logging in to a server.

local addresses = require "dpml.servers.addresses"
local callbacks = require "dpml.servers.callbacks"
local checks = require "dpml.support.checks"
local errors = require "dpml.support.errors"
local greetings = require "dpml.logins.greetings"
local queries = require "dpml.servers.queries"
local takeover = require "dpml.servers.takeover"
local words = require "dpml.support.words"

local servers = {}

local NAME = "dpml.connect_mysql_server"

-- Options of dpm.new_login and of dpm.connect, which check their values. What the former calls otherwise, it calls so.
local LOGIN_OPTIONS = {
    user = "user", password = "pass", database = "db", attributes = "attributes", plugins = "plugins",
    server_public_key = "server_public_key", allow_cleartext = "allow_cleartext", charset = "charset",
}
local CONNECT_OPTIONS = {
    max_packet = true, max_queue = true, connect_timeout = true, handshake_timeout = true, idle_timeout = true,
    keepalive = true, tls = true, allow_redirect = true, compression = true, proxy_protocol = true, client = true,
    cleartext = true,
}

-- What addresses can have beside them, and what logins are, in older words, too.
servers.ADDRESS_OPTIONS = checks.union(addresses.KEYS, CONNECT_OPTIONS)
servers.LOGIN_OPTIONS = checks.union(servers.ADDRESS_OPTIONS, {
    like = "userdata", pass = true, db = true, track_session = "a table",
})
for name in pairs(LOGIN_OPTIONS) do
    servers.LOGIN_OPTIONS[name] = true
end

local OPTIONS = checks.union(servers.LOGIN_OPTIONS, { callback = "a function", capabilities = "a table" })

-- Capabilities of a client that its server is asked for: all but those that say how the proxy itself logs in.
local OF_LOGIN = {
    CLIENT_CONNECT_WITH_DB = true, CLIENT_PROTOCOL_41 = true, CLIENT_SECURE_CONNECTION = true, CLIENT_PLUGIN_AUTH = true,
    CLIENT_CONNECT_ATTRS = true, CLIENT_PLUGIN_AUTH_LENENC_CLIENT_DATA = true, MULTI_FACTOR_AUTHENTICATION = true,
    CLIENT_SSL = true, CLIENT_COMPRESS = true, CLIENT_ZSTD_COMPRESSION_ALGORITHM = true, CLIENT_LONG_PASSWORD = true,
}
local SHARED = {}
for name, flag in pairs(dpm) do
    if (name:match("^CLIENT_") or name:match("^MARIADB_CLIENT_")) and not OF_LOGIN[name] then
        SHARED[#SHARED + 1] = flag
    end
end

-- The client's collation, unless it is one that this kind of server does not have: then it is the usual one.
local function charset_as(auth, like, handshake)
    local number = like:charset_number()
    local is_mysqls, is_mariadbs = number >= 255 and number < 576, number >= 576
    local is_mariadb = handshake:server_version():find("MariaDB", 1, true) ~= nil
    if number > 0 and not (is_mariadb and is_mysqls) and not (not is_mariadb and is_mariadbs) then
        auth:charset_number(number)
    end
end

-- Makes `auth` ask for the capabilities that both the client of `like` and the server of `handshake` have.
local function ask_as(auth, like, handshake)
    -- MariaDB's own are sent only without CLIENT_LONG_PASSWORD, which says "a MySQL" there.
    auth:client_flags(dpm.CLIENT_LONG_PASSWORD, like:client_flags(dpm.CLIENT_LONG_PASSWORD))
    for _, flag in ipairs(SHARED) do
        auth:client_flags(flag, like:client_flags(flag) and handshake:server_capabilities(flag))
    end
end

-- Starts to connect to an address that may have options of dpm.connect beside it; a PROXY protocol header names
-- `client`, if given.
function servers.connect(address, client)
    local options = {}
    for name, value in pairs(address) do
        if CONNECT_OPTIONS[name] then
            options[name] = value
        end
    end
    options.client = options.proxy_protocol and client
    return addresses.connect(address, options)
end

-- What a server gets of the time that `client` has left for its login, if it is one of so many that are still to be
-- tried: then the last one's failure comes in time to be told. Returns the server.
local RESERVE = 0.05
function servers.share_time(server, client, count)
    local left = client:time_left()
    if left then
        server:limit_login(left * (1 - RESERVE) / count)
    end
    return server
end

local logins = {} -- server id -> the options of connect_mysql_server, until the login is over

local function finish_login(server_id, err, ok)
    local login = logins[server_id]
    logins[server_id] = nil
    login.takeover:give_back()
    if err then
        dpm.close(login.server)
        login.callback(nil, err)
    else
        login.callback(login.server, nil, login.handshake, ok)
    end
    return dpm.DPM_NOPROXY
end

local function cannot_answer(server_id, problem)
    local err = errors.new(2059, "HY000", (problem:gsub("^a", "A")))
    return finish_login(server_id, errors.of_connecting(err, "failed"))
end

-- The handshake, or a later round: an auth switch, or more data for the plugin.
local function answer_server(packet, server_id, server)
    local login = logins[server_id]
    if not login.handshake then
        login.handshake = packet
        greetings.keep(login.address, packet)
    end
    local answer, problem = login.login:answer(packet, server)
    if answer and login.like then
        ask_as(answer, login.like, packet)
        if not login.charset then
            charset_as(answer, login.like, packet)
        end
        login.like = nil -- later rounds have no auth packet
    end
    if answer and login.capabilities then
        for flag, is_asked in pairs(login.capabilities) do
            answer:client_flags(flag, is_asked and packet:server_capabilities(flag))
        end
        login.capabilities = nil
    end
    if problem then
        return cannot_answer(server_id, problem)
    end
    if answer then
        dpm.wire_packet(server, answer)
    end
    return dpm.DPM_NOPROXY
end

local function login_accepted(ok, server_id)
    local login = logins[server_id]
    if login.far_charset then
        local command, problem = login.login:change_user { charset = login.far_charset, db = login.database }
        login.far_charset = nil
        if problem then
            return cannot_answer(server_id, problem)
        end
        dpm.wire_packet(login.server, command)
        return dpm.DPM_NOPROXY
    end
    return finish_login(server_id, nil, ok)
end

local function login_refused(packet, server_id)
    return finish_login(server_id, errors.of_connecting(errors.from_packet(packet), "refused"))
end

local login_callbacks = dpm.new_callback()
callbacks.register_callbacks(login_callbacks, {
    [dpm.MYS_WAIT_AUTH] = answer_server,
    [dpm.MYS_SENDING_AUTH] = answer_server,
    [dpm.MYS_WAIT_CMD] = login_accepted,
    [dpm.MYS_RECV_ERR] = login_refused,
})

local function fail_login(server_id, server)
    local login = logins[server_id]
    local reason = server and server:close_reason() or "closed"
    greetings.doubt(login.address)
    local message = ("Can't connect to server on '%s' (%s)"):format(login.address, reason)
    finish_login(server_id, errors.of_connecting(errors.new(2003, "HY000", message), "failed"))
end

-- Connects and logs in: connect_mysql_server{ host =, port =, user =, password =, database =, callback = } calls
-- callback(server, nil, handshake, ok) or, if that fails, callback(nil, err). The address may be written in any way that
-- there is. Options of dpm.new_login and of dpm.connect can stand beside these. `capabilities`, { flag = whether }, are
-- asked for, if the server has them, or not. `like` is the auth packet of a client that the connection is for: the server
-- is asked for the capabilities that this client has. `charset` may be any id of a collation: those above 255, for which a
-- login has no room, are asked for by a change of the user to itself. With `track_session`, a
-- table of track_session's options, its session is followed from the login on. Hold on to the server from then on, or
-- it is collected.
function servers.connect_mysql_server(options)
    checks.options(NAME, options, OPTIONS)
    checks.argument(NAME, "callback", options.callback, "a function")
    options = addresses.named(words.read(NAME, options))
    options.host = options.host or "127.0.0.1"
    local for_login = {}
    for name, its_name in pairs(LOGIN_OPTIONS) do
        for_login[its_name] = options[name]
    end
    -- A login has no room for such an id, a change of the user has.
    local far_charset = type(options.charset) == "number" and options.charset > 255 and options.charset or nil
    if far_charset then
        for_login.charset = nil
    end
    local login = checks.relay(dpm.new_login, for_login)
    local server = servers.connect(options, options.client)
    if options.track_session then
        server:track_session(true, options.track_session)
    end
    logins[server:id()] = {
        server = server,
        address = addresses.show(options),
        login = login,
        like = options.like,
        capabilities = options.capabilities,
        charset = options.charset,
        far_charset = far_charset,
        database = options.database,
        callback = options.callback,
    }
    logins[server:id()].takeover = takeover.begin(server, login_callbacks, fail_login)
    return server
end

local FAREWELL = 100 -- milliseconds for which a server may take to close after COM_QUIT

-- Ends a session without anything under way, and calls ended(), if given. A server that is told goes through with its own end
-- of the session, so that the session is over before another begins.
function servers.leave(server, ended)
    if ended then
        server:on_close(ended)
    end
    pcall(dpm.wire_packet, server, queries.new_command(dpm.COM_QUIT))
    local timer = dpm.new_timer()
    timer:schedule(0, FAREWELL, function()
        timer:cancel()
        dpm.close(server)
    end)
end

return servers
