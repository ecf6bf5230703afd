-- Sending results to clients.

local bit = require "bit"
local checks = require "dpml.support.checks"
local errors = require "dpml.support.errors"
local identities = require "dpml.logins.identities"
local takeover = require "dpml.servers.takeover"
local tasks = require "dpml.tasks"

local results = {}

-- The status flags of a result. MORE_RESULTS is not among them: it follows from `next`.
local carried_status = {
    dpm.SERVER_STATUS_IN_TRANS,
    dpm.SERVER_STATUS_AUTOCOMMIT,
    dpm.SERVER_STATUS_NO_BACKSLASH_ESCAPES,
    dpm.SERVER_STATUS_IN_TRANS_READONLY,
}

local statuses = {} -- client id -> the status flags of its session, where they are not the usual ones

-- Sets the status flags that results without any are sent with to this client; nil for the usual ones.
function results.set_status(client_id, flags)
    statuses[client_id] = flags
end

-- The part that an OK and an EOF have in common.
local function fill_ending(packet, result, conn)
    packet:warning_count(result.warning_count or 0)
    local flags = result.server_status or statuses[conn:id()]
    if flags then
        for _, flag in ipairs(carried_status) do
            packet:server_status(flag, bit.band(flags, flag) ~= 0)
        end
    end
    packet:server_status(dpm.SERVER_MORE_RESULTS_EXISTS, result.next ~= nil)
    return packet
end

-- What a result may have. The last one is there in those of db:query, which can be sent again.
local KEYS = {
    columns = "a table", fields = "a table", rows = "a table or function",
    affected_rows = true, insert_id = true, message = "a string",
    warning_count = "an integer", server_status = "an integer", next = "a table",
    warnings = true,
}

-- The columns of a result: `fields`, R5's word, tells more of them in what db:query returns. nil if it is an OK.
local function columns_of(result)
    return result.fields or result.columns and result.columns[1] and result.columns or nil
end

local function check(what, conn, result)
    checks.argument(what, "conn", conn, "a connection")
    checks.argument(what, "result", result, "a table")
    while result do
        checks.options(what, result, KEYS, "key")
        if not columns_of(result) and result.rows and (type(result.rows) ~= "table" or next(result.rows)) then
            checks.fail(what, "columns: expected a table beside the rows, got nil")
        end
        result = result.next
    end
end

-- Sends an OK: of { affected_rows, insert_id, message, warning_count }, all of them optional.
function results.send_ok(conn, result)
    result = result or {}
    check("dpml.send_ok", conn, result)
    local ok = fill_ending(dpm.new_ok_pkt(), result, conn)
    ok:affected_rows(result.affected_rows or 0)
    ok:insert_id(result.insert_id or 0)
    ok:message(dpm.to_utf8(result.message or ""))
    dpm.wire_packet(conn, ok)
end

-- Types ------------------------------------------------------------------------------------------

local BINARY, TEXT = 63, 45 -- collations: binary, as numbers have it, and utf8mb4_general_ci

-- Types from narrow to wide: a column has the type of its widest value.
local TINY = { rank = 1, type = dpm.MYSQL_TYPE_TINY, charset_number = BINARY, length = 1 }
local LONGLONG = { rank = 2, type = dpm.MYSQL_TYPE_LONGLONG, charset_number = BINARY, length = 20 }
local DOUBLE = { rank = 3, type = dpm.MYSQL_TYPE_DOUBLE, charset_number = BINARY, length = 22, decimals = 31 }
local VAR_STRING = { rank = 4, type = dpm.MYSQL_TYPE_VAR_STRING, charset_number = TEXT }
-- What is no UTF-8 would be malformed text to drivers.
local VAR_BINARY = { rank = 5, type = dpm.MYSQL_TYPE_VAR_STRING, charset_number = BINARY, flags = dpm.BINARY_FLAG }

-- The type of a value; nil for NULL, which fits any type.
local function type_of(value)
    local kind = type(value)
    if value == nil or value == dpm.NULL then
        return nil
    elseif kind == "boolean" then
        return TINY
    elseif kind == "string" and value:find("[\128-\255]") and dpm.to_utf8(value) ~= value then
        return VAR_BINARY
    elseif kind ~= "number" then
        return VAR_STRING
    end
    return value == math.floor(value) and math.abs(value) < 2 ^ 53 and LONGLONG or DOUBLE
end

local function infer_type(rows, column)
    local widest = nil
    for _, row in ipairs(rows) do
        local its_type = type_of(row[column])
        if its_type and (not widest or its_type.rank > widest.rank) then
            widest = its_type
        end
        if widest == VAR_BINARY then
            break
        end
    end
    return widest or VAR_STRING
end

-- The definition of a column. If it has no type, the type follows from `rows`.
local function new_field(column, number, rows)
    local field = dpm.new_field_pkt()
    if type(column) == "string" then
        column = { name = column }
    end
    if column.type then
        field:full(column)
        return field
    end
    local inferred = infer_type(rows, number)
    field:full { type = inferred.type, charset_number = inferred.charset_number,
        length = inferred.length, decimals = inferred.decimals, flags = inferred.flags }
    field:full(column)
    if column.name then
        field:name(dpm.to_utf8(column.name))
    end
    return field
end

