-- accounts = "server": who may log in at the proxy is what the servers say. A client shows its password to the proxy, or
-- proves that it has the one that was right before; a login at a server with it decides, each time. So nobody gets in whom the
-- server would refuse: one whose password was changed, whose account was locked, or who had to come by TLS.

local errors = require "dpml.support.errors"
local judging = require "dpml.pool.judging"
local passwords = require "dpml.pool.passwords"
local refusals = require "dpml.pool.refusals"

local server_accounts = {}

local MOST = 1000 -- users without a client whose password is remembered

-- The server's words, but for the host, which is the proxy's there.
local function in_own_words(err, user, host)
    if not errors.is_refused_login(err) then
        return err
    end
    local before = ("'%s'@'"):format(user)
    local from, to = err.message:find(before, 1, true)
    local last = to and err.message:find("'", to + 1, true)
    if not last then
        return err
    end
    return errors.new(err.errnum, err.sqlstate, err.message:sub(1, to) .. host .. err.message:sub(last))
end

-- Whether the client's own connection is what the account requires.
local function satisfies(client, requirements)
    if not requirements then
        return false
    end
    local tls = client:tls()
    local own = { SSL = tls ~= nil, X509 = tls and tls.peer_subject ~= nil, SUBJECT = tls and tls.peer_subject,
        ISSUER = tls and tls.peer_issuer, CIPHER = tls and tls.cipher }
    for what, wanted in pairs(requirements) do
        if what ~= "transport" and own[what] ~= wanted then
            return false
        end
    end
    return true
end

-- MySQL's; MariaDB says the same as to a wrong password.
local INSECURE = errors.new(3159, "HY000",
    "Connections using insecure transport are prohibited while --require_secure_transport=ON.")

-- options.servers() returns a list of options of connect_mysql_server, in the order in which they are asked; options.keep, if
-- given, is called as keep(server, verdict) for each connection that a login was judged by, and returns true to have it;
-- options.changed(account) is called when connections that were made for an account may have to retire.
-- Returns a function that is the accounts for authenticate_new_clients and the like. The verdict that new_client is called
-- with has the `account`: its login() returns the user and the password for a login at a server, and the generation of that
-- password; is_current(generation) is false once a connection that was made so has to retire; refused(generation) is for
-- the one whose login with it got an error 1045.
function server_accounts.new(options)
    local judge = judging.new(options.servers, options.keep)
    local known = passwords.new(options.most or MOST, options.changed or function() end)

    -- Returns the verdict, or nil and an error.
    local function ask(password, auth, client)
        local user = auth:user()
        local generations = known:generations(user)
        local ok, verdict = pcall(judge.judge, judge, auth, password)
        if ok and not satisfies(client, verdict.requirements) then
            return nil -- as with a wrong password
        elseif ok and verdict.requirements.transport and not client:secure() then
            local is_mariadb = verdict.handshake:server_version():find("MariaDB", 1, true)
            return nil, not is_mariadb and INSECURE or nil
        elseif ok then
            local account = known:accepted(user, password, generations)
            account.requirements = verdict.requirements
            return { account = account, ok = verdict.ok, settings = verdict.settings, address = verdict.address }
        elseif not errors.is_refused_login(verdict) then
            error(verdict, 0)
        end
        local account = known:of(user)
        if refusals.is_denied(verdict) then
            known:refused(user, password)
        elseif refusals.is_full_for_user(verdict) and account and account:known() == password and satisfies(client, account.requirements) then
            return { account = account } -- with those that the proxy has there already
        end
        return nil, in_own_words(verdict, user, client:socket_address())
    end

    return function(user)
        local account = known:of(user)
        return {
            show = true, known = account and account:known(), judge = ask,
            -- The account of a client that has shown this password in another state of the program, where a server found it right.
            trust = function(password)
                return known:accepted(user, password, known:generations(user))
            end,
        }
    end
end

return server_accounts
