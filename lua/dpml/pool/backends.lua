-- How the clients of a pool prove who they are, and which account at the servers each of them has.
--
-- An *account* is { key = a name for it that is no secret, login(), is_current(generation), refused(generation) }: connections of
-- the same key are the same to the servers. login() returns the user and the password for a login at a server, and the
-- generation of the password; nil and an error if there is none. It may wait. Connections that were made with a generation that is
-- no longer current have to retire.

local accounts_of = require "dpml.logins.accounts"
local checks = require "dpml.support.checks"
local errors = require "dpml.support.errors"
local passwords = require "dpml.pool.passwords"
local server_accounts = require "dpml.pool.server_accounts"
local servers = require "dpml.servers"
local words = require "dpml.support.words"

local backends = {}

-- Options about the login at a server, and not about the way there.
local LOGIN = checks.union(servers.LOGIN_OPTIONS)
for name in pairs(servers.ADDRESS_OPTIONS) do
    LOGIN[name] = nil
end
for _, name in ipairs { "like", "track_session", "database", "db", "charset" } do
    LOGIN[name] = nil
end

backends.OPTIONS = { accounts = "a string", backend = "a table or function" }

local NO_SERVER = errors.new(1045, "28000", "There is no server for this user")

local Backends = {}
Backends.__index = Backends

-- Accounts whose passwords the script knows.
local Account = {}
Account.__index = Account

function Account:login()
    if self.ask and self.is_doubted then
        local login = self.ask()
        if not login then
            return nil, NO_SERVER
        end
        self.is_doubted = false
        self:set(login)
    end
    return self.options, self.generation
end

-- Another password is another generation.
function Account:set(options)
    if self.options and self.options.password ~= options.password then
        self.generation = self.generation + 1
        self.changed(self)
    end
    self.options = options
end

function Account:is_current(generation)
    return generation == self.generation
end

-- The startfile knows it.
function Account:shown()
    return nil
end

-- Whoever gave the password is asked again.
function Account:refused(generation)
    self.is_doubted = self.is_doubted or generation == self.generation
end

local function check_login(what, login)
    checks.argument(what, "backend", login, "a table")
    checks.options(what .. ": backend", login, LOGIN)
    login = words.read(what, login)
    checks.argument(what, "backend: user", login.user, "a string")
    return login
end

local NO_PASSWORD = "needs a password, and not a hash of it, for the login at the servers; or give backend"

-- The password in a credential; nil if it is a hash.
local function password_in(credential)
    if credential == "" then
        return ""
    end
    return type(credential) == "table" and credential.password or nil
end

local function check(what, options)
    local given = 0
    for _, name in ipairs { "users", "authenticate", "accounts" } do
        given = given + (options[name] ~= nil and 1 or 0)
    end
    if given ~= 1 then
        checks.fail(what, "who may log in? One of users, authenticate and accounts must be given")
    elseif options.accounts ~= nil and options.accounts ~= "server" then
        checks.fail(what, 'accounts: expected "server", got ' .. tostring(options.accounts))
    elseif options.accounts and options.backend then
        checks.fail(what, 'backend: with accounts = "server" each client has its own account at the servers')
    end
    if type(options.backend) == "table" then
        check_login(what, options.backend)
    elseif not options.backend and type(options.users) == "table" then
        for user, credential in pairs(options.users) do
            if not password_in(credential) then
                checks.fail(what, ("users: %s %s"):format(user, NO_PASSWORD))
            end
        end
    end
end

-- Checks and reads the options of a pool. `hooks` are:
--   servers()              options of connect_mysql_server, in the order in which servers judge logins (accounts = "server")
--   keep(server, verdict)  see server_accounts
--   changed(account)       connections that were made for it may have to retire
-- `lookup` of the result is for logins.begin.
function backends.new(what, options, hooks)
    check(what, options)
    local self = setmetatable({
        what = what,
        backend = options.backend,
        changed = hooks.changed or function() end,
        accounts = setmetatable({}, { __mode = "v" }), -- key -> account, as long as a client has it
    }, Backends)
    if options.accounts then
        self.lookup = server_accounts.new { servers = hooks.servers, keep = hooks.keep, changed = self.changed }
    else
        self.lookup = accounts_of(options.users or options.authenticate)
    end
    if type(self.backend) == "table" then
        self.shared = self:account(check_login(what, self.backend))
    end
    return self
end

-- The account of this login.
function Backends:account(login, ask)
    local key = passwords.key(login.user)
    local account = self.accounts[key]
    if not account then
        account = setmetatable({ key = key, generation = 1, changed = self.changed, ask = ask }, Account)
        self.accounts[key] = account
    end
    account:set(login)
    return account
end

-- The account that a client has which has logged in as `user`; `granted` is what new_client of logins was given: its
-- credential, or the servers' verdict. nil and an error if there is none. It may wait.
function Backends:of(user, granted)
    if type(granted) == "table" and granted.account then
        self.accounts[granted.account.key] = granted.account
        return granted.account
    elseif self.shared then
        return self.shared
    elseif self.backend then
        local function ask()
            local login = self.backend(user)
            return login and check_login(self.what, login)
        end
        local login = ask()
        if login then
            return self:account(login, ask)
        end
        return nil, NO_SERVER
    end
    local password = password_in(granted)
    if not password then
        dpm.log("error", ("%s: authenticate: '%s' %s"):format(self.what, user, NO_PASSWORD))
        return nil, errors.new(1105, "HY000", "The proxy has no password for this user at the servers; its log says why")
    end
    return self:account { user = user, password = password }
end

-- The account of a client that has `account` in another pool; nil and an error if there is none. It may wait.
function Backends:taken_over(user, account)
    if self.shared or self.backend then
        return self:of(user)
    end
    return self:of(user, { account = account })
end

-- The account of a key that a client has.
function Backends:by_key(key)
    return self.accounts[key]
end

return backends
