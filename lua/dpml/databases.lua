-- Connections to servers for tasks: what waits underneath reads as if it blocked.
--
-- One exchange at a time: tasks that share a connection wait for each other. Whoever gives up an
-- exchange (a time-out, a cancelled task) leaves a connection on which an answer is still to come; it
-- is of use again when that has been read to its end, for which its query is killed from a side
-- connection.

local checks = require "dpml.checks"
local errors = require "dpml.errors"
local queries = require "dpml.queries"
local servers = require "dpml.servers"
local tasks = require "dpml.tasks"

local databases = {}

local Database = {}
Database.__index = Database

local RECOVERY_SECONDS = 5 -- then a connection whose answer does not come is closed

-- Arguments --------------------------------------------------------------------------------------

local OPTIONS = { timeout = "a number", max_bytes = "a number" }

local function check_options(what, options)
    if options ~= nil then
        checks.options(what, options, OPTIONS)
    end
end

-- It is an easy mistake to give the options in the place of the values.
local function check_values(what, params, options)
    checks.argument(what, "params", params, "an array or nil")
    check_options(what, options)
end

local function check_query(what, sql, params, options)
    checks.argument(what, "sql", sql, "a string")
    check_values(what, params, options)
end

-- Whose turn it is ------------------------------------------------------------------------------

local function remove(list, value)
    for i, each in ipairs(list) do
        if each == value then
            return table.remove(list, i)
        end
    end
end

-- Waits for the connection's turn. Rows whose own task wants to do something else are not wanted any
-- more: it has left the loop, or will be told there.
local function acquire(db, what)
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

local function release(db)
    db.busy = false
    local resume = table.remove(db.waiting, 1)
    if resume then
        resume(true)
    end
end