-- Raises an error if a row that comes later has what is no text in a column whose type is that of an earlier row's.
local function check_later(columns, first, row)
    for i, column in ipairs(columns) do
        local is_inferred = type(column) == "string" or not column.type
        if is_inferred and type_of(row[i]) == VAR_BINARY and infer_type({ first }, i) ~= VAR_BINARY then
            error(errors.new(1105, "HY000", ("Column %d has a value that is no UTF-8, and began as one of texts or numbers: "
                .. "its type has to be said"):format(i)), 0)
        end
    end
end

-- Back-pressure ------------------------------------------------------------------------------------

local MUCH = 512 * 1024 -- bytes that may be queued before waiting for MY_DRAINED

local drained_by = {} -- connection id -> called when its queue has drained, or it has closed

local function go_on(conn_id)
    local resume = drained_by[conn_id]
    drained_by[conn_id] = nil
    if resume then -- it may have drained more than once by the time the task has its turn
        resume(true)
    end
end

local draining = dpm.new_callback()
draining:register(dpm.MY_DRAINED, go_on)

-- Waits until a client has received most of its queue. Raises an error if it has left.
function results.wait_until_drained(conn)
    if conn:pending() > MUCH then
        local id, taken = conn:id(), takeover.begin(conn, draining, go_on)
        tasks.await("send_resultset", function(resume)
            drained_by[id] = resume
            return function()
                drained_by[id] = nil
                taken:give_back()
            end
        end)
        taken:give_back()
    end
    if conn:close_reason() then
        error(("client %d has left before it had all its rows"):format(conn:id()), 0)
    end
end

-- Sending ------------------------------------------------------------------------------------------

-- Begins an answer with these columns, and returns its resultset.
function results.send_columns(conn, columns, rows)
    local rset, fields = dpm.new_rset_pkt(), {}
    for i, column in ipairs(columns) do
        fields[i] = new_field(column, i, rows)
        rset:add_field(fields[i])
    end
    dpm.wire_packet(conn, rset)
    for _, field in ipairs(fields) do
        dpm.wire_packet(conn, field)
    end
    dpm.wire_packet(conn, dpm.new_eof_pkt())
    return rset
end

local function send_array(conn, result)
    local rows = result.rows or {}
    local rset = results.send_columns(conn, columns_of(result), rows)
    -- One object is enough for all rows, since a packet is encoded when it is wired.
    local row = dpm.new_row_pkt()
    for _, values in ipairs(rows) do
        rset:pack_row(row, values)
        dpm.wire_packet(conn, row)
    end
    dpm.wire_packet(conn, fill_ending(dpm.new_eof_pkt(), result, conn))
end

-- The first row determines the types. It is read before anything is sent, so that an error of the iterator
-- becomes an error of the query.
local function send_stream(conn, result)
    local next_row, columns = result.rows, columns_of(result)
    local values = next_row()
    local first = values
    local rset = results.send_columns(conn, columns, { values })
    local row = dpm.new_row_pkt()
    while values do
        check_later(columns, first, values)
        rset:pack_row(row, values)
        dpm.wire_packet(conn, row)
        results.wait_until_drained(conn)
        values = next_row()
    end
    dpm.wire_packet(conn, fill_ending(dpm.new_eof_pkt(), result, conn))
end

local function send_all(conn, result)
    while result do
        if not columns_of(result) then
            results.send_ok(conn, result)
        elseif type(result.rows) == "function" then
            send_stream(conn, result)
        else
            send_array(conn, result)
        end
        result = result.next
    end
end

local function streams(result)
    while result do
        if type(result.rows) == "function" then
            return true
        end
        result = result.next
    end
    return false
end

-- Sends { columns = { "name" | { name =, type =, … }, ... }, rows = { { value, ... }, ... } }, where a
-- nil (or dpm.NULL) is SQL's NULL. A column whose type is not said has the one that its values need. A
-- result without columns is sent as an OK. `result.next` is another result to be sent after it.
--
-- `rows` may also be a function that returns the next row, or nil at the end: it is called as the client
-- receives rows, in a task, so it may wait. Within a task this returns when all is sent, elsewhere at once.
function results.send_resultset(conn, result)
    check("dpml.send_resultset", conn, result)
    if not streams(result) or tasks.in_task() then
        return send_all(conn, result)
    end
    tasks.spawn(function()
        local ok, problem = pcall(send_all, conn, result)
        if not ok and not conn:close_reason() then
            dpm.log("error", ("client %d: the rows of a result could not be had: %s"):format(
                conn:id(), errors.text(problem)))
            results.end_answer(conn, problem)
        end
    end)
end

-- Answers a COM_STMT_PREPARE: the packet, then the definitions of its parameters and columns that
-- were added to it. Definitions that were announced but not added are sent as texts without a name.
function results.send_prepared(conn, prepared)
    dpm.wire_packet(conn, prepared)
    for _, kind in ipairs { "param", "column" } do
        local count = prepared[kind .. "s"](prepared)
        for i = 1, count do
            dpm.wire_packet(conn, prepared[kind](prepared, i) or dpm.new_field_pkt())
        end
        if count > 0 then
            dpm.wire_packet(conn, dpm.new_eof_pkt())
        end
    end
end

-- An answer cannot be completed: the client gets the error, which is also allowed between rows.
function results.end_answer(conn, err)
    local shown = errors.presentable(identities.in_own_name(err, conn:id()))
    local sent, problem = pcall(errors.send_error, conn, shown.sqlstate, shown.errnum, shown.message)
    if not sent then
        dpm.log("warn", ("client %d cannot be told of %s, and is closed: %s"):format(
            conn:id(), tostring(shown), errors.text(problem)))
        dpm.close(conn)
    end
end

return results
