-- Whether what a statement sends, stores or leaves behind may contain masked values.
--
-- `info` is what dpm.tables says of a statement, each of whose tables has its `kind`; `session` is what was left behind
-- by statements before it: `tainted` if user variables may have masked values, except for those in `clean`, which were set
-- since; `diagnostics` if warnings may; `prepared` the statements that were prepared in SQL.

local policy = require "dpml.mask.policy"

local judgement = {}

local MASKED, HARMLESS = policy.MASKED, policy.HARMLESS

-- Whether the values of masked columns are copied, by SET a = b, into columns that are not masked. What a view calls its
-- columns is not known.
local function copies_masked(info, rules)
    local has_unknown = false
    for _, entry in ipairs(info) do
        has_unknown = has_unknown or entry.kind == policy.UNKNOWN
    end
    for _, copy in ipairs(info.copies) do
        if (has_unknown or rules:may_be_masked(copy.from))
            and (info.sets_insert_id or not rules:is_masked_where_written(info, copy.to)) then
            return true
        end
    end
    return false
end

-- Whether any of these variables is read, and may have a masked value.
local function reads_tainted(variables, session)
    for _, variable in ipairs(variables or {}) do
        if variable.is == "read" and session.tainted and not session.clean[variable.name] then
            return true
        end
    end
    return false
end

local function sets_variables(info)
    for _, variable in ipairs(info.variables) do
        if variable.is ~= "read" then
            return true
        end
    end
    return false
end

-- What of a statement's sources may have masked values: what it sends (`reads`), and what it stores (`takes`). `touches`
-- says whether it has to do with any.
local function sources(info, rules, session, parameters)
    local reads, takes, touches = info.unknown ~= nil, info.unknown ~= nil, info.unknown ~= nil
    for _, entry in ipairs(info) do
        if entry.kind ~= HARMLESS then
            touches, reads = true, reads or entry.read
            takes = takes or (entry.read and not entry.write)
        end
    end
    for _, routine in ipairs(info.routines) do
        if not rules:is_harmless_routine(routine) then
            touches, reads, takes = true, true, true
        end
    end
    if reads_tainted(info.variables, session) or reads_tainted(parameters, session)
        or info.diagnostics and session.diagnostics then
        touches, reads, takes = true, true, true
    end
    return reads, takes, touches
end

-- Why a statement is refused, or nil.
local function refusal(info, rules, reads, takes, touches)
    if info.unknown and info.anything then
        return "It cannot be judged: " .. info.unknown
    elseif info.calls and reads then
        return "What its routines do is not known; harmless ones can be declared"
    elseif takes and (info.stores or info.sets_system or info.writes_file) then
        return "It may copy masked values"
    elseif reads and info.sets_insert_id then
        return "It may copy masked values"
    elseif touches and copies_masked(info, rules) then
        return "It may copy masked values"
    end
    for _, entry in ipairs(info) do
        if info.alters and entry.kind == MASKED then
            return "It changes the definition of a table with masked columns"
        end
    end
end

-- Returns { refused = why }, or { computed = whether columns without an origin are masked, trusted = names of the tables
-- whose columns may be trusted then, touches = whether errors may quote masked values, taints = whether it leaves masked
-- values in variables, only_texts = whether all that it shows are warnings, of which only the texts are masked }. `parameters` are the variables of EXECUTE.
function judgement.judge(info, rules, session, parameters)
    if info.executes and not info.unknown then
        local prepared = session.prepared[info.executes:lower()]
        if not prepared then
            return { refused = "It cannot be judged: it was not seen when it was prepared" }
        end
        return judgement.judge(prepared, rules, session, info.variables)
    end
    local reads, takes, touches = sources(info, rules, session, parameters)
    local refused = refusal(info, rules, reads, takes, touches)
    if refused then
        return { refused = refused }
    end
    local trusted, writes = {}, false
    for _, entry in ipairs(info) do
        local name = entry.name:lower()
        local is_good = entry.kind ~= policy.UNKNOWN and trusted[name] ~= false and not info.derives
        trusted[name] = is_good
        -- Its triggers are not known, which may set variables.
        writes = writes or entry.write and not info.defines
    end
    local sets = sets_variables(info)
    return {
        computed = reads,
        trusted = trusted,
        touches = touches,
        taints = writes or reads and (sets or #info.routines > 0),
        only_texts = info.diagnostics and not sets and info.statements == 1 and #info == 0,
    }
end

return judgement
