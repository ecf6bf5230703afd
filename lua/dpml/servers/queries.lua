-- Running commands on a server and reading their answers.
--
-- A *reader* reads an answer. It may have, each of them optional:
--   columns(self, fields)     a resultset begins; its columns as field:full() gives them
--   row(self, values)         a row of it
--   rowset collects its rows instead, without entering Lua ending(self, ending) a result is over: {
--   warning_count, server_status } of a resultset, and
--                             affected_rows, insert_id and message besides of what has no rows
--   prepared(self, statement) the answer to COM_STMT_PREPARE
--   finish(self, err) the answer is complete, or this error has ended it

local callbacks = require "dpml.servers.callbacks"
local checks = require "dpml.support.checks"
local errors = require "dpml.support.errors"
local takeover = require "dpml.servers.takeover"

local queries = {}

local jobs = {} -- server id -> the commands it is working on, oldest first, and the takeover for them

-- Packets belong to the oldest command, since a server answers in order.
local function oldest(server_id)
    return jobs[server_id][1]
end

-- When no command is left the connection's own callbacks are restored.
local function release_if_idle(queue, server)
    if #queue == 0 then
        jobs[server:id()] = nil
        queue.takeover:give_back(true)
    end
end

local function finish_command(server_id, err)
    local queue = jobs[server_id]
    local job = table.remove(queue, 1)
    job.server:collect_rows(nil)
    release_if_idle(queue, job.server)
    if job.reader.finish then
        job.reader:finish(err)
    end
    return dpm.DPM_NOPROXY
end

local function read_rset(rset, server_id)
    local job = oldest(server_id)
    job.rset, job.fields = rset, {}
    if job.reader.rowset then
        job.server:collect_rows(job.reader.rowset)
    end
    return dpm.DPM_NOPROXY
end

