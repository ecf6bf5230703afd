-- Questions to the program's other workers, for tasks. A question and its answer are tables of strings, numbers and
-- booleans.

local errors = require "dpml.support.errors"
local tasks = require "dpml.tasks"

local workers = {}

local CHANNEL = "dpml.workers."
local PATIENCE = 5000 -- milliseconds for which a question waits for its answer
local SERIALS = 2 ^ 26 -- how many numbers of connections each worker has

local own = dpm.worker()
local answering = {} -- by the names of questions, the functions that answer them
local waiting = {} -- by their tickets, what goes on with the answers to this worker's questions
local last_ticket = 0

-- False if that worker is gone, or too much waits for it.
local function send(worker, message)
    return dpm.publish(CHANNEL .. worker, dpm.json_encode(message)) == 1
end

local function answer(message)
    local reply = { ticket = message.ticket }
    local fn = answering[message.name]
    local ok, value = pcall(fn or tostring, message.question)
    if ok and fn then
        reply.answer = value
    else
        local err = errors.presentable(value)
        reply.errnum, reply.sqlstate, reply.message = err.errnum, err.sqlstate, err.message
        if not errors.is_error(value) then
            dpm.log("error", ("a question of worker %d has failed: %s"):format(message.from, errors.text(value)))
        end
    end
    send(message.from, reply)
end

local function arrived(text)
    local message = dpm.json_decode(text)
    if message.name then
        return tasks.spawn(answer, message)
    end
    local resume = waiting[message.ticket]
    if resume and message.answer then
        resume(true, message.answer)
    elseif resume then
        resume(false, errors.new(message.errnum, message.sqlstate, message.message))
    end
end

-- The worker that gives connections numbers like this one; nil if it is this worker, or there is no such worker.
function workers.of(id)
    local _, count = dpm.worker()
    local worker = math.floor(id / SERIALS) + 1
    return worker ~= own and worker <= count and worker or nil
end

-- From now on fn(question), in a task, answers other workers' questions of this name, with a table or an error.
function workers.answer(name, fn)
    answering[name] = fn
    dpm.subscribe(CHANNEL .. own, arrived)
end

-- The answer of another worker, or the error that its function has raised.
function workers.ask(worker, name, question)
    return tasks.with_timeout(PATIENCE, tasks.await, "dpml.workers.ask", function(resume)
        last_ticket = last_ticket + 1
        local ticket = last_ticket
        waiting[ticket] = function(...)
            waiting[ticket] = nil
            resume(...)
        end
        dpm.subscribe(CHANNEL .. own, arrived)
        local message = { name = name, question = question, ticket = ticket, from = own }
        if not send(worker, message) then
            waiting[ticket](false, errors.new(1105, "HY000", "The worker that has this client cannot be reached"))
        end
        return function()
            waiting[ticket] = nil
        end
    end)
end

return workers
