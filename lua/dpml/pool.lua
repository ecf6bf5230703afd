-- Many clients over few connections to servers.
--
-- The pool itself is native (dpm.new_pool): it lends connections and keeps sessions apart. This module logs clients
-- in, opens connections, and tells the native pool what it has to know of servers.

local addresses = require "dpml.addresses"
local checks = require "dpml.checks"
local collations = require "dpml.collations"
local databases = require "dpml.databases"
local errors = require "dpml.errors"
local greeters = require "dpml.greeter"
local logins = require "dpml.logins"
local servers = require "dpml.servers"
local tasks = require "dpml.tasks"
local warnings = require "dpml.warnings"
local words = require "dpml.words"

local pools = {}

local NAME = "dpml.pool"

-- Options of the native pool, which checks their values.
local NATIVE = {
    "size", "min_idle", "max_waiting", "queue_timeout", "idle_timeout", "max_lifetime", "max_hold", "failover_timeout",
    "split", "retry_reads", "hold_opaque",
}
local OPTIONS = checks.union({ servers = "a table", backend = "a table or function" }, logins.OPTIONS)
for _, name in ipairs(NATIVE) do
    OPTIONS[name] = true
end

local SERVER_OPTIONS = checks.union({ role = "a string", weight = "a number", name = "a string" }, servers.ADDRESS_OPTIONS)

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
            return warnings.warn(NAME, ("%s: %s"):format(server_name, tostring(err)))
        end
        self.connections[server:id()] = server
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

local function check_servers(list)
    for _, each in ipairs(list) do
        checks.options(NAME .. ": servers", each, SERVER_OPTIONS)
    end
    if not list[1] then
        checks.fail(NAME, "servers: there must be one at least")
    end
end

local function add_servers(self, list)
    for at, each in ipairs(list) do
        local address, shown = {}, nil
        for name, value in pairs(each) do
            if name ~= "role" and name ~= "weight" and name ~= "name" then
                address[name] = value
            end
        end
        shown = each.name or greeters.key_of(address)
        self.addresses[shown] = address
        self.native:server(shown, { role = each.role or (at == 1 and "primary" or "replica"), weight = each.weight })
    end
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

-- Logs the clients of `listener` in at the proxy, and gives each a connection for as long as it needs one.
function pools.pool(listener, options)
    checks.argument(NAME, "listener", listener, "a listener")
    checks.options(NAME, options, OPTIONS)
    logins.check_accounts(NAME, options)
    check_servers(options.servers)
    local self = setmetatable({
        addresses = {},   -- server's name -> its address
        logins = {},      -- account -> user and password at the servers
        opening = {},     -- ticket -> the connection that is being opened
        connections = {}, -- connection's id -> the connection
        backend = options.backend,
    }, Pool)
    local native = {}
    for _, name in ipairs(NATIVE) do
        native[name] = options[name]
    end
    self.native = checks.relay(dpm.new_pool, {
        open = function(...) open(self, ...) end,
        kill = function(...) kill(self, ...) end,
        look_again = function() end,
    }, native)
    add_servers(self, options.servers)

    local function new_client(client, auth)
        local user = auth:user()
        local credential = type(options.users) == "table" and options.users[user] or nil
        self.native:adopt(client, {
            user = user, account = account_of(self, user, credential), schema = auth:databasename(),
            charset = "utf8mb4", collation = "utf8mb4_general_ci",
        })
    end

    local greeter = greeters.new((function()
        local list = {}
        for _, address in pairs(self.addresses) do
            local one = {}
            for _, from in ipairs { type(self.backend) == "table" and self.backend or {}, address } do
                for name, value in pairs(from) do one[name] = value end
            end
            list[#list + 1] = one
        end
        return list
    end)())
    logins.begin(NAME, listener, logins.with_handshake({ new_client = new_client }, options),
        options.users or options.authenticate, function(tell) greeter:greet(tell) end)

    self.timer = dpm.new_timer()
    self.timer:schedule(0, TICK, function() self.native:tick() end)
    return self
end

return pools
