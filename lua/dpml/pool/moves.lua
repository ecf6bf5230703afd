-- Clients of a pool that move to the pool of the next startfile, or to another process.

local errors = require "dpml.support.errors"
local keeping = require "dpml.plugins.keeping"
local logins = require "dpml.logins"
local sessions = require "dpml.pool.sessions"
local tasks = require "dpml.tasks"

local moves = {}

local function pack(self, client, record)
    local session, why, is_soon = self.native:session(client)
    if not session then
        return nil, not is_soon and why or nil
    end
    record.session = session
    record.login, why = logins.save(client)
    if not record.login then
        return nil, why
    elseif self.show then
        local saved
        saved, why = keeping.save(self.show, client, record)
        if not saved then
            return nil, why
        end
    end
    -- Last, as it is there for one move.
    local password = self.clients:account(client):shown()
    record.secret = password and dpm.deposit_secret(password) or nil
    return true
end

-- The account that the user has in this pool; nil and why there is none. It may wait.
local function account_of(self, user, client, secret)
    local credential = self.clients:lookup()(user, client)
    if not credential then
        return nil, "the new startfile does not know its user"
    elseif type(credential) == "table" and credential.judge then
        local password = secret and dpm.withdraw_secret(secret)
        if not password then
            return nil, "its password is not known any more, and only a login could show it"
        end
        return self.clients.backends:of(user, { account = credential.trust(password) })
    end
    local account, err = self.clients.backends:of(user, credential)
    return account, err and errors.text(err)
end

-- The same, where nobody can wait.
local function account_at_once(self, user, client, secret)
    local account, why
    local task = tasks.spawn(function()
        account, why = account_of(self, user, client, secret)
    end)
    if not task:is_over() then
        task:cancel()
        return nil, "the new startfile has to ask somebody for its account, which takes time"
    end
    task:wait() -- raises its error
    return account, why
end

local function adopt(self, client, record, resume)
    local user, client_id = record.login.user, client:id()
    local account, why = account_at_once(self, user, client, record.secret)
    local refusal = self.clients:too_many(user)
    if not account or refusal then
        return nil, why or errors.text(refusal)
    end
    local auth = resume(record.login)
    if self.show then
        keeping.restore(self.show:begin_without_server(client, auth), client, nil, auth, record.plugin)
    end
    local done
    done, why = self.native:resume_session(client, record.session, account.key, self.clients.max_connections(user))
    if not done then
        return nil, why
    end
    sessions.belongs(self, client_id)
    self.clients:joined(client_id, user, account)
    self.kills:add(client)
    return true
end

local WINDOW = 20 -- milliseconds
local MOST = 2    -- clients that come in that time: the pool opens connections for them meanwhile

-- Clients come one after the other, once there is a server for them, so that none waits for a pool that has no connections yet.
-- Returns whether one may come, and a function to be told that one has come.
local function new_gate(self)
    local begun, count = 0, 0
    local function is_open()
        local now = dpm.monotonic()
        if now - begun >= WINDOW then
            begun, count = now, 0
        end
        return count < MOST and next(self.roles) ~= nil
    end
    return is_open, function()
        count = count + 1
    end
end

-- How the clients of this pool move.
function moves.mover(self)
    local ready, came = new_gate(self)
    return {
        kind = "pool",
        ready = ready,
        pack = function(client, record)
            return pack(self, client, record)
        end,
        adopt = function(client, _, record, resume)
            came()
            return adopt(self, client, record, resume)
        end,
        left = function(client_id)
            self.clients:left(client_id) -- it may be in the middle of its login
            sessions.closed(client_id)
            if self.show then
                self.show:forget(client_id)
            end
        end,
    }
end

return moves
