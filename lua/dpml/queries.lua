-- Running queries on a server and reading their results.

local callbacks = require "dpml.callbacks"
local errors = require "dpml.errors"

local queries = {}

local jobs = {}    -- server id -> the queries it is working on, oldest first, and what to put back
local watched = {} -- server id -> true once its death is ours to hear of

-- What comes in belongs to the oldest query: a server answers in order.
local function oldest(server_id)
    return jobs[server_id][1]
end

-- Once nobody waits any more the connection gets back the callbacks that it had.
local function release_if_idle(queue, server)
    if #queue == 0 then
        jobs[server:id()] = nil
        server:package_register(queue.package)
    end
end

local function close_statement(job)
    local command = dpm.new_cmd_pkt()
    command:command(dpm.COM_STMT_CLOSE)
    command:statement_id(job.statement:statement_id())
    -- A server that has died meanwhile has closed it, too.
    pcall(dpm.wire_packet, job.server, command)
end

local function finish_query(server_id, err)
    local queue = jobs[server_id]
    local job = table.remove(queue, 1)
    if job.statement then
        close_statement(job)
    end
    release_if_idle(queue, job.server)
    job.callback(server_id, job.query, job.first, err)
    return dpm.DPM_NOPROXY
end

local function add_result(job, result)
    if job.last then
        job.last.next = result
    else
        job.first = result
    end
    job.last = result
end

local function read_rset(rset, server_id)
    local job = oldest(server_id)
    job.rset = rset
    add_result(job, { fields = {}, rows = {} })
    return dpm.DPM_NOPROXY
end

local function read_field(field, server_id)
    local job = oldest(server_id)
    if job.preparing then
        return dpm.DPM_NOPROXY
    end
    local fields = job.last.fields
    job.rset:add_field(field)
    fields[#fields + 1] = field:full()
    return dpm.DPM_NOPROXY
end

local function hold_back()
    return dpm.DPM_NOPROXY
end

local function read_row(row, server_id)
    local job = oldest(server_id)
    local rows = job.last.rows
    rows[#rows + 1] = job.rset:parse_row_array(row)
    return dpm.DPM_NOPROXY
end

-- The packet is the EOF of a resultset, or an OK in a result's place.
local function read_ending(packet, server_id)
    local job = oldest(server_id)
    if job.rset then
        job.rset = nil
    else
        add_result(job, {
            affected_rows = packet:affected_rows(),
            insert_id = packet:insert_id(),
            message = packet:message(),
        })
    end
    job.last.warning_count = packet:warning_count()
    job.last.server_status = packet:server_status()
    return dpm.DPM_NOPROXY
end

local function read_statement(prepared, server_id)
    oldest(server_id).statement = prepared
    return dpm.DPM_NOPROXY
end

-- The statement is prepared: it is executed behind whatever was asked meanwhile.
local function execute_statement(server_id)
    local queue = jobs[server_id]
    local job = oldest(server_id)
    local encoded, command = pcall(job.statement.encode, job.statement, job.params, job.options)
    if not encoded then
        return finish_query(server_id, errors.new(2034, "HY000", command))
    end
    table.remove(queue, 1)
    job.preparing = nil
    queue[#queue + 1] = job
    dpm.wire_packet(job.server, command)
    return dpm.DPM_NOPROXY
end

local function read_last_ending(packet, server_id)
    if oldest(server_id).preparing then
        return execute_statement(server_id)
    end
    read_ending(packet, server_id)
    return finish_query(server_id)
end

local function read_error(packet, server_id)
    return finish_query(server_id, errors.from_packet(packet))
end

-- The server asks for a file that nobody here has: there is no way on but to hang up.
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
    [dpm.MYS_SENT_FIELDS] = hold_back,
    [dpm.MYS_SENDING_ROWS] = read_row,
    [dpm.MYS_SENDING_EOF] = read_ending,
    [dpm.MYS_WAIT_CMD] = read_last_ending,
    [dpm.MYS_RECV_ERR] = read_error,
    [dpm.MYS_SENT_INFILE] = refuse_file,
})

local function lost_connection(reason)
    return errors.new(2013, "HY000", "Lost connection to server during query (" .. reason .. ")")
end

local function fail_queries(server_id, server)
    local queue = jobs[server_id]
    jobs[server_id], watched[server_id] = nil, nil
    if not queue then
        return
    end
    local err = lost_connection(server and server:close_reason() or "closed")
    for _, job in ipairs(queue) do
        job.callback(server_id, job.query, job.first, err)
    end
end

local function new_command(number, sql)
    local command = dpm.new_cmd_pkt()
    command:command(number)
    command:argument(sql)
    return command
end

-- Sends the command that begins a job, and waits for its answer.
local function begin(job, command)
    local server = job.server
    local id = server:id()
    if server:close_reason() then
        job.callback(id, job.query, nil, errors.new(2006, "HY000", "Server has gone away"))
        return
    end
    if not watched[id] then
        server:on_close(fail_queries)
        watched[id] = true
    end

    local queue = jobs[id]
    if not queue then
        queue = { package = server:package_register() }
        jobs[id] = queue
        server:package_register(query_callbacks)
    end
    queue[#queue + 1] = job

    local sent, problem = pcall(dpm.wire_packet, server, command)
    -- If sending closed the connection, the callback has already been told.
    if not sent and jobs[id] == queue then
        table.remove(queue)
        release_if_idle(queue, server)
        error(problem, 3)
    end
end

-- Runs `query` and calls callback(server_id, query, result, err) when the whole answer is there.
-- `result` is the table that send_resultset takes; each further result is the `next` of the one
-- before it. An OK reads { affected_rows, insert_id, message }. When `err` is given, `result` has
-- what came before the error, if anything did. Queries may be given without waiting for the one
-- before: the server answers them in order.
function queries.execute_query_buffered(server, query, callback)
    -- The job holds the server, which must live as long as someone waits for its answer.
    local job = { server = server, query = query, callback = callback }
    begin(job, new_command(dpm.COM_QUERY, query))
end

-- Prepares `query`, executes it with `params` (nil and dpm.NULL are NULL) and closes it again; the
-- callback is the same. `options` are those of prepared:encode.
function queries.execute_prepared(server, query, params, callback, options)
    local job = {
        server = server,
        query = query,
        callback = callback,
        params = params,
        options = options,
        preparing = true,
    }
    begin(job, new_command(dpm.COM_STMT_PREPARE, query))
end

return queries
