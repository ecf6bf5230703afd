-- Who the clients are that have logged in at the proxy, and the errors of logins in their names: a client never reads
-- the name of the account by which the proxy logs in at a server.

local errors = require "dpml.support.errors"

local identities = {}

local known = {} -- client id -> { user =, host =, database =, used_password = }

-- The same for clients that have logged in alike, as most of an application's do: each is kept once, as long as a client
-- has it.
local alike = setmetatable({}, { __mode = "v" })

local function shared(identity)
    local key = table.concat({ identity.user, identity.host, tostring(identity.used_password), identity.database }, "\0")
    alike[key] = alike[key] or identity
    return alike[key]
end

-- What a client has logged in as. Whether it has sent a password (`used_password`) is not known yet.
function identities.new(client, auth)
    return { user = auth:user(), host = client:socket_address(), database = auth:databasename() }
end

-- The client has logged in so, or changed its user.
function identities.set(client_id, identity)
    known[client_id] = shared(identity)
end

-- Who a client is; nil if it has not logged in at the proxy.
function identities.of(client_id)
    return known[client_id]
end

function identities.forget(client_id)
    known[client_id] = nil
end

-- The error of a server that refuses a login.
function identities.access_denied(identity)
    return errors.new(1045, "28000", ("Access denied for user '%s'@'%s' (using password: %s)"):format(
        identity.user, identity.host, identity.used_password and "YES" or "NO"))
end

-- Errors by which a server refuses a login: the text for a client, made of its own name and the server's message. The
-- messages of other errors are not shown, since nobody knows what they name.
local function as_it_is(_, message)
    return message
end

local function denied(identity)
    return identities.access_denied(identity).message
end

local TEXTS = {
    [1040] = as_it_is, -- too many connections
    [1044] = function(identity)
        return ("Access denied for user '%s'@'%s' to database '%s'"):format(identity.user, identity.host, identity.database)
    end,
    [1045] = denied,
    [1049] = as_it_is, -- unknown database
    [1053] = as_it_is, -- shutdown in progress
    [1203] = function(identity)
        return ("User %s already has more than 'max_user_connections' active connections"):format(identity.user)
    end,
    [1226] = function(identity, message)
        local what = message:match("' (has exceeded the '[%w_]+' resource %(current value: %d+%))$")
        return what and ("User '%s' %s"):format(identity.user, what)
    end,
    [1698] = denied, -- MariaDB's, for a method without a password
    [3118] = denied, -- the account is locked
    [4151] = denied, -- the same at MariaDB
}

-- The same for errors after the login: servers name the account in those of missing privileges, and where init_connect
-- has failed.
local NAMES_ACCOUNT = { [1044] = true, [1142] = true, [1143] = true, [1184] = true, [1370] = true }

-- The message of such an error with the client's own name; nil for all others.
function identities.message_in_own_name(err, client_id)
    local number = err:errnum()
    if not NAMES_ACCOUNT[number] then
        return nil
    end
    local identity = known[client_id]
    if number == 1184 then
        return "The server has ended the session as it began; the proxy's log says why"
    end
    return (err:message():gsub("'[^']*'@'[^']*'", function()
        return ("'%s'@'%s'"):format(identity.user, identity.host)
    end, 1))
end

local HIDDEN = "The server has refused the proxy's login; the proxy's log says why"
local NOBODY = { user = "", host = "", database = "" }

-- An error for a client: that of a login at a server names the client's own account.
function identities.in_own_name(err, client_id)
    if not errors.is_refused_login(err) then
        return err
    end
    local identity = known[client_id] or NOBODY
    local text = TEXTS[err.errnum]
    return errors.new(err.errnum, err.sqlstate, text and text(identity, err.message) or HIDDEN)
end

return identities
