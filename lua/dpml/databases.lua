-- Connections to servers for tasks, with functions that wait for answers.

local buffers = require "dpml.databases.buffers"
local checks = require "dpml.support.checks"
local errors = require "dpml.support.errors"
local queries = require "dpml.servers.queries"
local servers = require "dpml.servers"
local streamed_rows = require "dpml.databases.streamed_rows"
local tasks = require "dpml.tasks"
local transactions = require "dpml.databases.transactions"
local turns = require "dpml.databases.turns"
local words = require "dpml.support.words"

local databases = {}

local Database = {}
Database.__index = Database

-- Arguments --------------------------------------------------------------------------------------

local OPTIONS = { timeout_ms = "a number", timeout = "a number", max_bytes = "a number" }

local function check_options(what, options)
    if options ~= nil then
        checks.options(what, options, OPTIONS)
    end
end

-- A common mistake is to pass the options in place of the values.
local function check_values(what, params, options)
    checks.argument(what, "params", params, "an array or nil")
    check_options(what, options)
end

local function check_query(what, sql, params, options)
    checks.argument(what, "sql", sql, "a string")
    check_values(what, params, options)
end

-- What a call has returned, or nil and the error that a server or the connection to it has raised. A mistake of the
-- script is raised as it is, and so is what interrupts the task and not the call: time-outs that it did not ask for,
-- and cancellation.
local function returned(options, ok, ...)
    local err = ...
    if ok then
        return ...
    elseif not errors.is_error(err) or err.cancelled or err.timed_out and not words.timeout_ms(options) then
        error(err, 0)
    end
    return nil, err
end

-- Statements ------------------------------------------------------------------------------------

local Statement = {}
Statement.__index = Statement

-- Executes it with an array of values (nil and dpm.NULL are NULL); the result is that of db:query.
function Statement:execute(params, options)
    check_values("statement:execute", params, options)
    return turns.exchange(self.db, "statement:execute", options, function(resume, abandon)
        return queries.execute(self.db.server, self.statement, params or {}, nil, buffers.typed(resume, abandon, options))
    end)
end

-- The same, but that it returns nil and the error.
function Statement:try_execute(params, options)
    check_values("statement:try_execute", params, options)
    return returned(options, pcall(self.execute, self, params, options))
end

-- The rows, one by one, as with db:each.
function Statement:each(params, options)
    check_values("statement:each", params, options)
    return streamed_rows.each_typed(self.db, options, function(rows)
        return queries.execute(self.db.server, self.statement, params or {}, nil, rows)
    end)
end

-- Closes it on the server, after the commands before have been answered.
function Statement:close()
    if not self.closed then
        self.closed = true
        queries.close_statement(self.db.server, self.statement)
    end
end

-- Prepares `sql` for fn(statement), which is called once: if it fails before it executes the statement, the
-- statement is closed nevertheless.
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

-- Lends the connection to start(server, resume), until it calls resume. It returns a function that abandons its
-- exchange; after that it still has to call resume when the connection can be used again.
Database.lend = turns.lend

-- Runs `sql`, with `params` as a prepared statement. Returns { columns, rows, affected_rows, insert_id,
-- warnings, … }; raises the server's error. `options` may have `timeout_ms`, and `max_bytes`, beyond which a
-- result is an error.
function Database:query(sql, params, options)
    check_query("db:query", sql, params, options)
    transactions.guard(self, sql)
    if not params then
        return turns.exchange(self, "db:query", options, function(resume, abandon)
            return queries.run(self.server, queries.new_command(dpm.COM_QUERY, sql), buffers.new(resume, abandon, options))
        end)
    end
    return tasks.within(words.timeout_ms(options), function()
        return with_statement(self, sql, nil, function(statement)
            return turns.exchange(self, "db:query", nil, function(resume, abandon)
                return execute_once(statement, params, buffers.typed(resume, abandon, options))
            end)
        end)
    end)
end

-- The same, but that it returns nil and the error.
function Database:try_query(sql, params, options)
    check_query("db:try_query", sql, params, options)
    return returned(options, pcall(self.query, self, sql, params, options))
end

-- for row in db:each(sql) do … end: one row at a time, however many there are. If there are several results,
-- only of the first. The timeout is for each row.
function Database:each(sql, params, options)
    check_query("db:each", sql, params, options)
    transactions.guard(self, sql)
    if params then
        return with_statement(self, sql, options, function(statement)
            return streamed_rows.each_typed(self, options, function(rows)
                return execute_once(statement, params, rows)
            end)
        end)
    end
    return streamed_rows.each(self, options, function(rows)
        return queries.run(self.server, queries.new_command(dpm.COM_QUERY, sql), rows)
    end)
end

-- Runs `sql` and collects its rows in `rowset` (dpm.new_rowset), without entering Lua. Returns what query does,
-- without the rows; of several results only the first.
function Database:collect(sql, rowset, options)
    transactions.guard(self, sql)
    return turns.exchange(self, "db:collect", options, function(resume)
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
    local statement = turns.exchange(self, "db:prepare", options, function(resume)
        return queries.prepare(self.server, sql, function(prepared, err)
            resume(not err, err or prepared)
        end)
    end)
    return setmetatable({ db = self, statement = statement }, Statement)
end

local function command(db, what, number, argument, options)
    check_options(what, options)
    turns.exchange(db, what, options, function(resume)
        return queries.run(db.server, queries.new_command(number, argument), {
            finish = function(_, err)
                resume(not err, err)
            end,
        })
    end)
end

-- Checks that the server answers.
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

-- Returns what fn(db) returns, within a transaction: committed, or rolled back if fn fails. Within another one it is a
-- savepoint.
function Database:transaction(fn)
    checks.argument("db:transaction", "fn", fn, "a function")
    return transactions.run(self, fn, turns.RECOVERY_SECONDS)
end

-- Whether the connection is still open.
function Database:is_open()
    return self.server:close_reason() == nil
end

-- Closes the connection. Other tasks that wait for it get an error.
function Database:close()
    self.given_up = true
    if self:is_open() then
        if not self.busy then
            pcall(dpm.wire_packet, self.server, queries.new_command(dpm.COM_QUIT))
        end
        dpm.close(self.server)
    end
end

local made_for = setmetatable({}, { __mode = "kv" }) -- a client's auth packet -> the database that is like it

-- The database that was connected last for the client with this auth packet.
function databases.made_for(auth)
    return made_for[auth]
end

databases.CONNECT_OPTIONS = checks.union(servers.LOGIN_OPTIONS, { timeout_ms = "a number", timeout = "a number" })

-- Connects and logs in; the options are those of connect_mysql_server, and `timeout_ms`.
function databases.connect(options)
    checks.options("dpml.connect", options, databases.CONNECT_OPTIONS)
    local login = words.read("dpml.connect", options)
    local timeout_ms = login.timeout_ms
    login.timeout_ms = nil
    local db = setmetatable({ options = login, busy = false, waiting = {} }, Database)
    local connected, problem = pcall(tasks.within, timeout_ms, tasks.await, "dpml.connect", function(resume)
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
    if not connected then
        local is_late = errors.is_error(problem) and problem.timed_out
        error(is_late and errors.of_connecting(problem, "failed") or problem, 0)
    end
    if login.like then
        made_for[login.like] = db
    end
    return db
end

return databases
