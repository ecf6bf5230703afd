-- Many clients over few connections to servers.
--
-- The pool itself is native (dpm.new_pool): it lends connections and keeps sessions apart. This module logs clients
-- in, opens connections, and tells the native pool what it has to know of servers.

local admin = require "dpml.pool.admin"
local checks = require "dpml.support.checks"
local clients = require "dpml.pool.clients"
local databases = require "dpml.databases"
local errors = require "dpml.support.errors"
local figures = require "dpml.pool.figures"
local greeters = require "dpml.logins.greeter"
local kills = require "dpml.pool.kills"
local logins = require "dpml.logins"
local plugins = require "dpml.plugins"
local queries = require "dpml.servers.queries"
local refusals = require "dpml.pool.refusals"
local results = require "dpml.results"
local servers = require "dpml.servers"
local moves = require "dpml.pool.moves"
local sessions = require "dpml.pool.sessions"
local showing = require "dpml.plugins.showing"
local tasks = require "dpml.tasks"
local topology = require "dpml.pool.topology"
local warnings = require "dpml.support.warnings"
local words = require "dpml.support.words"

local pools = {}

local NAME = "dpml.pool"

-- Options of the native pool, which checks their values.
local NATIVE = {
    "size", "min_idle", "max_prepared", "max_waiting", "queue_timeout", "idle_timeout", "max_lifetime", "max_hold",
    "statement_timeout", "failover_timeout", "split", "consistency_timeout", "retry_reads", "restore_user_variables", "hold_opaque", "harmless", "lastval",
}
local OPTIONS = checks.union({
    servers = true, monitor = "a table", lag_limit = "a number", health_interval = "a number", plugin = "a table or function",
    consistency = "a string", tag = "a function", choose = "a function", on_hold = "a function",
}, clients.OPTIONS, logins.OPTIONS)
for _, name in ipairs(NATIVE) do
    OPTIONS[name] = true
end

-- Whose writes reads see, in the words of the native pool.
local CONSISTENCY = { none = "none", session = "session", user = "party", tag = "party" }

-- Seconds between looks at a server.
local MIN_INTERVAL, MAX_INTERVAL = 0.1, 3600

local LAG_LIMIT = 10 -- seconds that a replica may be late

local KILL_LIMIT = 10000 -- milliseconds for a KILL
local TICK = 100 -- milliseconds between looks at what time brings
local FAILOVER_TIMEOUT = 10 -- seconds, as that of the native pool

-- Capabilities that connections to servers are asked for beside those of their key: what answers have in addition is
-- translated for clients that do not have these.
local ASKED = {
    "CLIENT_PROTOCOL_41", "CLIENT_TRANSACTIONS", "CLIENT_LONG_FLAG", "CLIENT_MULTI_STATEMENTS", "CLIENT_DEPRECATE_EOF",
    "CLIENT_SESSION_TRACK", "CLIENT_QUERY_ATTRIBUTES", "MARIADB_CLIENT_STMT_BULK_OPERATIONS",
    "MARIADB_CLIENT_EXTENDED_METADATA",
}
-- Those of keys.
local OF_KEYS = {
    "CLIENT_FOUND_ROWS", "CLIENT_IGNORE_SPACE", "CLIENT_LOCAL_FILES", "CLIENT_MULTI_RESULTS", "CLIENT_PS_MULTI_RESULTS",
}

local function has_flag(flags, flag)
    return math.floor(flags / flag) % 2 == 1
end

-- What a connection of a key is logged in with: { flag = whether }.
local function capabilities_of(flags)
    local asked = {}
    for _, name in ipairs(ASKED) do
        asked[dpm[name]] = true
    end
    for _, name in ipairs(OF_KEYS) do
        asked[dpm[name]] = has_flag(flags, dpm[name])
    end
    asked[dpm.CLIENT_LONG_PASSWORD] = false -- MariaDB's own capabilities are agreed on only without it
    return asked
end

local Pool = {}
Pool.__index = Pool

local NO_CLIENT = errors.new(1105, "HY000", "none of its clients is left")

-- These clients wait for a connection that a server has refused.
local function tell_refused(waiting, err)
    for _, client_id in ipairs(waiting) do
        results.end_answer(logins.client(client_id), err)
    end
end

