-- Taking turns on a connection that tasks share, and making it usable again after an abandoned exchange.
--
-- One exchange at a time: tasks that share a connection wait for each other. If an exchange is abandoned (by a
-- time-out or a cancelled task), its answer is still to come: the query is killed from a side connection, and
-- the connection can be used again when the rest of the answer has been read.
--
-- A connection is a database of dpml.connect: { server =, thread_id =, options = of its login, busy = boolean,
-- waiting = the tasks that wait for it, rows = rows that are being read one by one }.

local errors = require "dpml.support.errors"
local queries = require "dpml.servers.queries"
local servers = require "dpml.servers"
local tasks = require "dpml.tasks"
local transactions = require "dpml.databases.transactions"
local words = require "dpml.support.words"

local turns = {}

turns.RECOVERY_SECONDS = 5 -- then a connection whose answer does not come is closed

local function remove(list, value)
    for i, each in ipairs(list) do
        if each == value then
            return table.remove(list, i)
        end
    end
end

-- Waits until the connection is free. If the same task still reads rows from it, they are dropped: the task has
-- left the loop, or gets an error there.
function turns.acquire(db, what)
    local rows = db.rows
    if rows and rows.task == tasks.current(what) then
        rows:let_go()
    end
    while db.busy do
        tasks.await(what, function(resume)
            db.waiting[#db.waiting + 1] = resume
            return function()
                remove(db.waiting, resume)
            end
        end)
    end
    db.busy = true
end

function turns.release(db)
    db.busy = false
    local resume = table.remove(db.waiting, 1)
    if resume then
        resume(true)
    end
end

-- Resumes the task whose exchange has ended, and then starts the next one. Waiting tasks come before a task
-- that asks again.
function turns.hand_over(db, resume, ...)
    if db.waiting[1] then
        resume(...)
        turns.release(db)
    else
        turns.release(db)
        resume(...)
    end
end

-- Kills the connection's current query, and calls done() when the KILL has been answered or has failed. Returns
-- the side connection.
local function kill_query(db, done)
    local options = {}
    for name, value in pairs(db.options) do
        options[name] = value
    end
    options.database = nil
    function options.callback(side, err)
        if err then
            return done()
        end
        queries.execute_query_buffered(side, "KILL QUERY " .. db.thread_id, function()
            dpm.close(side)
            done()
        end)
    end
    return servers.connect_mysql_server(options)
end

-- Reads the rest of an abandoned answer, and then frees the connection. A KILL that comes too late would hit
-- the next query, so an empty statement is run first.
function turns.recover(db, job)
    local timer, left, over, side = dpm.new_timer(), 2, false, nil
    local function settled()
        timer:cancel()
        if not over then
            over = true
            turns.release(db)
        end
    end
    local function one_more()
        left = left - 1
        if left == 0 then
            queries.run(db.server, queries.new_command(dpm.COM_QUERY, "DO 0"), { finish = settled })
        end
    end
    timer:schedule(turns.RECOVERY_SECONDS, 0, function()
        timer:cancel()
        dpm.close(db.server)
        if side then
            dpm.close(side) -- or a KILL without an answer would block the next task
        end
    end)
    job.reader = {
        finish = function()
            if db.server:close_reason() then
                return settled()
            elseif job.statement then
                queries.close_statement(db.server, job.statement)
            end
            one_more()
        end,
    }
    db.server:collect_rows(nil)
    db.server:resume()
    local asked, problem = pcall(kill_query, db, one_more)
    if asked then
        side = problem
    else
        dpm.log("warn", ("connection %d: its query cannot be killed: %s"):format(db.server:id(), errors.text(problem)))
        one_more()
    end
end

-- The status flags at the end of an answer; nil if they are not known.
local function flags_of(value)
    if type(value) ~= "table" then
        return nil
    end
    while value.next do
        value = value.next
    end
    return value.server_status
end

-- Runs one exchange: begin(resume, abandon) sends something and returns its job; abandon(err) raises the error,
-- and drops the rest of the answer.
function turns.exchange(db, what, options, begin)
    return tasks.within(words.timeout_ms(options), function()
        transactions.check(db)
        turns.acquire(db, what)
        local begun = false
        local ok, value = pcall(tasks.await, what, function(resume)
            local job
            job = begin(function(...)
                turns.hand_over(db, resume, ...)
            end, function(err)
                turns.recover(db, job)
                resume(false, err)
            end)
            begun = true
            return function()
                turns.recover(db, job)
            end
        end)
        if ok then
            local lost = transactions.note(db, flags_of(value))
            return lost and error(lost, 0) or value
        end
        if not begun then
            turns.release(db)
        end
        transactions.failed(db, value)
        error(value, 0)
    end)
end

-- Lends the connection of `db` to start(server, resume), until it calls resume. It returns a function that
-- abandons its exchange; after that it still has to call resume when the connection can be used again.
function turns.lend(db, what, start)
    turns.acquire(db, what)
    local begun = false
    local ok, value = pcall(tasks.await, what, function(resume)
        local give_up = start(db.server, function(...)
            turns.hand_over(db, resume, ...)
        end)
        begun = true
        return give_up
    end)
    if not ok then
        if not begun then
            turns.release(db)
        end
        error(value, 0)
    end
    transactions.note(db, flags_of(value))
    return value
end

return turns
