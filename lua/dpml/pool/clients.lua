-- Clients that log in to a pool: who they are at the servers, how their sessions begin, and how many there may be.

local backends = require "dpml.pool.backends"
local charsets = require "dpml.pool.charsets"
local checks = require "dpml.support.checks"
local errors = require "dpml.support.errors"
local limits = require "dpml.pool.limits"
local login_ok = require "dpml.logins.login_ok"
local refusals = require "dpml.pool.refusals"
local results = require "dpml.results"
local tasks = require "dpml.tasks"
local warnings = require "dpml.support.warnings"

local clients = {}

clients.OPTIONS = checks.union(backends.OPTIONS, { max_user_clients = true, max_user_connections = true })

local PAUSE = 200     -- milliseconds between attempts to reach a server
local RESERVE = 0.1   -- of the time that a client has left for its login, to tell it that there is no server

local Clients = {}
Clients.__index = Clients

-- hooks:
--   servers()              addresses of servers for a login, as options of connect_mysql_server, in the order to try them
--   patience               seconds for which a login waits for a server
--   adopt(client, session, auth) the client is in: session has user, account, schema, charset, collation
--   changed(account)       see backends
function clients.new(what, options, hooks)
    return setmetatable({
        what = what,
        hooks = hooks,
        backends = backends.new(what, options, hooks),
        charsets = charsets.new(),
        max_clients = limits.read(what, "max_user_clients", options.max_user_clients),
        max_connections = limits.read(what, "max_user_connections", options.max_user_connections),
        accounts = {}, -- client id -> its account
        users = {},    -- client id -> the name that it has logged in with
        counts = {},   -- user -> how many clients there are
        logins = {},   -- client id -> the login that is being completed
    }, Clients)
end

-- Who may log in, for logins.begin.
function Clients:lookup()
    return self.backends.lookup
end

-- The account of a client's.
function Clients:account(client)
    return self.accounts[client:id()]
end

-- The name that a client has logged in with.
function Clients:user(client)
    return self.users[client:id()]
end

-- The account here of a client that comes from other ones; nil and an error if there is none. It may wait.
function Clients:account_from(others, client)
    if others == self then
        return self:account(client)
    end
    local user = others:user(client)
    local refusal = self:too_many(user)
    if refusal then
        return nil, refusal
    end
    return self.backends:taken_over(user, others:account(client))
end

-- A client has come from other ones.
function Clients:joined(client_id, user, account)
    self.users[client_id], self.accounts[client_id] = user, account
    self.counts[user] = (self.counts[user] or 0) + 1
end

-- The options of connect_mysql_server for a login of this account at the server of an address, and the generation of its
-- password; nil and an error if there is none.
function clients.login(account, address)
    local login, generation = account:login()
    if not login then
        return nil, generation
    end
    local options = {}
    for _, from in ipairs { login, address } do
        for name, value in pairs(from) do
            options[name] = value
        end
    end
    return options, generation
end

-- The error for one client more of this user; nil if there may be one.
function Clients:too_many(user)
    local limit, count = self.max_clients(user), self.counts[user] or 0
    if limit > 0 and count >= limit then
        return errors.new(1226, "42000", ("User '%s' has exceeded the 'max_user_connections' resource (current value: %d)"):format(
            user, limit))
    end
end

local function leave(self, client_id)
    local user = self.users[client_id]
    if user then
        local count = self.counts[user] - 1
        self.counts[user] = count > 0 and count or nil
    end
    self.users[client_id], self.accounts[client_id], self.logins[client_id] = nil, nil, nil
end

-- The client has closed.
function Clients:left(client_id)
    leave(self, client_id)
end

-- The first server that can be reached tells how the session begins.
local function begin_at_server(self, account, auth)
    local last
    for _, address in ipairs(self.hooks.servers()) do
        local options, generation = clients.login(account, address)
        if not options then
            error(generation, 0)
        end
        local database = auth:databasename()
        options.database = database ~= "" and database or nil
        local ok, beginning = pcall(self.charsets.of, self.charsets, options, account.key, auth:charset_number())
        if ok then
            return beginning
        end
        last = beginning
        if not errors.is_of_connecting(last) or errors.is_refused_login(last) then
            if refusals.is_denied(last) then
                account:refused(generation)
            end
            error(last, 0)
        end
    end
    error(last or errors.of_connecting(errors.new(2003, "HY000", "There is no server"), "failed"), 0)
end

-- The same, if there is no server yet: as long as the client can wait.
local function begin_session(self, account, auth, client)
    local left = client:time_left()
    local patience = math.min(self.hooks.patience, left and left * (1 - RESERVE) or math.huge) * 1000
    local begun = dpm.monotonic()
    while true do
        local ok, beginning = pcall(begin_at_server, self, account, auth)
        if ok then
            return beginning
        end
        local is_late = dpm.monotonic() - begun + PAUSE > patience
        if is_late or errors.is_refused_login(beginning) or not errors.is_of_connecting(beginning) then
            error(beginning, 0)
        end
        tasks.sleep(PAUSE)
    end
end

local function let_in(self, client, auth, granted)
    local user = auth:user()
    local account, err = self.backends:of(user, granted)
    if not account then
        error(err, 0)
    end
    -- The server that has judged the login has shown how the session begins.
    local is_known = type(granted) == "table" and granted.settings ~= nil
    return account, is_known and granted or begin_session(self, account, auth, client)
end

-- A client has logged in, or changed its user: what new_client of logins does.
function Clients:new_client(client, auth, ok, granted)
    local client_id, user = client:id(), auth:user()
    local login = {}
    self.logins[client_id] = login
    tasks.spawn(function()
        local done, account, beginning = pcall(let_in, self, client, auth, granted)
        if client:close_reason() or self.logins[client_id] ~= login then
            return
        end
        local before = self.users[client_id]
        leave(self, client_id)
        local refusal = not done and account or self:too_many(user)
        if refusal then
            warnings.warn(self.what, ("client %d: it is not let in: %s"):format(client_id, errors.text(refusal)))
            results.end_answer(client, refusal)
            return before and dpm.close(client) -- or it would go on as the user before
        end
        self:joined(client_id, user, account)
        if beginning.ok then
            login_ok.tell_as(ok, beginning.ok)
        end
        local settings = beginning.settings
        self.hooks.adopt(client, {
            user = user, account = account.key, schema = auth:databasename(),
            charset = settings.character_set_client, collation = settings.collation_connection,
            max_connections = self.max_connections(user),
        }, auth)
        dpm.wire_packet(client, ok)
    end)
    return dpm.DPM_NOPROXY
end

return clients