-- Opens a connection for the native pool: a task, since a script may have to be asked for the password.
local function open(self, ticket, server_name, key, flags)
    local account = self.clients.backends:by_key(key)
    local options, generation = nil, NO_CLIENT
    if account then
        options, generation = clients.login(account, self.addresses[server_name])
    end
    if not options then
        tell_refused(self.native:login_refused(ticket), generation)
        return warnings.warn(NAME, ("%s: no login for %s: %s"):format(server_name, key, errors.text(generation)))
    end
    options.capabilities = capabilities_of(flags)
    function options.callback(server, err, handshake)
        self.opening[ticket] = nil
        if err then
            if refusals.is_denied(err) then
                account:refused(generation)
            end
            if errors.is_refused_login(err) and not refusals.is_about_room(err) then
                tell_refused(self.native:login_refused(ticket), err)
            else
                self.native:failed(ticket)
                self.topology:look_again(server_name)
            end
            return warnings.warn(NAME, ("%s: %s"):format(server_name, tostring(err)))
        end
        local server_id = server:id()
        self.version = handshake:server_version()
        self.connections[server_id], self.made_for[server_id] = server, { account = account, generation = generation }
        if self.show then
            self.show:watch_for_all(server)
        end
        server:on_close(self.forget_connection)
        if not self.native:opened(ticket, server, handshake:thread_id(), self.version) then
            dpm.close(server)
        end
    end
    local begun, result = pcall(servers.connect_mysql_server, options)
    if begun then
        self.opening[ticket] = result -- or it would be collected
    else
        self.native:failed(ticket)
        warnings.warn(NAME, ("%s: %s"):format(server_name, errors.text(result)))
    end
end

-- Connections that were made with a password of the account's that is not good any more are used no longer.
local function retire_old(self, account)
    for server_id, made in pairs(self.made_for) do
        if made.account == account and not account:is_current(made.generation) then
            self.native:retire(self.connections[server_id])
        end
    end
end

-- Executes a KILL on a short connection of the account of this key.
local function kill_at(self, server_name, key, sql)
    local account = self.clients.backends:by_key(key)
    if not account then
        error(NO_CLIENT, 0)
    end
    local options, err = clients.login(account, self.addresses[server_name])
    local db = databases.connect(options or error(err, 0))
    pcall(db.query, db, sql) -- it may be over by itself
    db:close()
end

-- Ends a statement whose client is gone.
local function kill(self, server_name, key, thread_id)
    tasks.spawn(function()
        local ok, problem = pcall(kill_at, self, server_name, key, ("KILL %d"):format(thread_id))
        if not ok then
            warnings.warn(NAME, ("%s: a statement could not be ended whose client is gone: %s"):format(server_name,
                errors.text(problem)))
        end
    end)
end

-- Ends a statement that has taken too long. Until the server has answered, the connection is nobody else's.
local function interrupt(self, connection_id, server_name, key, thread_id)
    tasks.spawn(function()
        local sql = ("KILL QUERY %d"):format(thread_id)
        local ok, problem = pcall(tasks.with_timeout, KILL_LIMIT, kill_at, self, server_name, key, sql)
        local connection = self.connections[connection_id]
        if connection then
            self.native:unpin(connection)
        end
        if not ok then
            warnings.warn(NAME, ("%s: a statement could not be ended that takes too long: %s"):format(server_name,
                errors.text(problem)))
        end
    end)
end

-- The functions of a script's that decide, in the form of the native pool's. It asks only if they are there.
local OVERRULES = { release = 1, refuse = 2 }

local function on_hold(self, client_id, reason, sql)
    local said = self.on_hold(reason, logins.client(client_id), sql)
    if said ~= nil and not OVERRULES[said] then
        error(('on_hold: expected nil, "release" or "refuse", got %s'):format(tostring(said)), 0)
    end
    return OVERRULES[said]
end

local function choose(self, client_id, names)
    local chosen = self.choose(names, logins.client(client_id), self.clients.users[client_id])
    for place, name in ipairs(names) do
        if name == chosen then
            return place
        end
    end
    if chosen ~= nil then
        error(("choose: expected nil or one of %s, got %s"):format(table.concat(names, ", "), tostring(chosen)), 0)
    end
end

