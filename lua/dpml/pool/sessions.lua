-- Sessions of pooled clients as strings: written down, and gone on with, in the same pool or another.

local errors = require "dpml.support.errors"
local tasks = require "dpml.tasks"

local sessions = {}

local owners = {} -- client id -> the pool that it is a client of

-- A client is not one of this pool any more.
local function forget(self, client_id)
    self.kills:remove(client_id)
    self.clients:left(client_id)
    sessions.parted(self, client_id)
end

-- A client has logged in to a pool: `self` from now on.
function sessions.belongs(self, client_id)
    local before = owners[client_id]
    if before and before ~= self then
        forget(before, client_id)
    end
    owners[client_id] = self
end

-- A client has closed.
function sessions.closed(client_id)
    local owner = owners[client_id]
    owners[client_id] = nil
    if owner then
        forget(owner, client_id)
    end
end

-- What was to be read of a client's session was read, or the client is gone.
function sessions.parted(self, client_id)
    local waiting = self.parting[client_id] or {}
    self.parting[client_id] = nil
    for _, resume in ipairs(waiting) do
        resume(true)
    end
end

-- The session of a client; nil and why there is none. It may wait.
function sessions.of(self, client)
    local client_id = client:id()
    while true do
        local session, why = self.native:session(client)
        if session or why ~= "reading" then
            return session, why
        end
        tasks.await("dpml.pool: session", function(resume)
            local waiting = self.parting[client_id] or {}
            waiting[#waiting + 1] = resume
            self.parting[client_id] = waiting
        end)
    end
end

-- Has a client go on with a session. true; or nil and why it cannot, and nothing has changed. It may wait.
function sessions.adopt(self, client, session)
    local client_id = client:id()
    local from, user = owners[client_id], nil
    if not from then
        return nil, "it is no client of a pool"
    elseif from ~= self and (from.show or self.show) then
        return nil, "a plug-in has been shown its session"
    end
    local account, err = self.clients:account_from(from.clients, client)
    if not account then
        return nil, errors.text(err)
    end
    user, err = self.native:session_user(session)
    if user and user ~= from.clients:user(client) then
        return nil, "it is the session of another user"
    end
    local done
    if user then
        done, err = self.native:resume_session(client, session, account.key, self.clients.max_connections(user))
    end
    if not done then
        return nil, err
    end
    if from ~= self then
        sessions.belongs(self, client_id)
        self.clients:joined(client_id, user, account)
        self.kills:add(client)
    end
    return true
end

return sessions
