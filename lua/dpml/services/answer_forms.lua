-- What answer a command may have: one in another form would leave its client out of step.

local errors = require "dpml.support.errors"

local answer_forms = {}

-- "rows" if rows or an OK may answer it, "ok" if only an OK may, "none" if it has no answer, "own" if it has one of a kind of
-- its own. All others are those of "ok".
local FORMS = {
    [dpm.COM_QUERY] = "rows", [dpm.COM_STMT_EXECUTE] = "rows", [dpm.COM_STMT_BULK_EXECUTE] = "rows",
    [dpm.COM_PROCESS_INFO] = "rows",
    [dpm.COM_STMT_CLOSE] = "none", [dpm.COM_STMT_SEND_LONG_DATA] = "none",
    [dpm.COM_STATISTICS] = "own", [dpm.COM_FIELD_LIST] = "own", [dpm.COM_STMT_PREPARE] = "own", [dpm.COM_STMT_FETCH] = "own",
    [dpm.COM_BINLOG_DUMP] = "own", [dpm.COM_BINLOG_DUMP_GTID] = "own",
}

-- Whether a command has an answer at all.
function answer_forms.has_answer(cmd)
    return FORMS[cmd:command()] ~= "none"
end

-- The error that answers a command instead of this result, if the result is in a form that the command's answers do not
-- have; nil if it may be sent.
function answer_forms.refusal_of(cmd, result)
    local number, has_rows = cmd:command(), result.fields ~= nil or result.columns ~= nil and result.columns[1] ~= nil
    local form = FORMS[number] or "ok"
    if form == "rows" or form == "ok" and not has_rows and not result.next then
        return nil
    elseif number == dpm.COM_STMT_PREPARE then
        -- By this number drivers know that they have to send it as a query.
        return errors.new(1295, "HY000", "This command is not supported in the prepared statement protocol yet")
    end
    return errors.new(1047, "08S01", "Unknown command")
end

return answer_forms
