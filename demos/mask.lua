-- mask.lua: hides the values of some columns, by what they are and not by what a query calls them.
-- Run: dpm --startfile demos/mask.lua -- [backend host] [port] [listen port] [ignored] [ignored] [table.column,…]
-- Look: SELECT email AS harmless FROM customers; and CONCAT(email), or what is in doubt, comes out masked, too.
--
-- It hides what is shown. Who writes the SQL can still ask WHERE email LIKE 'a%', or copy the column to another table:
-- firewall.lua in front decides what is asked. A view is a table of its own, whose columns are to be listed, too; what
-- a stored function returns cannot be known.

local dpml = require "dpml"
local host, port, listen_port = arg[1] or "127.0.0.1", tonumber(arg[2]) or 3306, tonumber(arg[3]) or 5500

local TEXT = {} -- types whose values are masked as "***"; all others as NULL
for name in ("VARCHAR VAR_STRING STRING TINY_BLOB BLOB MEDIUM_BLOB LONG_BLOB"):gmatch("%S+") do
    TEXT[dpm["MYSQL_TYPE_" .. name]] = true
end
local LAST = 0xFFFFFFFF -- what MariaDB's clients call the statement that was prepared last
local RAW = { [dpm.COM_BINLOG_DUMP] = true, [dpm.COM_BINLOG_DUMP_GTID] = true, [dpm.COM_TABLE_DUMP] = true }
local OPEN, SELECTS = { SELECT = true, SHOW = true, EXPLAIN = true }, { select = true, table = true, values = true }

-- A plug-in: `columns` is "table.column,table.column".
local function mask(columns)
    local secret, names = {}, {} -- "table.column" -> true; the names of either -> true
    for table_name, column in columns:lower():gmatch("([^.,]+)%.([^.,]+)") do
        secret[table_name .. "." .. column], names[table_name], names[column] = true, true, true
    end

    -- What is masked of a statement's results beside the columns that are listed: "nothing", "computed" columns, or
    -- "all", where one SELECT may call another's columns as it likes, or it does not name what it reads.
    local function to_mask(sql)
        if not OPEN[dpm.statement_kind(sql)] then return "all" end
        local named, selects = false, 0
        for _, token in ipairs(dpm.tokenize(sql)) do
            local word = token.text:lower():gsub("^[`\"](.*)[`\"]$", "%1")
            named = named or names[word] or word:find("^@[^@]") -- a variable may hold anything
            if SELECTS[word] then selects = selects + 1 end
        end
        return not named and "nothing" or selects > 1 and "all" or "computed"
    end

    return function(client, server)
        local beside, prepared = "all", {} -- of the statement that runs; the same by statement id
        local rset, values_of -- the result that is passing, and the values of its masked columns by their number
        server:register(dpm.MYS_STMT_PREPARED, function(packet)
            prepared[packet:statement_id()], prepared[LAST] = beside, beside
        end)

        -- What goes in the place of a column's values; nil if they may be seen.
        local function replacement(field)
            local origin = field and (field:org_table() .. "." .. field:org_name()):lower()
            local masked = secret[origin] or beside == "all" or not field or (beside == "computed" and origin == ".")
            local is_text = field and TEXT[select(2, field:name())]
            return masked and (is_text and "***" or dpm.NULL) or nil
        end
        return {
            new_command = function(cmd)
                local command, id = cmd:command(), cmd:statement_id()
                if command == dpm.COM_QUERY or command == dpm.COM_STMT_PREPARE then
                    beside = to_mask(cmd:argument())
                elseif command == dpm.COM_STMT_EXECUTE then
                    beside = prepared[id] or "all"
                    cmd:execute_flags(dpm.CURSOR_TYPE_READ_ONLY, false) -- rows come at once, next to their columns
                    return cmd
                elseif command == dpm.COM_STMT_CLOSE then
                    prepared[id] = nil
                elseif RAW[command] then
                    dpml.send_error(client, "42000", 1142, "There are masked columns: rows are not sent as they are")
                    return dpm.DPM_NOPROXY
                end
            end,
            new_row = function(row, _, _, its_rset)
                if its_rset ~= rset then
                    rset, values_of = its_rset, {}
                    for i = 1, rset:field_count() do values_of[i] = replacement(rset:field(i)) end
                end
                if not next(values_of) then return end
                local values = rset:parse_row_array(row)
                for i, value in pairs(values_of) do values[i] = values[i] and value end
                rset:pack_row(row, values)
                return row
            end,
        }
    end
end
if ... then return mask end -- another script requires it

listener = dpm.listener("127.0.0.1", listen_port) -- a global, or it would be collected
dpml.passthrough_new_clients(listener, mask(arg[6] or "customers.email,customers.card"), { host, port })
print("dpm: mask listening on 127.0.0.1:" .. listener:socket_port())
