-- Clients that log in at the proxy, and get a server connection at which the proxy has logged in.

local checks = require "dpml.support.checks"
local errors = require "dpml.support.errors"
local greeters = require "dpml.logins.greeter"
local greetings = require "dpml.logins.greetings"
local identities = require "dpml.logins.identities"
local keeping = require "dpml.plugins.keeping"
local kills = require "dpml.kills"
local linked = require "dpml.plugins.linked"
local login_ok = require "dpml.logins.login_ok"
local logins = require "dpml.logins"
local plugins = require "dpml.plugins"
local results = require "dpml.results"
local server_kills = require "dpml.kills.server_kills"
local servers = require "dpml.servers"
local showing = require "dpml.plugins.showing"
local warnings = require "dpml.support.warnings"
local words = require "dpml.support.words"

local proxied_clients = {}

local NAME = "dpml.proxy_new_clients"
local OPTIONS = checks.union({ backend = "a table or function" }, logins.OPTIONS)

-- Makes one backend a list.
local function check_backends(backends)
    checks.argument(NAME, "backend", backends, "a table")
    local list = type(backends[1]) == "table" and backends or { backends }
    for _, each in ipairs(list) do
        checks.options(NAME .. ": backend", each, servers.LOGIN_OPTIONS)
    end
    return list
end

local address_of = {} -- server id -> its address

-- The server closes while it has a client: nobody has closed it here.
local function server_closed(server_id)
    if linked.client_of(server_id) then
        greetings.doubt(address_of[server_id])
    end
    address_of[server_id] = nil
    linked.server_closed(server_id)
end

