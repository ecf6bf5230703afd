-- A client of a service, whose handler is one task: for cmd in session:commands() do … end.

local checks = require "dpml.checks"
local errors = require "dpml.errors"
local failures = require "dpml.failures"
local results = require "dpml.results"
local takeover = require "dpml.takeover"
local tasks = require "dpml.tasks"

local sessions = {}

local Session = {}
Session.__index = Session

local ENDED = errors.new(1105, "08S01", "The service has ended this session")

-- Commands without an answer: others may arrive before the handler reads them.
local silent = { [dpm.COM_STMT_CLOSE] = true, [dpm.COM_STMT_SEND_LONG_DATA] = true }
sessions.silent = silent

-- Whether a command that has been received waits for an answer.
local function owes_answer(session)
    for _, cmd in ipairs(session.queue) do
        if not silent[cmd:command()] then
            return true
        end
    end
    return session.unanswered
end

-- The handler has returned, or has failed with `problem`: nobody executes what is left. A client that waits for an
-- answer is told and closed. One that does not, after a failure, is told when it sends its next command: an error
-- that comes unasked is not expected by most clients.
local function handler_ended(session, ok, problem)
    local client, why = session.client, ok and ENDED or problem
    if not ok then
        failures.log(client, "its handler", problem)
    end
    if client:close_reason() then
        if session.queue[1] then
            dpm.log("warn", ("client %d has left, and %d commands that it had sent were not executed"):format(
                client:id(), #session.queue))
        end
    elseif owes_answer(session) then
        results.end_answer(client, why)
        dpm.close(client)
    elseif ok then
        dpm.close(client)
    end
    session.over, session.queue = why, {}
end

-- Runs the handler of a client that has logged in.
function sessions.start(session, handler)
    setmetatable(session, Session)
    session.queue = {}
    tasks.spawn(function()
        handler_ended(session, pcall(handler, session))
    end)
end

local function wake(session)
    local resume = session.resume
    session.resume = nil
    if resume then
        resume(true)
    end
end

local MANY = 64 -- commands without an answer; beyond it the client is paused until the handler has read them
local MUCH = 1024 * 1024 -- bytes of theirs; then likewise

-- A command has come. After one with an answer the next is not read before the answer.
function sessions.deliver(session, cmd)
    if session.over then
        if not silent[cmd:command()] then
            results.end_answer(session.client, session.over)
            dpm.close(session.client)
        end
        return
    end
    local queue = session.queue
    queue[#queue + 1] = cmd
    session.queued = (queue[2] and session.queued or 0) + (silent[cmd:command()] and #cmd:argument() or 0)
    if not session.paused and (#queue >= MANY or session.queued > MUCH) then
        session.paused = true
        session.client:pause()
    end
    wake(session)
end

local function take(session)
    local cmd = table.remove(session.queue, 1)
    session.unanswered = not session.gone and not silent[cmd:command()]
    if session.paused and not session.queue[1] then
        session.paused = false
        session.client:resume()
    end
    return cmd
end

-- The answer to the command is complete.
function sessions.finished(session)
    session.unanswered = false
    local when_finished = session.when_finished
    session.when_finished = nil
    if when_finished then
        when_finished(true)
    end
end

-- The client has left. What it had sent is executed nevertheless.
function sessions.closed(session)
    session.unanswered, session.gone, session.paused = false, true, false
    wake(session)
    local when_finished = session.when_finished
    session.when_finished = nil
    if when_finished then
        when_finished(false)
    end
end

-- An iterator over the client's commands, which ends when the client has left and has no more of them. Each has to be
-- answered before the next is read; otherwise the client gets an error.
function Session:commands()
    return function()
        if self.unanswered then
            self:send_error("HY000", 1105, "The proxy's script has no answer to this command")
        end
        while not self.queue[1] do
            if self.gone then
                return nil
            end
            tasks.await("session:commands", function(resume)
                self.resume = resume
            end)
        end
        return take(self)
    end
end

function Session:id()
    return self.client:id()
end

-- Answers to a client that has left go nowhere.
local function answer(send)
    return function(self, ...)
        if self.client:close_reason() then
            return
        end
        local ok, problem = pcall(send, self.client, ...)
        if not ok and (errors.is_error(problem) or not self.client:close_reason()) then
            error(problem, 0)
        end
    end
end

Session.send_ok = answer(results.send_ok)
Session.send_error = answer(errors.send_error)
Session.send_resultset = answer(results.send_resultset)

local drained = {} -- server id -> what is called when the rest of an answer has been discarded, or it has closed

local function tell_drained(server_id)
    local tell = drained[server_id]
    drained[server_id] = nil
    tell()
end

local draining = dpm.new_callback()
draining:register(dpm.MYS_SENT_INFILE, function(_, _, server)
    dpm.close(server) -- it would wait for a file that nobody has any more
    return dpm.DPM_NOPROXY
end)
for _, state in ipairs { dpm.MYS_WAIT_CMD, dpm.MYS_RECV_ERR } do
    draining:register(state, function(_, server_id)
        tell_drained(server_id)
    end)
end

-- Discards the rest of an answer whose client has left, and then calls done(true).
local function when_drained(server, done)
    local taken = takeover.begin(server, draining, tell_drained)
    drained[server:id()] = function()
        taken:give_back()
        done(true)
    end
end

-- Lets the database `db` (dpml.connect) answer a command, without entering Lua, and returns when the answer is
-- complete. Connect it with like = session.auth, so that its answers are in a form for this client.
function Session:forward(cmd, db)
    checks.argument("session:forward", "cmd", cmd, "userdata")
    checks.argument("session:forward", "db", db, "a table")
    db:lend("session:forward", function(server, resume)
        if server:close_reason() then
            error(errors.new(2006, "HY000", "Server has gone away"), 0)
        end
        if self.gone then
            if not silent[cmd:command()] then
                when_drained(server, resume)
            end
            dpm.wire_packet(server, cmd)
            return silent[cmd:command()] and resume(true)
        end
        dpm.proxy_connect(self.client, server)
        if silent[cmd:command()] then
            dpm.wire_packet(server, cmd)
            dpm.proxy_disconnect(server)
            return resume(true)
        end
        self.when_finished = function(answered)
            if server:close_reason() then
                resume(true)
            elseif answered then
                dpm.proxy_disconnect(server)
                resume(true)
            else
                when_drained(server, resume)
            end
        end
        dpm.wire_packet(server, cmd)
        return function()
            -- An incomplete answer cannot be completed, so the client is closed.
            dpm.close(self.client)
        end
    end)
end

-- Closes the client.
function Session:close()
    dpm.close(self.client)
end

return sessions
