-- Many clients over few connections to servers.
--
-- The pool itself is native (dpm.new_pool): it lends connections and keeps sessions apart. This module logs clients
-- in, opens connections, and tells the native pool what it has to know of servers.

local admin = require "dpml.pool.admin"
local checks = require "dpml.checks"
local collations = require "dpml.collations"
local databases = require "dpml.databases"
local errors = require "dpml.errors"
local figures = require "dpml.pool.figures"
local greeters = require "dpml.greeter"
local logins = require "dpml.logins"
local plugins = require "dpml.plugins"
local servers = require "dpml.servers"
local showing = require "dpml.showing"
local tasks = require "dpml.tasks"
local topology = require "dpml.pool.topology"
local warnings = require "dpml.warnings"
local words = require "dpml.words"

local pools = {}

local NAME = "dpml.pool"

-- Options of the native pool, which checks their values.
local NATIVE = {
    "size", "min_idle", "max_waiting", "queue_timeout", "idle_timeout", "max_lifetime", "max_hold", "failover_timeout",
    "split", "retry_reads", "hold_opaque", "harmless", "lastval",
}
local OPTIONS = checks.union({
    servers = true, backend = "a table or function", monitor = "a table", lag_limit = "a number",
    plugin = "a table or function",
}, logins.OPTIONS)
for _, name in ipairs(NATIVE) do
    OPTIONS[name] = true
end

local LAG_LIMIT = 10 -- seconds that a replica may be late

local TICK = 100 -- milliseconds between looks at what time brings

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

-- The options by which a connection to this server is logged in for this account.
local function login_of(self, server_name, account)
    local options = {}
    for _, from in ipairs { self.logins[account] or {}, self.addresses[server_name] } do
        for name, value in pairs(from) do
            options[name] = value
        end
    end
    return options
end

-- Opens a connection for the native pool.
local function open(self, ticket, server_name, account, flags)
    local options = login_of(self, server_name, account)
    options.capabilities = capabilities_of(flags)
    function options.callback(server, err, handshake)
        self.opening[ticket] = nil
        if err then
            self.native:failed(ticket)
            self.topology:look_again(server_name)
            return warnings.warn(NAME, ("%s: %s"):format(server_name, tostring(err)))
        end
        self.connections[server:id()] = server
        if self.show then
            self.show:watch_for_all(server)
        end
        server:on_close(function(server_id)
            self.connections[server_id] = nil
        end)
        if not self.native:opened(ticket, server, handshake:thread_id(), handshake:server_version()) then
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

-- Ends a statement whose client is gone.
local function kill(self, server_name, account, thread_id)
    tasks.spawn(function()
        local ok, problem = pcall(function()
            local db = databases.connect(login_of(self, server_name, account))
            local _, refusal = pcall(db.query, db, ("KILL %d"):format(thread_id))
            db:close()
            return refusal
        end)
        if not ok then
            warnings.warn(NAME, ("%s: a statement could not be ended whose client is gone: %s"):format(server_name,
                errors.text(problem)))
        end
    end)
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

-- What is known of a server has changed; without a view it is not in the list any more.
local function server_changed(self, name, view)
    if not view then
        self.addresses[name], self.roles[name] = nil, nil
        return self.native:server(name, { health = "removed" })
    end
    if not self.addresses[name] then
        local address = topology.address_of(view.server)
        self.addresses[name] = address
        self.greeter:add(self.monitor and self.topology:login_at(view.server) or address)
    end
    local is_late = view.role == "replica" and view.lag and view.lag > self.lag_limit
    self.native:server(name, {
        role = view.role or "replica", weight = view.server.weight,
        health = view.usable and not is_late and "up" or "down",
    })
    if view.usable then
        self.roles[name] = view.role
    end
    abandon_silent(self)
end

-- The account that connections for a user are logged in with: its name for the native pool.
local function account_of(self, user, credential)
    local backend = self.backend
    if type(backend) == "function" then
        backend = backend(user)
    end
    local login = backend or { user = user, password = credential and credential.password }
    local account = login.user
    self.logins[account] = words.read(NAME, login)
    return account
end

-- Answers SHOW HELD, DRAIN SERVER and the like for the clients of `listener`.
function Pool:admin(listener, options)
    admin.serve(self, listener, options)
end

-- What those statements show: one table, or all of them by their names.
function Pool:status(name, options)
    return figures.status(self, name, options)
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
    function callbacks.closing(client_id, client)
        local closing = show:callbacks_of(client_id).closing
        if closing then
            closing(client_id, client)
        end
        show:forget(client_id)
    end
    return callbacks
end

-- Logs the clients of `listener` in at the proxy, and gives each a connection for as long as it needs one.
function pools.pool(listener, options)
    checks.argument(NAME, "listener", listener, "a listener")
    checks.options(NAME, options, OPTIONS)
    logins.check_accounts(NAME, options)
    local self = setmetatable({
        addresses = {},   -- server's name -> its address
        logins = {},      -- account -> user and password at the servers
        roles = {},       -- server's name -> its role, while connections to it may be in use
        opening = {},     -- ticket -> the connection that is being opened
        connections = {}, -- connection's id -> the connection
        backend = options.backend,
        monitor = monitor_of(options),
        lag_limit = options.lag_limit or LAG_LIMIT,
        greeter = greeters.new({}),
    }, Pool)
    if options.plugin then
        plugins.check(NAME, options.plugin)
        self.show = showing.new(options.plugin)
    end
    local native = { tells_links = self.show ~= nil }
    for _, name in ipairs(NATIVE) do
        native[name] = options[name]
    end
    self.native = checks.relay(dpm.new_pool, {
        open = function(...) open(self, ...) end,
        kill = function(...) kill(self, ...) end,
        look_again = function(name) self.topology:look_again(name) end,
        lent = function(client, server) self.show:join(client, server) end,
        taken = function(_, server) self.show:leave(server:id()) end,
    }, native)
    self.topology = topology.new {
        servers = options.servers, account = self.monitor,
        on_change = function(name, view) server_changed(self, name, view) end,
    }

    local function new_client(client, auth)
        local user = auth:user()
        local credential = type(options.users) == "table" and options.users[user] or nil
        self.native:adopt(client, {
            user = user, account = account_of(self, user, credential), schema = auth:databasename(),
            charset = "utf8mb4", collation = "utf8mb4_general_ci",
        })
        if self.show then
            begin_plugin(self, client, auth)
        end
    end

    logins.begin(NAME, listener, logins.with_handshake(with_plugin(self, { new_client = new_client }), options),
        options.users or options.authenticate, function(tell) self.greeter:greet(tell) end)

    self.topology:start()
    self.timer = dpm.new_timer()
    self.timer:schedule(0, TICK, function() self.native:tick() end)
    return self
end

return pools
