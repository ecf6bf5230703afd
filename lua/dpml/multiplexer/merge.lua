-- Merges many answers into one: columns by their names, with the server's name in each row.

local bit = require "bit"
local results = require "dpml.results"
local widen = require("dpml.multiplexer.widen").widen

local merge = {}

local SLICE = 2000 -- rows that are sent in one go
local TEXT = 45 -- utf8mb4_general_ci, in which the connections are

-- A server may have several columns with the same name: the second is merged with the other servers' second.
local function key_of(name, seen)
    local folded = name:lower()
    seen[folded] = (seen[folded] or 0) + 1
    return folded .. "\0" .. seen[folded]
end

-- The columns for statements without rows.
local OK_FIELDS = {
    { name = "affected_rows", type = dpm.MYSQL_TYPE_LONGLONG, charset_number = 63 },
    { name = "insert_id", type = dpm.MYSQL_TYPE_LONGLONG, charset_number = 63 },
    { name = "message", type = dpm.MYSQL_TYPE_VAR_STRING, charset_number = TEXT },
}

local function copy(field)
    local column = {}
    for name, value in pairs(field) do
        column[name] = value
    end
    return column
end

-- The columns of all answers, and for each answer the numbers of its own columns among them, 0 for a missing
-- one.
local function merge_columns(answers)
    local columns, places, count = {}, {}, {}
    for _, answer in ipairs(answers) do
        local seen = {}
        for _, field in ipairs(answer.fields) do
            local key = key_of(field.name, seen)
            local place = places[key]
            if not place then
                columns[#columns + 1] = copy(field)
                places[key] = #columns
                count[#columns] = 1
            else
                widen(columns[place], field)
                count[place] = count[place] + 1
            end
        end
    end
    for place, column in ipairs(columns) do
        if count[place] < #answers then
            column.flags = bit.band(column.flags or 0, bit.bnot(dpm.NOT_NULL_FLAG)) -- it is NULL where a server lacks it
        end
    end
    for _, answer in ipairs(answers) do
        local own, seen = {}, {}
        for number, field in ipairs(answer.fields) do
            own[places[key_of(field.name, seen)]] = number
        end
        for place = 1, #columns do
            own[place] = own[place] or 0
        end
        answer.columns = own
    end
    return columns
end

-- The answers of a round that have come, in the form for sending.
local function answers_of(round)
    local answers = {}
    for _, answer in ipairs(round.answers) do
        local result = answer.result
        if result then
            answers[#answers + 1] = {
                label = answer.label, fields = result.fields or OK_FIELDS, rowset = answer.rowset,
                ok = not result.fields and { result.affected_rows, result.insert_id, result.message } or nil,
            }
        end
    end
    return answers
end

local function send_ok_row(client, rset, answer)
    local values, row = { answer.label }, dpm.new_row_pkt()
    for place, number in ipairs(answer.columns) do
        values[place + 1] = number > 0 and answer.ok[number] or dpm.NULL
    end
    rset:pack_row(row, values)
    dpm.wire_packet(client, row)
end

-- Sends a client the answers of a round, with `warnings` as the count of warnings.
function merge.send(client, round, warnings)
    local answers = answers_of(round)
    local columns = merge_columns(answers)
    table.insert(columns, 1, { name = "dpm_dsn", type = dpm.MYSQL_TYPE_VAR_STRING, charset_number = TEXT, length = 1024,
        flags = dpm.NOT_NULL_FLAG })
    local rset = results.send_columns(client, columns, {})
    for _, answer in ipairs(answers) do
        if answer.ok then
            send_ok_row(client, rset, answer)
        end
        local from, count = 1, answer.rowset:count()
        while from <= count do
            from = from + answer.rowset:wire(client, rset, {
                prefix = { answer.label }, columns = answer.columns, from = from, count = SLICE,
            })
            results.wait_until_drained(client)
        end
    end
    local eof = dpm.new_eof_pkt()
    eof:warning_count(math.min(warnings, 65535))
    dpm.wire_packet(client, eof)
end

return merge
