-- Logging clients in without any server.

local accounts_of = require "dpml.logins.accounts"
local after_login = require "dpml.logins.after_login"
local checks = require "dpml.support.checks"
local collations = require "dpml.logins.collations"
local errors = require "dpml.support.errors"
local held = require "dpml.logins.held"
local identities = require "dpml.logins.identities"
local login_ok = require "dpml.logins.login_ok"
local moves = require "dpml.plugins.moves"
local tasks = require "dpml.tasks"

local logins = {}

-- The options for logging in clients, which several functions have.
logins.OPTIONS = {
    users = "a table or function", authenticate = "a function",
}
local OF_HANDSHAKE = {
    server_version = "a string", collation = "a string or integer", auth_plugin = "a string", capabilities = "a table",
    rsa_key = "a string",
}
for name, wanted in pairs(OF_HANDSHAKE) do
    logins.OPTIONS[name] = wanted
end

local CALLBACKS = checks.union({
    new_client = "a function", new_command = "a function or boolean", finished_command = "a function or boolean", closing = "a function",
}, OF_HANDSHAKE)

-- Gives `callbacks` the options of the handshake.
function logins.with_handshake(callbacks, options)
    for name in pairs(OF_HANDSHAKE) do
        callbacks[name] = options[name]
    end
    return callbacks
end

-- Exactly one of the two is needed.
function logins.check_accounts(what, options)
    if (options.users == nil) == (options.authenticate == nil) then
        checks.fail(what, "who may log in? One of users and authenticate must be given")
    end
end

local MAX_FAILURES = 3 -- as in MariaDB, against guessing passwords with COM_CHANGE_USER

