-- Logging clients in without any server.

local accounts_of = require "dpml.accounts"
local checks = require "dpml.checks"
local clients = require "dpml.clients"
local errors = require "dpml.errors"
local held = require "dpml.held"
local tasks = require "dpml.tasks"

local logins = {}

-- What logging in has to know of a listener's clients, of those functions that do it.
logins.OPTIONS = {
    users = "a table or function", authenticate = "a function",
    server_version = "a string", auth_plugin = "a string", capabilities = "a table", rsa_key = "a string",
}

local CALLBACKS = {
    new_client = "a function", new_command = "a function", finished_command = "a function or boolean", closing = "a function",
    server_version = "a string", auth_plugin = "a string", capabilities = "a table", rsa_key = "a string",
}

-- One of the two says who may log in.
function logins.check_accounts(what, options)
    if (options.users == nil) == (options.authenticate == nil) then
        checks.fail(what, "who may log in? One of users and authenticate must be given")
    end
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
            waiting_client:register(dpm.MYC_SENT_CMD, handle_command)
            waiting_client:register(dpm.MYC_WAITING, clients.after_login(callbacks.finished_command))
            waiting_client:register(dpm.MY_CLOSING, callbacks.closing)
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

    -- Whose credential it is may take a while to find out.
    local function begin(packet, auth, waiting_client)
        user, login = auth:user(), auth
        local task = tasks.spawn(lookup, user, waiting_client)
        if task:is_over() then
            return step(packet, waiting_client, task:wait())
        end
        tasks.spawn(function()
            local ok, problem = pcall(function()
                local credential, like = task:wait()
                if not waiting_client:close_reason() then
                    step(packet, waiting_client, credential, like)
                end
            end)
            if not ok then
                dpm.log("error", ("client %d: its login has failed: %s"):format(waiting_client:id(), errors.text(problem)))
                dpm.close(waiting_client)
            end
        end)
        return dpm.DPM_NOPROXY
    end

    local function go_on(packet, _, waiting_client)
        return step(packet, waiting_client)
    end

    function handle_command(cmd, client_id, waiting_client)
        if cmd:command() ~= dpm.COM_CHANGE_USER then
            return callbacks.new_command and callbacks.new_command(cmd, client_id, waiting_client)
        end
        local read, auth = pcall(cmd.change_user, cmd)
        if not read or not auth then
            -- Cut short: a client may send that as often as it likes, and it is nothing for the log.
            errors.send_error(waiting_client, "08S01", 1047, "Malformed packet")
            return dpm.DPM_NOPROXY
        end
        return begin(cmd, auth, waiting_client)
    end

    client:register(dpm.MYC_WAITING, function(auth, _, waiting_client)
        return begin(auth, auth, waiting_client)
    end)
    client:register(dpm.MYC_SENT_AUTH, go_on)
    dpm.wire_packet(client, handshake)
end

-- Logs the clients of `listener` in without any server, against accounts: { user = credential }, or a
-- function of the user's name and the client, which runs as a task. A credential is { password = ... },
-- { hash = ... } or a hash.
-- The callbacks are those of passthrough_new_clients, but for new_client(client, auth, ok): it is
-- called when the password was right, and may return DPM_NOPROXY if it has sent an error instead of the
-- packet `ok`, or will send one of the two later. It is called again when the client has changed its user.
-- Clients see a server of version callbacks.server_version, whose usual method is callbacks.auth_plugin;
-- some go by them. callbacks.capabilities is what it offers beyond or short of the usual: { flag = boolean }.
function logins.authenticate_new_clients(listener, callbacks, accounts)
    checks.argument("dpml.authenticate_new_clients", "listener", listener, "a listener")
    checks.options("dpml.authenticate_new_clients", callbacks, CALLBACKS, "callback")
    checks.argument("dpml.authenticate_new_clients", "accounts", accounts, "a table or function")
    local lookup = accounts_of(accounts)
    dpm.new_verifier(dpm.new_handshake_pkt()) -- has the RSA key made, before someone waits for it
    held.hold(listener)
    listener:register(dpm.MYC_CONNECT, function(client)
        clients.hold(client)
        start_logins(client, lookup, callbacks, listener:tls())
    end)
end

return logins