-- How to log in at servers in order to look after them; nil if no password is known.
local function monitor_of(options)
    if options.monitor or type(options.backend) == "table" then
        return words.read(NAME, options.monitor or options.backend)
    end
    local names = {}
    for name, credential in pairs(type(options.users) == "table" and options.users or {}) do
        if credential.password then
            names[#names + 1] = name
        end
    end
    table.sort(names)
    if not options.backend and names[1] then
        return { user = names[1], password = options.users[names[1]].password }
    end
end

-- Whether there is a server for what this one was for.
local function is_replaced(self, name)
    local was = self.roles[name]
    for _, each in ipairs(self.topology:names()) do
        local view = self.topology:view(each)
        if each ~= name and view and view.usable and (view.role == "primary" or view.role == was) then
            return true
        end
    end
    return false
end

-- Those who wait for the answer of a server that does not answer any more wait no longer, once others can go on.
local function abandon_silent(self)
    for _, name in ipairs(self.topology:names()) do
        local view = self.topology:view(name)
        if view and view.silent and self.roles[name] and is_replaced(self, name) then
            self.roles[name] = nil
            self.native:abandon(name)
        end
    end
end

-- A greeting is learnt from a login, which need not succeed.
local function greeting_login(address)
    local login = { user = "client-left-before-its-login" }
    for name, value in pairs(address) do
        login[name] = value
    end
    return login
end

-- What is known of a server has changed; without a view it is not in the list any more.
local function server_changed(self, name, view)
    if not view then
        self.addresses[name], self.roles[name] = nil, nil
        return self.native:server(name, { health = "removed" })
    end
    if not self.addresses[name] then
        local address = topology.address_of(view.server)
        self.addresses[name] = address
        self.greeter:add(self.monitor and self.topology:login_at(view.server) or greeting_login(address))
    end
    local is_late = view.role == "replica" and view.lag and view.lag > self.lag_limit
    self.native:server(name, {
        role = view.role or "replica", weight = view.server.weight, galera = view.galera,
        health = view.usable and not is_late and "up" or "down",
    })
    if view.usable then
        self.roles[name] = view.role
    end
    abandon_silent(self)
end

-- A command of a client's that the native pool leaves to this module.
local function command(self, client_id, number, argument)
    local client, cmd = logins.client(client_id), queries.new_command(number, argument)
    if number == dpm.COM_CHANGE_USER then
        logins.change_user(client, cmd)
    else
        self.kills:answer(cmd, client)
    end
end

-- The servers by their names, primaries first: where a client's login is judged.
local function names_in_order(self)
    local names = {}
    for name in pairs(self.addresses) do
        names[#names + 1] = name
    end
    table.sort(names, function(one, other)
        local is_first, is_second = self.roles[one] == "primary", self.roles[other] == "primary"
        if is_first ~= is_second then
            return is_first
        end
        return one < other
    end)
    return names
end

local function addresses_in_order(self)
    local list = {}
    for _, name in ipairs(names_in_order(self)) do
        list[#list + 1] = self.addresses[name]
    end
    return list
end

-- Answers SHOW HELD, DRAIN SERVER and the like for the clients of `listener`.
function Pool:admin(listener, options)
    admin.serve(self, listener, options)
end

-- What those statements show: one table, or all of them by their names.
function Pool:status(name, options)
    return figures.status(self, name, options)
end

-- What a client's session consists of, as a string that Pool:adopt understands, here or in another pool; nil and why there is
-- none. What its last connection knows of it is read first, so this may wait.
function Pool:session(client)
    return sessions.of(self, client)
end

-- Has a client of this pool or of another go on with a session in this one. true; or nil and why it cannot.
function Pool:adopt(client, session)
    return sessions.adopt(self, client, session)
end

-- Shows the plug-in a client that has logged in. There is no server: the client has one for each of its commands, in turn
-- with others.
local function begin_plugin(self, client, auth)
    local client_id, callbacks = client:id(), self.show:begin_without_server(client, auth)
    if callbacks.new_client then
        callbacks.new_client(client, nil, auth)
    end
    if callbacks.logged_in then
        callbacks.logged_in(auth, client_id, client)
    end
end

-- Adds what the plug-in needs to the callbacks of clients.
local function with_plugin(self, callbacks)
    local show = self.show
    if not show then
        return callbacks
    end
    callbacks.new_command = show.functions.command
    callbacks.finished_command = show:may_have("finished_command") and show.functions.finished_command
    local forget = callbacks.closing
    function callbacks.closing(client_id, client)
        forget(client_id)
        local closing = show:callbacks_of(client_id).closing
        if closing then
            closing(client_id, client)
        end
        show:forget(client_id)
    end
    return callbacks
end

-- Whose writes a client's reads see, beside its own; nil if nobody's.
local function party_of(self, client, user)
    if self.consistency == "tag" then
        local tag = self.tag(client, user)
        if tag ~= nil and type(tag) ~= "string" then
            error(("tag: expected a string or nil, got %s"):format(type(tag)), 0)
        end
        return tag
    elseif self.consistency == "user" then
        return user
    end
end

-- Logs the clients of `listener` in at the proxy, and gives each a connection for as long as it needs one.
function pools.pool(listener, options)
    checks.argument(NAME, "listener", listener, "a listener")
    checks.options(NAME, options, OPTIONS)
    if options.consistency and not CONSISTENCY[options.consistency] then
        checks.fail(NAME, 'consistency: expected "none", "session", "user" or "tag"')
    elseif options.consistency == "tag" and not options.tag then
        checks.fail(NAME, 'tag: expected a function of a client, for consistency = "tag"')
    elseif options.tag and options.consistency and options.consistency ~= "tag" then
        checks.fail(NAME, ('consistency: with tag it is "tag", not "%s"'):format(options.consistency))
    end
    local interval = options.health_interval
    if interval and not (interval >= MIN_INTERVAL and interval <= MAX_INTERVAL) then
        checks.fail(NAME, ("health_interval: expected %g to %g seconds"):format(MIN_INTERVAL, MAX_INTERVAL))
    end
    local self = setmetatable({
        addresses = {},   -- server's name -> its address
        roles = {},       -- server's name -> its role, while connections to it may be in use
        opening = {},     -- ticket -> the connection that is being opened
        connections = {}, -- connection's id -> the connection
        parting = {},     -- client id -> functions to be called when its session is known
        made_for = {},    -- connection's id -> its account, and the generation of the password
        monitor = monitor_of(options),
        lag_limit = options.lag_limit or LAG_LIMIT,
        consistency = options.consistency or (options.tag and "tag" or "none"),
        tag = options.tag,
        choose = options.choose,
        on_hold = options.on_hold,
        greeter = greeters.new({}),
        version = nil,    -- of the server that was connected to last
    }, Pool)
    function self.forget_connection(server_id)
        self.connections[server_id], self.made_for[server_id] = nil, nil
    end
    self.clients = clients.new(NAME, options, {
        servers = function() return addresses_in_order(self) end,
        patience = options.failover_timeout or FAILOVER_TIMEOUT,
        changed = function(account) retire_old(self, account) end,
        adopt = function(client, session, auth)
            session.party = party_of(self, client, session.user)
            self.native:adopt(client, session)
            sessions.belongs(self, client:id())
            self.kills:add(client)
            if self.show then
                begin_plugin(self, client, auth)
            end
        end,
    })
    if options.plugin then
        plugins.check(NAME, options.plugin)
        self.show = showing.new(options.plugin)
    end
    local native = { name = figures.name_of(listener), tells_links = self.show ~= nil, consistency = CONSISTENCY[self.consistency] }
    for _, name in ipairs(NATIVE) do
        native[name] = options[name]
    end
    self.native = checks.relay(dpm.new_pool, {
        open = function(...) tasks.spawn(open, self, ...) end,
        kill = function(...) kill(self, ...) end,
        interrupt = function(...) interrupt(self, ...) end,
        on_hold = options.on_hold and function(...) return on_hold(self, ...) end,
        choose = options.choose and function(...) return choose(self, ...) end,
        look_again = function(name) self.topology:look_again(name) end,
        lent = function(client, server) self.show:join(client, server) end,
        taken = function(_, server) self.show:leave(server:id()) end,
        command = function(...) command(self, ...) end,
        parted = function(client_id) sessions.parted(self, client_id) end,
    }, native)
    self.topology = topology.new {
        servers = options.servers, account = self.monitor, interval = options.health_interval,
        on_change = function(name, view) server_changed(self, name, view) end,
    }
    self.kills = kills.new(self.native, listener, {
        account = function(client) return self.clients:account(client) end,
        is_mariadb = function() return self.version ~= nil and self.version:find("MariaDB", 1, true) ~= nil end,
        login = function(client, server_name)
            local options, err = clients.login(self.clients:account(client), self.addresses[server_name or names_in_order(self)[1]])
            return options or error(err, 0)
        end,
        connections = self.connections,
    })
    logins.begin(NAME, listener, logins.with_handshake(with_plugin(self, {
        new_client = function(...) return self.clients:new_client(...) end,
        new_command = false,
        closing = function(client_id)
            self.clients:left(client_id) -- it may be in the middle of its login
            sessions.closed(client_id)
        end,
    }), options), self.clients:lookup(), function(tell) self.greeter:greet(tell) end, moves.mover(self))

    figures.add(self, listener)
    self.topology:start()
    self.timer = dpm.new_timer()
    self.timer:schedule(0, TICK, function() self.native:tick() end)
    return self
end

return pools
