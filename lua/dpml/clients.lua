-- Serving the clients of a listener.

local accounts_of = require "dpml.accounts"
local errors = require "dpml.errors"
local servers = require "dpml.servers"

local clients = {}

local held = {} -- client id -> client: as long as it is connected, so that scripts need not

local function close_held(client_id)
    local client = held[client_id]
    held[client_id] = nil
    if client then
        dpm.close(client)
    end
end

local function hold(client)
    held[client:id()] = client
    client:on_close(close_held)
end

-- What a script does not ask for is not registered: a state without a callback costs nothing.
local function register_client_callbacks(client, callbacks)
    client:register(dpm.MYC_SENT_CMD, callbacks.new_command)
    client:register(dpm.MYC_WAITING, callbacks.finished_command)
    client:register(dpm.MY_CLOSING, callbacks.closing)
end

-- MYC_WAITING comes with the auth packet, then without one: once after login, and after each answer.
local function after_login(finished_command)
    local logged_in = false
    return finished_command and function(packet_or_id, client)
        if type(packet_or_id) ~= "number" then
            return
        end
        if logged_in then
            finished_command(packet_or_id, client)
        end
        logged_in = true
    end
end

-- Gives each client of `listener` a connection of its own to the server at { host, port } or
-- { socket path }, where it logs in by itself; options of dpm.connect can stand beside these, such as
-- proxy_protocol = 2, which then is about that client. The callbacks, each of them optional: new_client(client, server),
-- new_command(cmd, client_id, client), whose result is its verdict, finished_command(client_id,
-- client) and closing(client_id, client).
function clients.passthrough_new_clients(listener, callbacks, address)
    listener:register(dpm.MYC_CONNECT, function(client)
        local client_id = client:id()
        local server = servers.connect(address[1], address[2], address, client)
        hold(client)
        server:on_close(function()
            close_held(client_id)
        end)
        register_client_callbacks(client, {
            new_command = callbacks.new_command,
            finished_command = after_login(callbacks.finished_command),
            closing = callbacks.closing,
        })
        -- The link keeps the server as long as the client is kept.
        dpm.proxy_connect(client, server)
        if callbacks.new_client then
            callbacks.new_client(client, server)
        end
    end)
end

local MAX_FAILURES = 3 -- as in MariaDB: no guessing of passwords with COM_CHANGE_USER

-- The rounds of one client's login, and of those that it asks for later.
local function start_logins(client, lookup, callbacks, certificate)
    local handshake = dpm.new_handshake_pkt(callbacks.server_version)
    for flag, offered in pairs(callbacks.capabilities or {}) do
        handshake:server_capabilities(flag, offered)
    end
    if callbacks.auth_plugin then
        handshake:auth_plugin(callbacks.auth_plugin)
    elseif not certificate then
        -- MariaDB's clients of 11.4 and later go on with a certificate of nobody's only if they can see by
        -- the handshake that it will be proven, which this plugin cannot.
        handshake:auth_plugin("caching_sha2_password")
    end
    local verifier = dpm.new_verifier(handshake, callbacks.rsa_key and { rsa_key = callbacks.rsa_key })
    local user, login, logged_in, failures = "", nil, false, 0

    local function refuse(waiting_client)
        local message = ("Access denied for user '%s'@'%s'"):format(user, waiting_client:socket_address())
        errors.send_error(waiting_client, "28000", 1045, message)
        failures = failures + 1
        if logged_in and failures >= MAX_FAILURES then
            dpm.close(waiting_client)
        end
    end

    local handle_command

    local function accept(waiting_client)
        if not logged_in then
            logged_in = true
            register_client_callbacks(waiting_client, {
                new_command = handle_command,
                finished_command = after_login(callbacks.finished_command),
                closing = callbacks.closing,
            })
        end
        -- MariaDB's clients believe a certificate of nobody's if who shows it knows their password.
        local fingerprint = certificate and waiting_client:tls() and certificate.fingerprint
        local proof = fingerprint and verifier:certificate_proof(fingerprint)
        local ok = dpm.new_ok_pkt()
        if proof then
            ok:message(proof)
        end
        if not callbacks.new_client or callbacks.new_client(waiting_client, login, ok) ~= dpm.DPM_NOPROXY then
            dpm.wire_packet(waiting_client, ok)
        end
    end

    local function step(packet, waiting_client, ...)
        local right, reply = verifier:step(packet, waiting_client, ...)
        if reply then
            dpm.wire_packet(waiting_client, reply)
        end
        if right then
            accept(waiting_client)
        elseif right == false then
            refuse(waiting_client)
        end
        return dpm.DPM_NOPROXY
    end

    local function begin(auth, waiting_client)
        user, login = auth:user(), auth
        return step(auth, waiting_client, lookup(user))
    end

    local function go_on(packet, _, waiting_client)
        return step(packet, waiting_client)
    end

    function handle_command(cmd, client_id, waiting_client)
        if cmd:command() ~= dpm.COM_CHANGE_USER then
            return callbacks.new_command and callbacks.new_command(cmd, client_id, waiting_client)
        end
        user, login = "", cmd:change_user()
        user = login:user()
        return step(cmd, waiting_client, lookup(user))
    end

    client:register(dpm.MYC_WAITING, function(auth, _, waiting_client)
        return begin(auth, waiting_client)
    end)
    client:register(dpm.MYC_SENT_AUTH, go_on)
    dpm.wire_packet(client, handshake)
end

-- Logs the clients of `listener` in without any server, against accounts: { user = credential }, or a
-- function of the user's name. A credential is { password = ... }, { hash = ... } or a hash.
-- The callbacks are those of passthrough_new_clients, but for new_client(client, auth, ok): it is
-- called when the password was right, and may return DPM_NOPROXY if it has sent an error instead of the
-- packet `ok`, or will send one of the two later. It is called again when the client has changed its user.
-- Clients see a server of version callbacks.server_version, whose usual method is callbacks.auth_plugin;
-- some go by them. callbacks.capabilities is what it offers beyond or short of the usual: { flag = boolean }.
function clients.authenticate_new_clients(listener, callbacks, accounts)
    local lookup = accounts_of(accounts)
    dpm.new_verifier(dpm.new_handshake_pkt()) -- has the RSA key made, before someone waits for it
    listener:register(dpm.MYC_CONNECT, function(client)
        hold(client)
        start_logins(client, lookup, callbacks, listener:tls())
    end)
end

return clients