local clients = {}   -- client id -> client: so that scripts need not hold it
local verifiers = {} -- client id -> what judges its login
-- client id -> the login that is under way: { auth =, identity =, again = it was logged in before, judge = who judges the
-- password that it shows, if that is not us, verdict = what was said, credential = the account's }
local logging_in = {}
local flags = {}     -- client id -> the capabilities that it has logged in with
local failures = {}  -- client id -> how many of its logins have failed
local handlers = {}  -- client id -> what handles its commands

local function client_closed(client_id)
    clients[client_id], verifiers[client_id], logging_in[client_id] = nil, nil, nil
    flags[client_id], failures[client_id], handlers[client_id] = nil, nil, nil
    after_login.forget(client_id)
    identities.forget(client_id)
    moves.left(client_id)
end

local LONGEST_VERSION = 255

-- What the proxy does itself when clients log in, whatever the servers can do.
local OWN = {
    [dpm.CLIENT_CONNECT_WITH_DB] = true, [dpm.CLIENT_PROTOCOL_41] = true, [dpm.CLIENT_SECURE_CONNECTION] = true,
    [dpm.CLIENT_PLUGIN_AUTH] = true, [dpm.CLIENT_CONNECT_ATTRS] = true,
    [dpm.CLIENT_PLUGIN_AUTH_LENENC_CLIENT_DATA] = true, [dpm.MULTI_FACTOR_AUTHENTICATION] = false,
}

-- A handshake as of the server behind the proxy, if there is one and what it greets with is known.
local function handshake_like(greeting, version)
    if not greeting then
        return dpm.new_handshake_pkt(version)
    end
    local handshake = dpm.new_handshake_pkt(version or greeting.version:sub(1, LONGEST_VERSION))
    handshake:server_capabilities(handshake:server_capabilities(), false)
    handshake:server_capabilities(greeting.capabilities, true)
    for flag, has in pairs(OWN) do
        handshake:server_capabilities(flag, has)
    end
    handshake:server_language(greeting.collation)
    handshake:server_status(dpm.SERVER_STATUS_AUTOCOMMIT, greeting.autocommit)
    return handshake
end

local function new_handshake(callbacks, greeting, is_proven)
    local handshake = handshake_like(greeting, callbacks.server_version)
    if callbacks.collation then
        handshake:server_language(callbacks.collation)
    end
    for flag, offered in pairs(callbacks.capabilities or {}) do
        handshake:server_capabilities(flag, offered)
    end
    if callbacks.auth_plugin then
        handshake:auth_plugin(callbacks.auth_plugin)
    elseif not is_proven then
        -- MariaDB's clients of 11.4 and later accept a self-signed certificate only if the handshake names a
        -- plugin by which it can be proven, which caching_sha2_password is not.
        handshake:auth_plugin("caching_sha2_password")
    end
    return handshake
end

local function refuse(client, err)
    local client_id = client:id()
    local login = logging_in[client_id]
    logging_in[client_id] = nil
    err = errors.presentable(err or identities.access_denied(login.identity))
    errors.send_error(client, err.sqlstate, err.errnum, err.message)
    failures[client_id] = (failures[client_id] or 0) + 1
    if login.again and failures[client_id] >= MAX_FAILURES then
        dpm.close(client)
    end
end

-- Calls fn(...) while the client has time left to be told that it took too long.
local RESERVE = 0.05
local function in_time(client, fn, ...)
    local left = client:time_left()
    return tasks.within(left and left * (1 - RESERVE) * 1000, fn, ...)
end

-- It is not known whether the client may log in. (The reason, which is in the log, is none of its business.)
local function login_failed(client, problem)
    dpm.log("error", ("client %d: its login has failed: %s"):format(client:id(), errors.text(problem)))
    if not client:close_reason() then
        errors.send_error(client, "HY000", 1105, "The login could not be checked")
        dpm.close(client)
    end
end

-- How clients of a listener log in, as functions that all of them share: returns the one that a new client is
-- given to. What is kept of one of them is in the tables above.
local function new_logins(lookup, callbacks, listener, greet, mover)
    local key = callbacks.rsa_key and { rsa_key = callbacks.rsa_key }
    local watch_answers = callbacks.finished_command and after_login.callback(function(_, client)
        client:listen(dpm.MYC_WAITING, callbacks.finished_command)
    end)
    local handle_command

    -- From now on the client is logged in.
    local function attend(client)
        handlers[client:id()] = handle_command
        if callbacks.new_command ~= false then
            client:register(dpm.MYC_SENT_CMD, handle_command)
        end
        if callbacks.closing then
            client:listen(dpm.MY_CLOSING, callbacks.closing)
        end
        if mover then
            moves.joined(client:id(), mover)
        end
    end

    local function accept(client)
        local client_id = client:id()
        local login = logging_in[client_id]
        logging_in[client_id] = nil
        identities.set(client_id, login.identity)
        if not login.again then
            flags[client_id] = login.auth:client_flags()
            client:register(dpm.MYC_WAITING, nil)
            attend(client)
            if watch_answers then
                after_login.watch(client, watch_answers)
            end
        end
        -- MariaDB's clients accept a self-signed certificate if the server proves that it knows their password.
        local tls = client:tls()
        local proof = tls and verifiers[client_id]:certificate_proof(tls.fingerprint)
        -- If it asks for another login, it is sent a new challenge; unless it cannot be.
        if login.auth:client_flags(dpm.CLIENT_PLUGIN_AUTH) then
            verifiers[client_id] = nil
        end
        local ok = dpm.new_ok_pkt()
        if proof then
            ok:message(proof)
        end
        if login.verdict and login.verdict.ok then
            login_ok.tell_as(ok, login.verdict.ok)
        end
        local new_client = callbacks.new_client
        if not new_client or new_client(client, login.auth, ok, login.verdict or login.credential) ~= dpm.DPM_NOPROXY then
            dpm.wire_packet(client, ok)
        end
    end

    -- A task, since who judges may have to wait.
    local function have_judged(client, password)
        local login = logging_in[client:id()]
        tasks.spawn(function()
            local ok, verdict, err = pcall(in_time, client, login.judge, password, login.auth, client)
            if client:close_reason() then
                return
            elseif ok and verdict then
                login.verdict = verdict
                accept(client)
            elseif ok or errors.is_of_connecting(verdict) then
                refuse(client, err or verdict)
            else
                login_failed(client, verdict)
            end
        end)
    end

    local function step(packet, client, ...)
        local client_id = client:id()
        local verifier = verifiers[client_id]
        local right, reply, password = verifier:step(packet, client, ...)
        logging_in[client_id].identity.used_password = verifier:used_password()
        if reply then
            dpm.wire_packet(client, reply)
        end
        if right and password then
            have_judged(client, password)
        elseif right then
            accept(client)
        elseif right == false then
            refuse(client)
        end
        return dpm.DPM_NOPROXY
    end

    -- A task, since finding the credential may have to wait.
    local function begin(packet, auth, client, again)
        local identity = identities.new(client, auth)
        local login = { auth = auth, identity = identity, again = again }
        logging_in[client:id()] = login
        local function verify(credential, like)
            login.credential, login.judge = credential, type(credential) == "table" and credential.judge or nil
            return step(packet, client, credential, like)
        end
        local task = tasks.spawn(in_time, client, lookup, identity.user, client)
        if task:is_over() then
            return verify(task:wait())
        end
        tasks.spawn(function()
            local ok, problem = pcall(function()
                local credential, like = task:wait()
                if not client:close_reason() then
                    verify(credential, like)
                end
            end)
            if not ok then
                login_failed(client, problem)
            end
        end)
        return dpm.DPM_NOPROXY
    end

    local function go_on(packet, _, client)
        return step(packet, client)
    end

    function handle_command(cmd, client_id, client)
        if cmd:command() ~= dpm.COM_CHANGE_USER then
            return callbacks.new_command and callbacks.new_command(cmd, client_id, client)
        end
        local read, auth = pcall(cmd.change_user, cmd)
        if not read or not auth then
            -- A truncated command. It is not logged, since a client may send any number of them.
            errors.send_error(client, "08S01", 1047, "Malformed packet")
            return dpm.DPM_NOPROXY
        end
        -- The command does not repeat the capabilities.
        auth:client_flags(auth:client_flags(), false)
        auth:client_flags(flags[client_id], true)
        auth:client_flags(dpm.CLIENT_CONNECT_WITH_DB, auth:databasename() ~= "")
        verifiers[client_id] = verifiers[client_id] or dpm.new_verifier(new_handshake(callbacks, nil, listener:tls()), key)
        return begin(cmd, auth, client, true)
    end

    local function first_packet(auth, _, client)
        return begin(auth, auth, client, false)
    end

    local function send_handshake(client, greeting)
        local client_id, handshake = client:id(), new_handshake(callbacks, greeting, listener:tls())
        verifiers[client_id] = dpm.new_verifier(handshake, key)
        client:register(dpm.MYC_WAITING, first_packet)
        client:register(dpm.MYC_SENT_AUTH, go_on)
        dpm.wire_packet(client, handshake)
    end

    -- A client that has logged in elsewhere, and whose login was saved there. Returns an auth packet, as far as it is known.
    local function resume(client, login)
        local client_id, auth = client:id(), dpm.new_auth_pkt()
        clients[client_id] = client
        client:on_close(client_closed)
        flags[client_id] = login.flags
        identities.set(client_id, {
            user = login.user, host = login.host, database = login.database, used_password = login.used_password,
        })
        client:register(dpm.MYC_SENT_AUTH, go_on)
        attend(client)
        if callbacks.finished_command then
            client:listen(dpm.MYC_WAITING, callbacks.finished_command)
        end
        auth:client_flags(auth:client_flags(), false)
        auth:client_flags(login.flags, true)
        auth:user(login.user)
        auth:databasename(login.database)
        return auth
    end

    return resume, function(client)
        clients[client:id()] = client
        client:on_close(client_closed)
        if not greet then
            return send_handshake(client)
        end
        greet(function(greeting)
            if not client:close_reason() then
                send_handshake(client, greeting)
            end
        end)
    end
end

-- What is known of a client's login, for whoever goes on with it; nil and why it stays.
function logins.save(client)
    local client_id = client:id()
    local identity = identities.of(client_id)
    if logging_in[client_id] or not identity then
        return nil
    elseif verifiers[client_id] then
        return nil, "it could change its user only by the challenge of its login"
    end
    return {
        flags = flags[client_id], user = identity.user, host = identity.host, database = identity.database,
        used_password = identity.used_password,
    }
end

-- Logs the clients of `listener` in without any server, against accounts: { user = credential }, or a
-- function of the user's name and the client, which runs as a task. A credential is { password = ... },
-- { hash = ... }, a hash, or { show = true, known =, judge = }: then the client has to show its password, or to prove that
-- it is the `known` one, and judge(password, auth, client), a task, returns { ok = the OK to tell the client's like }, or
-- nil and an error.
-- The callbacks are those of passthrough_new_clients, but for new_client(client, auth, ok): it is
-- called when the password was right (with the credential, or what `judge` returned, as a fourth argument), and may return DPM_NOPROXY if it has sent an error instead of the
-- packet `ok`, or will send one of the two later. It is called again when the client has changed its user.
-- Clients see a server of version callbacks.server_version, whose usual method is callbacks.auth_plugin;
-- some go by them. callbacks.capabilities is what it offers beyond or short of the usual: { flag = boolean }.
function logins.authenticate_new_clients(listener, callbacks, accounts)
    logins.begin("dpml.authenticate_new_clients", listener, callbacks, accounts)
end

-- A client's COM_CHANGE_USER that has not come here by itself: somebody else is shown its commands before, or they do not
-- come here at all (new_command = false).
function logins.change_user(client, cmd)
    handlers[client:id()](cmd, client:id(), client)
end

-- The client with this number, if it has come by one of the library's listeners.
function logins.client(client_id)
    return clients[client_id]
end

-- The same for the function `what`. greet(tell), if given, has tell(greeting) called with what the servers behind the
-- proxy greet with, or nil, at once or later. `mover` says how clients move (see dpml.plugins.moves): its adopt has
-- resume(login) as another argument, which goes on with what logins.save has told.
function logins.begin(what, listener, callbacks, accounts, greet, mover)
    checks.argument(what, "listener", listener, "a listener")
    checks.options(what, callbacks, CALLBACKS, "callback")
    checks.argument(what, "accounts", accounts, "a table or function")
    callbacks = setmetatable({ collation = collations.id(what, callbacks.collation) }, { __index = callbacks })
    local lookup = accounts_of(accounts)
    dpm.new_verifier(dpm.new_handshake_pkt()) -- makes the RSA key in advance
    held.hold(listener)
    local resume, connected = new_logins(lookup, callbacks, listener, greet, mover)
    listener:register(dpm.MYC_CONNECT, connected)
    if mover then
        local adopt = mover.adopt
        function mover.adopt(client, server, record)
            local adopted, done, why = pcall(adopt, client, server, record, function(login)
                return resume(client, login)
            end)
            if not (adopted and done) then
                client_closed(client:id())
            end
            if not adopted then
                error(done, 0)
            end
            return done, why
        end
        moves.offer(listener, mover)
    end
end

return logins