local function read_field(field, server_id)
    local job = oldest(server_id)
    if job.rset then
        job.rset:add_field(field)
        job.fields[#job.fields + 1] = field:full()
    end
    return dpm.DPM_NOPROXY
end

local function read_columns_end(_, server_id)
    local job = oldest(server_id)
    if job.rset and job.reader.columns then
        job.reader:columns(job.fields)
    end
    return dpm.DPM_NOPROXY
end

local function hold_back()
    return dpm.DPM_NOPROXY
end

local function read_row(row, server_id)
    local job = oldest(server_id)
    local reader = job.reader
    if reader.row then
        reader:row((job.rset:parse_row_array(row)))
    end
    return dpm.DPM_NOPROXY
end

-- The packet is the EOF of a resultset, or an OK.
local function read_ending(packet, server_id)
    local job = oldest(server_id)
    local ending = { warning_count = packet:warning_count(), server_status = packet:server_status() }
    if not job.rset then
        ending.affected_rows = packet:affected_rows()
        ending.insert_id = packet:insert_id()
        ending.message = packet:message()
    end
    job.rset, job.fields = nil, nil
    job.server:collect_rows(nil)
    if job.reader.ending then
        job.reader:ending(ending)
    end
    return dpm.DPM_NOPROXY
end

local function read_statement(statement, server_id)
    local job = oldest(server_id)
    job.is_prepare, job.statement = true, statement
    if job.reader.prepared then
        job.reader:prepared(statement)
    end
    return dpm.DPM_NOPROXY
end

local function read_last_ending(packet, server_id)
    if not oldest(server_id).is_prepare then
        read_ending(packet, server_id)
    end
    return finish_command(server_id)
end

local function read_error(packet, server_id)
    return finish_command(server_id, errors.from_packet(packet))
end

-- The server asks for a file, which we do not have: the connection has to be closed.
local function refuse_file(_, _, server)
    dpm.close(server)
    return dpm.DPM_NOPROXY
end

local query_callbacks = dpm.new_callback()
callbacks.register_callbacks(query_callbacks, {
    [dpm.MYS_STMT_PREPARED] = read_statement,
    [dpm.MYS_SENDING_PARAMS] = hold_back,
    [dpm.MYS_SENT_PARAMS] = hold_back,
    [dpm.MYS_SENT_RSET] = read_rset,
    [dpm.MYS_SENDING_FIELDS] = read_field,
    [dpm.MYS_SENT_FIELDS] = read_columns_end,
    [dpm.MYS_SENDING_ROWS] = read_row,
    [dpm.MYS_SENDING_EOF] = read_ending,
    [dpm.MYS_WAIT_CMD] = read_last_ending,
    [dpm.MYS_RECV_ERR] = read_error,
    [dpm.MYS_SENT_INFILE] = refuse_file,
})

function queries.lost_connection(reason)
    return errors.new(2013, "HY000", "Lost connection to server during query (" .. reason .. ")")
end

-- The error of whoever uses a connection that has closed.
function queries.gone()
    return errors.new(2006, "HY000", "Server has gone away")
end

local function fail_commands(server_id, server)
    local queue = jobs[server_id]
    jobs[server_id] = nil
    local err = queries.lost_connection(server and server:close_reason() or "closed")
    for _, job in ipairs(queue) do
        if job.reader.finish then
            job.reader:finish(err)
        end
    end
end

function queries.new_command(number, argument)
    local command = dpm.new_cmd_pkt()
    command:command(number)
    command:argument(argument or "")
    return command
end

-- Sends a command, whose answer `reader` reads. Returns the job, whose reader may be replaced by one that
-- ignores the rest. Commands may be sent without waiting for the one before.
function queries.run(server, command, reader)
    -- The job keeps the server, which must not be collected before its answer.
    local id, job = server:id(), { server = server, reader = reader }
    if server:close_reason() then
        reader:finish(queries.gone())
        return job
    end
    local queue = jobs[id]
    if not queue then
        queue = { takeover = takeover.begin(server, query_callbacks, fail_commands) }
        jobs[id] = queue
    end
    queue[#queue + 1] = job

    local sent, problem = pcall(checks.relay, dpm.wire_packet, server, command)
    -- If sending closed the connection, the reader has already been called.
    if not sent and jobs[id] == queue then
        table.remove(queue)
        release_if_idle(queue, server)
        error(problem, 0)
    end
    return job
end

-- The reader that collects the whole answer.
local Buffer = {}
Buffer.__index = Buffer
queries.Buffer = Buffer

local function add_result(buffer, result)
    if buffer.last then
        buffer.last.next = result
    else
        buffer.first = result
    end
    buffer.last = result
end

function Buffer:columns(fields)
    self.open = true
    add_result(self, { fields = fields, rows = {} })
end

function Buffer:row(values)
    local rows = self.last.rows
    rows[#rows + 1] = values
end

function Buffer:ending(ending)
    if self.open then
        self.open = false
        self.last.warning_count, self.last.server_status = ending.warning_count, ending.server_status
    else
        add_result(self, ending)
    end
end

-- Its finish(self, err) is the caller's; self.first is then the result, with the `next` of it and so on.
function queries.new_buffer(finish)
    return setmetatable({ finish = finish }, Buffer)
end

local function check(what, server, query, callback)
    checks.argument(what, "server", server, "a connection")
    checks.argument(what, "query", query, "a string")
    checks.argument(what, "callback", callback, "a function")
end

-- Runs `query` and calls callback(server_id, query, result, err) when the whole answer is there.
-- `result` is the table that send_resultset takes; each further result is the `next` of the one
-- before it. An OK reads { affected_rows, insert_id, message }. When `err` is given, `result` has
-- what came before the error, if anything did. Queries may be given without waiting for the one
-- before: the server answers them in order.
function queries.execute_query_buffered(server, query, callback)
    check("dpml.execute_query_buffered", server, query, callback)
    local server_id = server:id()
    queries.run(server, queries.new_command(dpm.COM_QUERY, query), queries.new_buffer(function(buffer, err)
        callback(server_id, query, buffer.first, err)
    end))
end

-- If the server has died meanwhile, the statement is gone, too.
function queries.close_statement(server, statement)
    local command = queries.new_command(dpm.COM_STMT_CLOSE)
    command:statement_id(statement:statement_id())
    pcall(dpm.wire_packet, server, command)
end

-- Prepares `query` and calls done(statement), or done(nil, err). Returns the job.
function queries.prepare(server, query, done)
    local statement
    return queries.run(server, queries.new_command(dpm.COM_STMT_PREPARE, query), {
        prepared = function(_, prepared)
            statement = prepared
        end,
        finish = function(_, err)
            done(not err and statement or nil, err)
        end,
    })
end

-- Executes a statement with `params` (nil and dpm.NULL are NULL) and has `reader` read the answer.
-- `options` are those of prepared:encode.
function queries.execute(server, statement, params, options, reader)
    local encoded, command = pcall(statement.encode, statement, params, options)
    if encoded then
        return queries.run(server, command, reader)
    end
    reader:finish(errors.new(2034, "HY000", command))
end

-- Prepares `query`, executes it with `params` and closes it again; the callback is that of
-- execute_query_buffered.
function queries.execute_prepared(server, query, params, callback, options)
    check("dpml.execute_prepared", server, query, callback)
    checks.argument("dpml.execute_prepared", "params", params, "an array or nil")
    local server_id = server:id()
    queries.prepare(server, query, function(statement, problem)
        if problem then
            return callback(server_id, query, nil, problem)
        end
        queries.execute(server, statement, params, options, queries.new_buffer(function(buffer, err)
            queries.close_statement(server, statement)
            callback(server_id, query, buffer.first, err)
        end))
    end)
end

return queries
