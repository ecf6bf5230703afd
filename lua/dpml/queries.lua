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

local function finish_query(server_id, err)
    local queue = jobs[server_id]
    local job = table.remove(queue, 1)
    if #queue == 0 then
        jobs[server_id] = nil
        job.server:package_register(queue.package)
    end
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

local function read_last_ending(packet, server_id)
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

local function new_query(sql)
    local command = dpm.new_cmd_pkt()
    command:command(dpm.COM_QUERY)
    command:argument(sql)
    return command
end

-- Runs `query` and calls callback(server_id, query, result, err) when the whole answer is there.
-- `result` is the table that send_resultset takes; each further result is the `next` of the one
-- before it. An OK reads { affected_rows, insert_id, message }. When `err` is given, `result` has
-- what came before the error, if anything did. Queries may be given without waiting for the one
-- before: the server answers them in order.
function queries.execute_query_buffered(server, query, callback)
    local id = server:id()
    if server:close_reason() then
        callback(id, query, nil, errors.new(2006, "HY000", "Server has gone away"))
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
    -- The job holds the server, which must live as long as someone waits for its answer.
    queue[#queue + 1] = { server = server, query = query, callback = callback }

    local sent, problem = pcall(dpm.wire_packet, server, new_query(query))
    -- If sending closed the connection, the callback has already been told.
    if not sent and jobs[id] == queue then
        table.remove(queue)
        if #queue == 0 then
            jobs[id] = nil
            server:package_register(queue.package)
        end
        error(problem, 2)
    end
end

return queries
