-- Rows that are read one by one. The server is paused while too many of them wait.

local buffers = require "dpml.databases.buffers"
local errors = require "dpml.support.errors"
local tasks = require "dpml.tasks"
local transactions = require "dpml.databases.transactions"
local turns = require "dpml.databases.turns"
local typed_values = require "dpml.databases.typed_values"
local words = require "dpml.support.words"

local streamed_rows = {}

local Rows = {}
Rows.__index = Rows

local MANY, FEW = 512, 128

function Rows:columns(fields)
    self.results = (self.results or 0) + 1
    if self.results == 1 then
        self.meta = buffers.row_meta(fields)
        self.convert = self.is_typed and typed_values.converter(fields)
    end
end

function Rows:row(values)
    if self.results > 1 then
        return -- it belongs to another result
    end
    if self.convert then
        self.convert(values)
    end
    self.last = self.last + 1
    self[self.last] = setmetatable(values, self.meta)
    if self.resume then
        self.resume(true)
    elseif self.last - self.first >= MANY and not self.paused then
        self.paused = true
        self.db.server:pause()
    end
end

-- Detaches them from the connection.
function Rows:detach()
    self.db.rows = nil
    tasks.at_end(self.task, self, nil)
end

function Rows:ending(ending)
    self.server_status = ending.server_status
end

function Rows:finish(err)
    if err then
        transactions.failed(self.db, err)
    end
    self.over, self.err = true, err or transactions.note(self.db, self.server_status)
    self:detach()
    turns.hand_over(self.db, self.resume or function() end, true)
end

local function wait_for_row(rows)
    tasks.await("db:each", function(resume)
        rows.resume = resume
        return function()
            rows.gone = "they were given up"
            rows:detach()
            turns.recover(rows.db, rows.job)
        end
    end)
end

-- The next row, or nil.
function Rows:next()
    while self.first > self.last do
        if self.gone then
            error(errors.new(2014, "HY000", "Commands out of sync: of the rows of db:each, " .. self.gone), 0)
        elseif self.err then
            error(self.err, 0)
        elseif self.over then
            return nil
        end
        local ok, err = pcall(tasks.within, self.timeout_ms, wait_for_row, self)
        self.resume = nil
        if not ok then
            error(err, 0)
        end
    end
    local row = self[self.first]
    self[self.first] = nil
    self.first = self.first + 1
    if self.paused and self.last - self.first < FEW then
        self.paused = false
        self.db.server:resume()
    end
    return row
end

-- The loop was left, for another command or because the task has ended: the rest is dropped.
function Rows:let_go()
    self:detach()
    self.gone = "the rest has been dropped, as another command has followed"
    self.job.reader = {
        finish = function()
            turns.release(self.db)
        end,
    }
    self.first, self.last = 1, 0
    self.db.server:resume()
end

local function each(db, options, begin, is_typed)
    transactions.check(db)
    local timeout_ms = words.timeout_ms(options)
    tasks.within(timeout_ms, turns.acquire, db, "db:each")
    local rows = { db = db, task = tasks.current("db:each"), first = 1, last = 0, timeout_ms = timeout_ms,
        is_typed = is_typed }
    setmetatable(rows, Rows)
    db.rows = rows
    tasks.at_end(rows.task, rows, function()
        rows:let_go()
    end)
    local ok, job = pcall(begin, rows)
    if not ok then
        rows:detach()
        turns.release(db)
        error(job, 0)
    end
    rows.job = job
    return function()
        return rows:next()
    end
end

-- An iterator; begin(rows) sends something and returns its job.
function streamed_rows.each(db, options, begin)
    return each(db, options, begin, false)
end

-- The same, but that numbers are Lua's numbers.
function streamed_rows.each_typed(db, options, begin)
    return each(db, options, begin, true)
end

return streamed_rows
