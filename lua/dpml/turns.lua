-- Whose turn it is on a connection that tasks share, and how it is of use again.
--
-- One exchange at a time: tasks that share a connection wait for each other. Whoever gives up an exchange (a time-out,
-- a cancelled task) leaves a connection on which an answer is still to come; it is of use again when that has been
-- read to its end, for which its query is killed from a side connection.
--
-- A connection is a database as dpml.connect makes it: { server =, thread_id =, options = of its login, busy = boolean,
-- waiting = those who wait for their turn, rows = those that are being read one by one }.

local errors = require "dpml.errors"
local queries = require "dpml.queries"
local servers = require "dpml.servers"
local tasks = require "dpml.tasks"
local words = require "dpml.words"

local turns = {}

turns.RECOVERY_SECONDS = 5 -- then a connection whose answer does not come is closed

local function remove(list, value)
    for i, each in ipairs(list) do
        if each == value then
            return table.remove(list, i)
        end
    end
end

-- Waits for the connection's turn. Rows whose own task wants to do something else are not wanted any
-- more: it has left the loop, or will be told there.
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

-- Tells who had its turn how it ended, and has the next one begin: in that order, and whoever has waited comes
-- before who asks again.
function turns.hand_over(db, resume, ...)
    if db.waiting[1] then
        resume(...)
        turns.release(db)
    else
        turns.release(db)
        resume(...)
    end
end

-- Kills the query that the connection works on, and calls done() when that has been said or failed. Returns
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

-- Reads the rest of an answer that nobody waits for any more, and then lets others have their turn. A
-- KILL that comes late hits what is run next: that is an empty statement.
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
            dpm.close(side) -- or a KILL without an answer would keep the next from being told
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

-- One exchange: begin(resume, abandon) sends something and returns its job; abandon(err) fails, and has the rest
-- of the answer dropped.
function turns.exchange(db, what, options, begin)
    return tasks.within(words.timeout_ms(options), function()
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
            return value
        end
        if not begun then
            turns.release(db)
        end
        error(value, 0)
    end)
end

-- Lends the connection of `db` to start(server, resume), which is over when it calls resume. It returns what
-- gives up what it has begun, and then still calls resume when the connection is of use again.
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
    return value
end

return turns
