-- A plug-in that hides the values of some columns, by the table column they come from, whatever a query calls
-- them.
--
-- It hides only what is shown. Someone who writes the SQL can still ask WHERE email LIKE 'a%', or copy the
-- column to another table: a firewall before it can prevent that. A view is a table of its own, whose columns
-- have to be listed, too. What a stored function returns cannot be known.

local checks = require "dpml.checks"
local errors = require "dpml.errors"

local mask = {}

local NAME = "dpml.mask"
local OPTIONS = { columns = "an array" }

-- Types whose values are masked as "***"; all others are masked as NULL.
local TEXT_TYPES = {}
for name in ("VARCHAR VAR_STRING STRING TINY_BLOB BLOB MEDIUM_BLOB LONG_BLOB"):gmatch("%S+") do
    TEXT_TYPES[dpm["MYSQL_TYPE_" .. name]] = true
end

-- Commands that return rows as they are stored.
local RAW_COMMANDS = {
    [dpm.COM_BINLOG_DUMP] = true, [dpm.COM_BINLOG_DUMP_GTID] = true, [dpm.COM_TABLE_DUMP] = true,
}

-- Statements whose column definitions name the original table and column.
local OPEN_KINDS = { SELECT = true, SHOW = true, EXPLAIN = true }
local SELECT_WORDS = { select = true, table = true, values = true }

-- What is masked in a statement's results besides the listed columns.
local NOTHING, COMPUTED, ALL = "nothing", "computed columns", "all"

-- The columns that are listed, "table.column" -> true, and the names of either -> true.
local function read_columns(columns)
    local secret, names = {}, {}
    for i = 1, table.maxn(columns) do
        local column = columns[i]
        checks.argument(NAME, "columns: number " .. i, column, "a string")
        local table_name, column_name = column:lower():match("^([^.]+)%.([^.]+)$")
        if not table_name then
            checks.fail(NAME, ("columns: expected \"table.column\", got %q"):format(column))
        end
        secret[table_name .. "." .. column_name], names[table_name], names[column_name] = true, true, true
    end
    return secret, names
end

-- What is masked in a statement besides the listed columns: nothing if it names none of them; its computed
-- columns if it names one, or a variable, which may hold anything; and all columns if one SELECT may rename the
-- columns of another, or if the statement need not name what it reads.
local function masked_beside(sql, names)
    if not OPEN_KINDS[dpm.statement_kind(sql)] then
        return ALL
    end
    local named, selects = false, 0
    for _, token in ipairs(dpm.tokenize(sql)) do
        local word = token.text:lower():gsub("^[`\"](.*)[`\"]$", "%1")
        named = named or names[word] or word:find("^@[^@]")
        if SELECT_WORDS[word] then
            selects = selects + 1
        end
    end
    if not named then
        return NOTHING
    end
    return selects > 1 and ALL or COMPUTED
end

-- The replacement for a column's values; nil if they are shown. An unknown column is masked.
local function replacement(field, secret, beside)
    if not field then
        return dpm.NULL
    end
    local origin = (field:org_table() .. "." .. field:org_name()):lower()
    local is_computed = origin == "."
    if secret[origin] or beside == ALL or (beside == COMPUTED and is_computed) then
        local _, type_of_values = field:name()
        return TEXT_TYPES[type_of_values] and "***" or dpm.NULL
    end
end

-- mask{ columns = { "customers.email", … } }
function mask.mask(options)
    checks.options(NAME, options, OPTIONS)
    checks.argument(NAME, "columns", options.columns, "an array")
    local secret, names = read_columns(options.columns)

    -- What is masked of the statement that a command is about.
    local function noted(client, cmd)
        local statement = client:track_statements() and client:statement(cmd:statement_id())
        local notes = statement and statement:notes()
        return notes and notes[secret]
    end

    return function()
        local coming -- what is masked of the statement that is being prepared
        local beside = ALL -- of the current statement
        local rset, replacements -- the result that is passing, and what is masked of it by the column's number

        local function new_command(cmd, _, client)
            local command = cmd:command()
            if RAW_COMMANDS[command] then
                errors.send_error(client, "42000", 1142, "There are masked columns: rows are not sent as they are")
                return dpm.DPM_NOPROXY
            elseif command == dpm.COM_QUERY then
                beside = masked_beside(cmd:argument(), names)
            elseif command == dpm.COM_STMT_PREPARE then
                coming = masked_beside(cmd:argument(), names)
                if not client:track_statements() then
                    client:track_statements(true)
                end
            elseif command == dpm.COM_STMT_EXECUTE then
                beside = noted(client, cmd) or ALL
                -- No cursors: what is masked is decided for the current statement, whose rows must not mix with
                -- those of others.
                if cmd:execute_flags(dpm.CURSOR_TYPE_READ_ONLY) then
                    cmd:execute_flags(dpm.CURSOR_TYPE_READ_ONLY, false)
                    return cmd
                end
            elseif command == dpm.COM_STMT_BULK_EXECUTE then
                beside = noted(client, cmd) or ALL
            else
                beside = ALL
            end
        end

        local function new_row(row, _, _, its_rset)
            if its_rset ~= rset then
                rset, replacements = its_rset, {}
                for i = 1, rset:field_count() do
                    replacements[i] = replacement(rset:field(i), secret, beside)
                end
            end
            if not next(replacements) then
                return
            end
            local values = rset:parse_row_array(row)
            for i, value in pairs(replacements) do
                values[i] = values[i] and value -- NULL stays what it is
            end
            rset:pack_row(row, values)
            return row
        end

        return {
            new_command = new_command,
            new_statement = function(prepared)
                local notes = prepared:notes()
                if notes then
                    notes[secret] = coming
                end
            end,
            new_row = new_row,
        }
    end
end

return mask
