-- Sending results to clients.

local bit = require "bit"

local results = {}

-- What a result tells about the session. MORE_RESULTS is not among them: it follows from `next`.
local carried_status = {
    dpm.SERVER_STATUS_IN_TRANS,
    dpm.SERVER_STATUS_AUTOCOMMIT,
    dpm.SERVER_STATUS_NO_BACKSLASH_ESCAPES,
    dpm.SERVER_STATUS_IN_TRANS_READONLY,
}

-- The part that an OK and an EOF have in common.
local function fill_ending(packet, result)
    packet:warning_count(result.warning_count or 0)
    if result.server_status then
        for _, flag in ipairs(carried_status) do
            packet:server_status(flag, bit.band(result.server_status, flag) ~= 0)
        end
    end
    packet:server_status(dpm.SERVER_MORE_RESULTS_EXISTS, result.next ~= nil)
    return packet
end

local function send_ok(conn, result)
    local ok = fill_ending(dpm.new_ok_pkt(), result)
    ok:affected_rows(result.affected_rows or 0)
    ok:insert_id(result.insert_id or 0)
    ok:message(result.message or "")
    dpm.wire_packet(conn, ok)
end

local function new_field(column)
    local field = dpm.new_field_pkt()
    if type(column) == "string" then
        field:name(column, dpm.MYSQL_TYPE_VAR_STRING)
    else
        field:full(column)
    end
    return field
end

local function send_rows(conn, result)
    local rset, fields = dpm.new_rset_pkt(), {}
    for i, column in ipairs(result.fields) do
        fields[i] = new_field(column)
        rset:add_field(fields[i])
    end

    dpm.wire_packet(conn, rset)
    for _, field in ipairs(fields) do
        dpm.wire_packet(conn, field)
    end
    dpm.wire_packet(conn, dpm.new_eof_pkt())

    -- A packet is encoded when it is wired, so that one object does for all the rows.
    local row = dpm.new_row_pkt()
    for _, values in ipairs(result.rows or {}) do
        rset:pack_row(row, values)
        dpm.wire_packet(conn, row)
    end
    dpm.wire_packet(conn, fill_ending(dpm.new_eof_pkt(), result))
end

-- Sends { fields = { { name =, type = } | "name", ... }, rows = { { value, ... }, ... } }, where a
-- nil (or dpm.NULL) is SQL's NULL. A result without `fields` is sent as an OK. `result.next` is
-- another result to be sent after it.
function results.send_resultset(conn, result)
    while result do
        local send = result.fields and send_rows or send_ok
        send(conn, result)
        result = result.next
    end
end

-- Answers a COM_STMT_PREPARE: the packet, then the definitions of its parameters and columns that
-- were added to it. What is counted but was not added is sent as a nameless text.
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

return results
