-- A client of a service, whose handler is one task: for cmd in session:commands() do … end.

local answer_forms = require "dpml.services.answer_forms"
local emulated_statements = require "dpml.services.emulated_statements"
local errors = require "dpml.support.errors"
local failures = require "dpml.support.failures"
local forwarding = require "dpml.services.forwarding"
local own_answers = require "dpml.services.own_answers"
local results = require "dpml.results"
local tasks = require "dpml.tasks"

local sessions = {}

local Session = {}
Session.__index = Session

local ENDED = errors.new(1105, "08S01", "The service has ended this session")

-- Whether a command that has been received waits for an answer.
local function owes_answer(session)
    for _, cmd in ipairs(session.queue) do
        if answer_forms.has_answer(cmd) then
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
function sessions.start(session, service)
    setmetatable(session, Session)
    session.queue, session.service = {}, service
    session.task = tasks.spawn(function()
        handler_ended(session, pcall(service.handler, session))
    end)
end

-- The client has logged in as another user.
function sessions.changed_user(session)
    forwarding.forget(session)
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
function sessions.receive(session, cmd)
    if session.over then
        if answer_forms.has_answer(cmd) then
            results.end_answer(session.client, session.over)
            dpm.close(session.client)
        end
        return
    elseif not session.service.all_commands then
        if cmd:command() == dpm.COM_STMT_SEND_LONG_DATA then
            return -- it is remembered with the statement
        elseif cmd:command() == dpm.COM_STMT_EXECUTE then
            cmd = emulated_statements.query_of(session, cmd)
            if not cmd then
                return
            end
        end
    end
    local queue = session.queue
    queue[#queue + 1] = cmd
    session.queued = (queue[2] and session.queued or 0) + (not answer_forms.has_answer(cmd) and #cmd:argument() or 0)
    if not session.paused and (#queue >= MANY or session.queued > MUCH) then
        session.paused = true
        session.client:pause()
    end
    wake(session)
end

local function take(session)
    local cmd = table.remove(session.queue, 1)
    session.current = cmd
    session.unanswered = not session.gone and answer_forms.has_answer(cmd)
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

-- Answers a command that is none of the handler's. What is about the session is about the one at the server, if there is
-- one.
local function answer_here(session, cmd)
    local service = session.service
    if service.all_commands then
        return false
    end
    local db = forwarding.connection_of(session)
    if db then
        return forwarding.answer(session, cmd, db)
    end
    local answered, word = own_answers.give(service, session, cmd)
    if answered then
        forwarding.note(session, cmd, word)
    end
    return answered
end

local function wait_for_command(session)
    while not session.queue[1] do
        if session.gone then
            return nil
        end
        tasks.await("session:commands", function(resume)
            session.resume = resume
        end)
    end
    return take(session)
end

-- An iterator over the client's commands, which ends when the client has left and has no more of them. Each has to be
-- answered before the next is read; otherwise the client gets an error.
function Session:commands()
    return function()
        if self.unanswered then
            self:send_error("HY000", 1105, "The proxy's script has no answer to this command")
        end
        local cmd
        repeat
            cmd = wait_for_command(self)
        until not cmd or not answer_here(self, cmd)
        return cmd
    end
end

function Session:id()
    return self.client:id()
end

-- Sends an answer. Those to a client that has left go nowhere, and so do those to commands that have none.
local function send(session, how, ...)
    local current = session.current
    if session.client:close_reason() or current and not answer_forms.has_answer(current) then
        return
    end
    local ok, problem = pcall(how, session.client, ...)
    if not ok and (errors.is_error(problem) or not session.client:close_reason()) then
        error(problem, 0)
    end
end

local function send_result(session, how, result)
    local refusal = session.unanswered and type(result) == "table" and answer_forms.refusal_of(session.current, result)
    if refusal then
        return results.end_answer(session.client, refusal)
    end
    send(session, how, result)
end

function Session:send_ok(result)
    send_result(self, results.send_ok, result or {})
end

function Session:send_resultset(result)
    send_result(self, results.send_resultset, result)
end

function Session:send_error(sqlstate, errnum, message)
    send(self, errors.send_error, sqlstate, errnum, message)
end

Session.forward = forwarding.forward

-- Closes the client.
function Session:close()
    dpm.close(self.client)
end

return sessions