-- Tries one login after the other, each for its share of the time that the client has; done(server, nil, handshake,
-- ok, the login) or done(nil, err).
local function connect_in_turn(client, list, at, common, done)
    local options = {}
    local backend = words.read(NAME, list[at])
    for _, from in ipairs { common, backend } do
        for name, value in pairs(from) do
            options[name] = value
        end
    end
    function options.callback(server, err, handshake, ok)
        if server or not list[at + 1] then
            return done(server, err, handshake, ok, list[at])
        end
        warnings.warn(NAME, ("%s; trying the next server"):format(tostring(err)))
        connect_in_turn(client, list, at + 1, common, done)
    end
    local begun, result = pcall(servers.connect_mysql_server, options)
    if begun then
        servers.share_time(result, client, #list - at + 1)
    else
        dpm.log("error", ("login %d cannot be tried: %s"):format(at, errors.text(result)))
        options.callback(nil, errors.presentable(result))
    end
end

-- Errors of the server's that name the proxy's account there.
local function hide_account(packet, server_id)
    local client = linked.client_of(server_id)
    local message = client and identities.message_in_own_name(packet, client:id())
    if not message or message == packet:message() then
        return
    end
    if packet:errnum() == 1184 then
        warnings.warn(NAME, ("client %d: %s"):format(client:id(), tostring(errors.from_packet(packet))))
    end
    errors.send_error(client, packet:sqlstate(), packet:errnum(), message)
    return dpm.DPM_NOPROXY
end

-- Logs the clients of `listener` in against `users` or authenticate(user, client), as accept_clients
-- does, and gives each a connection to a server as `backend` says: a table of connect_mysql_server's
-- options, a list of those, which are tried in turn, or a function (client, auth) that returns one or the
-- other. Commands and results are shown to `plugin`.
function proxied_clients.proxy_new_clients(listener, plugin, options)
    checks.argument(NAME, "listener", listener, "a listener")
    plugins.check(NAME, plugin)
    checks.options(NAME, options, OPTIONS)
    logins.check_accounts(NAME, options)
    local backend = options.backend
    checks.argument(NAME, "backend", backend, "a table or function")
    if type(backend) == "table" then
        backend = check_backends(backend)
    end
    local show = showing.new(plugin)
    local greeter = greeters.new(type(backend) == "table" and backend or {})
    local realm = kills.new(listener, server_kills.answer)
    local connecting = {} -- client id -> the attempt to get a server

    -- Closes a pair, which may be incomplete.
    local function part(client_id, client)
        connecting[client_id] = nil
        realm:set(client_id, nil)
        local server, callbacks = linked.server_of(client_id), show:callbacks_of(client_id)
        if server then
            linked.part(server:id())
            dpm.proxy_disconnect(server) -- or the client would get an error that its server has died
            dpm.close(server)
            if callbacks.closing then
                callbacks.closing(client_id, client)
            end
        end
    end

    -- A pair begins: returns what the plug-in has for it.
    local function begin(client, server, auth)
        linked.join(client, server:id())
        linked.keep_server(client:id(), server)
        server:on_close(server_closed)
        return show:begin(client, server, auth)
    end

    local function watch_answers(callbacks, server)
        show:watch_results(callbacks, server)
        server:listen(dpm.MYS_RECV_ERR, hide_account) -- last, so that plug-ins see the server's words
    end

    local function link(client, server, auth, ok)
        local client_id = client:id()
        -- If the script fails from here on, the server is closed, and so is the client, which would wait for
        -- it.
        local callbacks = begin(client, server, auth)
        dpm.wire_packet(client, ok)
        dpm.proxy_connect(client, server)
        watch_answers(callbacks, server)
        if callbacks.new_client then
            callbacks.new_client(client, server, auth)
        end
        if callbacks.logged_in then
            callbacks.logged_in(auth, client_id, client)
        end
    end

    -- The client gets its OK once there is a server. Each new user gets a new server, so that nothing of the
    -- previous user is left.
    local function new_client(client, auth, ok)
        local client_id = client:id()
        part(client_id, client)
        local choice = backend
        if type(backend) == "function" then
            choice = backend(client, auth)
        end
        if not choice then
            errors.send_error(client, "28000", 1045, "There is no server for this user")
            return dpm.DPM_NOPROXY
        end
        local attempt = {}
        connecting[client_id] = attempt
        local common = { database = auth:databasename(), like = auth, charset = auth:charset_number(),
            attributes = { proxied_user = auth:user() } }
        local list = check_backends(choice)
        for _, each in ipairs(choice ~= backend and list or {}) do
            greeter:add(each)
        end
        connect_in_turn(client, list, 1, common, function(server, err, handshake, servers_ok, login)
            if connecting[client_id] ~= attempt then
                return server and dpm.close(server)
            end
            connecting[client_id] = nil
            if err then
                warnings.warn(NAME, ("client %d: there is no server for it: %s"):format(client_id, tostring(err)))
                return results.end_answer(client, err)
            end
            login_ok.tell_as(ok, servers_ok)
            local address = greeters.key_of(login)
            address_of[server:id()] = address
            realm:set(client_id, server_kills.target(handshake, address, login))
            link(client, server, auth, ok)
        end)
        return dpm.DPM_NOPROXY
    end

    local mover = { kind = "proxied" }

    function mover.pack(client, record)
        local client_id = client:id()
        local target, login, why = realm.targets[client_id], nil, nil
        if not target or connecting[client_id] then
            return nil
        end
        login, why = logins.save(client)
        if not login then
            return nil, why
        end
        record.login = login
        record.server = { thread_id = target.thread_id, address = target.address, user = target.login.user }
        return keeping.save(show, client, record)
    end

    function mover.left(client_id)
        realm:set(client_id, nil)
    end

    -- The login of this startfile's at a server where the one before has logged in: KILL needs its password.
    local function same_login(client, auth, server)
        local choice = backend
        if type(backend) == "function" then
            choice = backend(client, auth)
        end
        for _, each in ipairs(choice and check_backends(choice) or {}) do
            local login = words.read(NAME, each)
            if greeters.key_of(login) == server.address and login.user == server.user then
                return login
            end
        end
    end

    local function adopt(client, server, record, resume)
        local auth = resume(record.login)
        local login = same_login(client, auth, record.server)
        if not login then
            return nil, "the new startfile has another account or another server for it"
        end
        local callbacks = begin(client, server, auth)
        watch_answers(callbacks, server)
        address_of[server:id()] = record.server.address
        realm:set(client:id(), { thread_id = record.server.thread_id, address = record.server.address, login = login })
        keeping.restore(callbacks, client, server, auth, record.plugin)
        return true
    end

    function mover.adopt(client, server, record, resume)
        if not server then
            return nil, "it has no server"
        end
        local adopted, done, why = pcall(adopt, client, server, record, resume)
        if not (adopted and done) then
            linked.part(server:id())
            address_of[server:id()] = nil
        end
        if not adopted then
            error(done, 0)
        end
        return done, why
    end

    logins.begin(NAME, listener, logins.with_handshake({
        new_client = new_client,
        new_command = function(cmd, client_id, client)
            if not linked.server_of(client_id) then
                errors.send_error(client, "HY000", 1105, "There is no server for this user")
                return dpm.DPM_NOPROXY
            end
            local kill = server_kills.translate(realm, cmd, client)
            if kill == "done" then
                return dpm.DPM_NOPROXY
            end
            local verdict = show.functions.command(cmd, client_id, client)
            if kill and verdict ~= dpm.DPM_NOPROXY and verdict ~= dpm.DPM_FLUSH_DISCONNECT then
                dpm.wire_packet(linked.server_of(client_id), cmd)
                return dpm.DPM_NOPROXY
            end
            return verdict
        end,
        finished_command = show:may_have("finished_command") and function(client_id, client)
            if linked.server_of(client_id) then
                show.functions.finished_command(client_id, client)
            end
        end,
        closing = part,
    }, options), options.users or options.authenticate, function(tell)
        greeter:greet(tell)
    end, mover)
end

return proxied_clients