-- Tells who had its turn how it ended, and has the next one begin: in that order, and whoever has waited comes
-- before who asks again.
local function hand_over(db, resume, ...)
    if db.waiting[1] then
        resume(...)
        release(db)
    else
        release(db)
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
    options.db = nil
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
local function recover(db, job)
    local timer, left, over, side = dpm.new_timer(), 2, false, nil
    local function settled()
        timer:cancel()
        if not over then
            over = true
            release(db)
        end
    end
    local function one_more()
        left = left - 1
        if left == 0 then
            queries.run(db.server, queries.new_command(dpm.COM_QUERY, "DO 0"), { finish = settled })
        end
    end
    timer:schedule(RECOVERY_SECONDS, 0, function()
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
local function exchange(db, what, options, begin)
    return tasks.within(options and options.timeout, function()
        acquire(db, what)
        local begun = false
        local ok, value = pcall(tasks.await, what, function(resume)
            local job
            job = begin(function(...)
                hand_over(db, resume, ...)
            end, function(err)
                recover(db, job)
                resume(false, err)
            end)
            begun = true
            return function()
                recover(db, job)
            end
        end)
        if ok then
            return value
        end
        if not begun then
            release(db)
        end
        error(value, 0)
    end)
end

-- Lends the connection to start(server, resume), which is over when it calls resume. It returns what
-- gives up what it has begun, and then still calls resume when the connection is of use again.
function Database:lend(what, start)
    acquire(self, what)
    local begun = false
    local ok, value = pcall(tasks.await, what, function(resume)
        local give_up = start(self.server, function(...)
            hand_over(self, resume, ...)
        end)
        begun = true
        return give_up
    end)
    if not ok then
        if not begun then
            release(self)
        end
        error(value, 0)
    end
    return value
end

-- Results ---------------------------------------------------------------------------------------

-- What makes row.name of row[n].
local function row_meta(fields)
    local numbers = {}
    for i = #fields, 1, -1 do
        numbers[fields[i].name] = i
    end
    return {
        __index = function(row, name)
            local number = numbers[name]
            return number and rawget(row, number)
        end,
    }
end

local function names_of(fields)
    local names = {}
    for i, field in ipairs(fields) do
        names[i] = field.name
    end
    return names
end

-- Makes of a buffered result what tasks are given; of all that follow it, too.
local function present(result)
    local each = result
    while each do
        each.warnings = each.warning_count
        each.columns, each.rows = {}, each.rows or {}
        if each.fields then
            each.columns = names_of(each.fields)
            local meta = row_meta(each.fields)
            for _, row in ipairs(each.rows) do
                setmetatable(row, meta)
            end
        end
        each = each.next
    end
    return result
end

local FURTHER_COLUMN = 64 -- bytes, about, of one that has a name and no more

-- A reader of all of an answer, of up to options.max_bytes.
local function buffer_for(resume, abandon, options)
    local buffer = queries.new_buffer(function(buffer, err)
        if err then
            resume(false, err)
        else
            resume(true, present(buffer.first))
        end
    end)
    local max_bytes = options and options.max_bytes
    if not max_bytes then
        return buffer
    end
    local left = max_bytes
    local function fits(bytes)
        left = left - bytes
        if left >= 0 then
            return true
        end
        local err = errors.new(3024, "HY000",
            ("Query execution was interrupted, its result exceeds %d bytes"):format(max_bytes))
        err.too_large = true
        abandon(err)
    end
    function buffer:row(values)
        local bytes = 0
        for i = 1, table.maxn(values) do
            bytes = bytes + (type(values[i]) == "string" and #values[i] or 8)
        end
        if fits(bytes) then
            queries.Buffer.row(self, values)
        end
    end
    -- A server may go on for ever with results of no rows at all: those behind the first count, too.
    function buffer:columns(fields)
        if not self.last or fits(#fields * FURTHER_COLUMN) then
            queries.Buffer.columns(self, fields)
        end
    end
    function buffer:ending(ending)
        if self.open or not self.last or fits(FURTHER_COLUMN) then
            queries.Buffer.ending(self, ending)
        end
    end
    return buffer
end

-- Rows that come one by one. The server is not read from while too many of them wait.
local Rows = {}
Rows.__index = Rows

local MANY, FEW = 512, 128

function Rows:columns(fields)
    self.results = (self.results or 0) + 1
    if self.results == 1 then
        self.meta = row_meta(fields)
    end
end

function Rows:row(values)
    if self.results > 1 then
        return -- of another result
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

-- They are the connection's business no more.
function Rows:detach()
    self.db.rows = nil
    tasks.at_end(self.task, self, nil)
end

function Rows:finish(err)
    self.over, self.err = true, err
    self:detach()
    hand_over(self.db, self.resume or function() end, true)
end

local function wait_for_row(rows)
    tasks.await("db:each", function(resume)
        rows.resume = resume
        return function()
            rows.gone = "they were given up"
            rows:detach()
            recover(rows.db, rows.job)
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
        local ok, err = pcall(tasks.within, self.timeout, wait_for_row, self)
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

-- Whoever has left the loop, for another command or because the task is over, does not come back for the rest.
function Rows:let_go()
    self:detach()
    self.gone = "the rest has been dropped, as another command has followed"
    self.job.reader = {
        finish = function()
            release(self.db)
        end,
    }
    self.first, self.last = 1, 0
    self.db.server:resume()
end

-- An iterator; begin(rows) sends something and returns its job.
local function each(db, options, begin)
    tasks.within(options and options.timeout, acquire, db, "db:each")
    local rows = { db = db, task = tasks.current("db:each"), first = 1, last = 0, timeout = options and options.timeout }
    setmetatable(rows, Rows)
    db.rows = rows
    tasks.at_end(rows.task, rows, function()
        rows:let_go()
    end)
    local ok, job = pcall(begin, rows)
    if not ok then
        rows:detach()
        release(db)
        error(job, 0)
    end
    rows.job = job
    return function()
        return rows:next()
    end
end

-- Statements ------------------------------------------------------------------------------------

local Statement = {}
Statement.__index = Statement

-- Executes it with an array of values (nil and dpm.NULL are NULL); the result is that of db:query.
function Statement:execute(params, options)
    check_values("statement:execute", params, options)
    return exchange(self.db, "statement:execute", options, function(resume, abandon)
        return queries.execute(self.db.server, self.statement, params or {}, nil, buffer_for(resume, abandon, options))
    end)
end

-- The rows, one by one, as with db:each.
function Statement:each(params, options)
    check_values("statement:each", params, options)
    return each(self.db, options, function(rows)
        return queries.execute(self.db.server, self.statement, params or {}, nil, rows)
    end)
end

-- The server forgets it, once it has answered what it was asked before.
function Statement:close()
    if not self.closed then
        self.closed = true
        queries.close_statement(self.db.server, self.statement)
    end
end

-- Prepares `sql` for fn(statement), which is called once: if it fails before it could have the statement
-- executed, that is closed all the same.
local function with_statement(db, sql, options, fn)
    local statement = db:prepare(sql, options)
    local ok, result = pcall(fn, statement)
    if not ok then
        statement:close()
        error(result, 0)
    end
    return result
end

local function execute_once(statement, params, reader)
    local job = queries.execute(statement.db.server, statement.statement, params, nil, reader)
    statement:close()
    return job
end

-- Databases -------------------------------------------------------------------------------------

-- Runs `sql`, with `params` as a prepared statement. Returns { columns, rows, affected_rows, insert_id,
-- warnings, … }; raises the server's error. `options` may have a `timeout` in milliseconds, and `max_bytes`, beyond
-- which a result is an error and not kept.
function Database:query(sql, params, options)
    check_query("db:query", sql, params, options)
    if not params then
        return exchange(self, "db:query", options, function(resume, abandon)
            return queries.run(self.server, queries.new_command(dpm.COM_QUERY, sql), buffer_for(resume, abandon, options))
        end)
    end
    return tasks.within(options and options.timeout, function()
        return with_statement(self, sql, nil, function(statement)
            return exchange(self, "db:query", nil, function(resume, abandon)
                return execute_once(statement, params, buffer_for(resume, abandon, options))
            end)
        end)
    end)
end

-- for row in db:each(sql) do … end: one row at a time, however many there are. Only of the first
-- result, if there are several. The timeout is for each row.
function Database:each(sql, params, options)
    check_query("db:each", sql, params, options)
    if params then
        return with_statement(self, sql, options, function(statement)
            return each(self, options, function(rows)
                return execute_once(statement, params, rows)
            end)
        end)
    end
    return each(self, options, function(rows)
        return queries.run(self.server, queries.new_command(dpm.COM_QUERY, sql), rows)
    end)
end

-- Runs `sql` and has its rows collected in `rowset` (dpm.new_rowset), past Lua. Returns what query
-- does, without the rows; of several results only the first.
function Database:collect(sql, rowset, options)
    return exchange(self, "db:collect", options, function(resume)
        local result, job
        local reader = { rowset = rowset }
        function reader:columns(fields)
            result = { fields = fields }
            self.rowset = nil
        end
        function reader:ending(ending)
            if not result or not result.fields then
                result = result or ending
            elseif not result.warnings then
                result.warnings, result.server_status = ending.warning_count, ending.server_status
            end
        end
        function reader:finish(err)
            resume(not err, err or result)
        end
        job = queries.run(self.server, queries.new_command(dpm.COM_QUERY, sql), reader)
        return job
    end)
end

-- Prepares a statement, to be executed more than once.
function Database:prepare(sql, options)
    check_query("db:prepare", sql, nil, options)
    local statement = exchange(self, "db:prepare", options, function(resume)
        return queries.prepare(self.server, sql, function(prepared, err)
            resume(not err, err or prepared)
        end)
    end)
    return setmetatable({ db = self, statement = statement }, Statement)
end

local function command(db, what, number, argument, options)
    check_options(what, options)
    exchange(db, what, options, function(resume)
        return queries.run(db.server, queries.new_command(number, argument), {
            finish = function(_, err)
                resume(not err, err)
            end,
        })
    end)
end

-- Asks the server whether it is there.
function Database:ping(options)
    command(self, "db:ping", dpm.COM_PING, nil, options)
end

-- Changes the database.
function Database:use(name, options)
    checks.argument("db:use", "name", name, "a string")
    command(self, "db:use", dpm.COM_INIT_DB, name, options)
end

function Database:begin(options)
    self:query("START TRANSACTION", nil, options)
end

function Database:commit(options)
    self:query("COMMIT", nil, options)
end

function Database:rollback(options)
    self:query("ROLLBACK", nil, options)
end

local function commit_behind(db, ...)
    db:commit()
    return ...
end

-- Returns what fn(db) returns, within a transaction: committed, or rolled back if fn fails, or if it was
-- interrupted at either end. A connection that cannot even be rolled back is closed: whoever used it next would
-- go on in a transaction without knowing.
function Database:transaction(fn)
    checks.argument("db:transaction", "fn", fn, "a function")
    tasks.current("db:transaction")
    local result = { pcall(function()
        self:begin()
        return commit_behind(self, fn(self))
    end) }
    if result[1] then
        return unpack(result, 2, table.maxn(result))
    end
    if self:is_open() and not pcall(self.rollback, self, { timeout = RECOVERY_SECONDS * 1000 }) then
        self:close()
    end
    error(result[2], 0)
end

-- Whether the server has not hung up, nor anybody closed it.
function Database:is_open()
    return self.server:close_reason() == nil
end

-- Takes leave of the server. What other tasks wait for on this connection fails.
function Database:close()
    if self:is_open() then
        if not self.busy then
            pcall(dpm.wire_packet, self.server, queries.new_command(dpm.COM_QUIT))
        end
        dpm.close(self.server)
    end
end

local CONNECT_OPTIONS = checks.union(servers.LOGIN_OPTIONS, { timeout = "a number" })

-- Connects and logs in; the options are those of connect_mysql_server, and a `timeout`.
function databases.connect(options)
    checks.options("dpml.connect", options, CONNECT_OPTIONS)
    local login = {}
    for name, value in pairs(options) do
        login[name] = value
    end
    login.timeout = nil
    local db = setmetatable({ options = login, busy = false, waiting = {} }, Database)
    tasks.within(options.timeout, tasks.await, "dpml.connect", function(resume)
        local attempt = {}
        for name, value in pairs(login) do
            attempt[name] = value
        end
        function attempt.callback(server, err, handshake)
            if server then
                db.server, db.thread_id, db.version = server, handshake:thread_id(), handshake:server_version()
            end
            resume(not err, err)
        end
        local server = servers.connect_mysql_server(attempt)
        return function()
            dpm.close(server)
        end
    end)
    return db
end

return databases
