-- What all workers tell: HTTP is answered by one of them, and figures are counted by each for itself.

local tasks = require "dpml.tasks"
local workers = require "dpml.tasks.workers"

local everywhere = {}

local own = dpm.worker()

-- Lets the other workers ask this one: fn(question) returns a table of strings, numbers, booleans and such tables.
function everywhere.answer(name, fn)
    workers.answer(name, fn)
end

-- Calls done(answers), later if there are several workers: { [worker] = what its function of this name returns }. Those that do
-- not answer are left out; the log tells why.
function everywhere.ask(name, question, fn, done)
    local _, count = dpm.worker()
    local answers = { [own] = fn(question) }
    if count == 1 then
        return done(answers)
    end
    tasks.spawn(function()
        local asked = {}
        for worker = 1, count do
            if worker ~= own then
                asked[#asked + 1] = function()
                    local ok, answer = pcall(workers.ask, worker, name, question)
                    if ok then
                        answers[worker] = answer
                    else
                        dpm.log("warn", ("the figures of worker %d are missing: %s"):format(worker, tostring(answer)))
                    end
                end
            end
        end
        tasks.wait_all(asked)
        done(answers)
    end)
end

return everywhere
