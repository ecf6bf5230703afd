-- The service that answers SHOW PLANS.

local client_probes = require "dpml.services.client_probes"
local errors = require "dpml.support.errors"
local figures = require "dpml.figures"
local like = require "dpml.text.like"
local services = require "dpml.services"
local token_reader = require "dpml.text.token_reader"

local show_plans = {}

local SHORT = 100 -- bytes of a query that are shown without FULL

local FIELDS = {
    { name = "Digest" }, { name = "Database" }, { name = "User" },
    { name = "Seen", type = dpm.MYSQL_TYPE_LONGLONG }, { name = "Last_seen" },
    { name = "Longest_ms", type = dpm.MYSQL_TYPE_DOUBLE }, { name = "Explained" }, { name = "Reason" },
    { name = "Flags" }, { name = "Rows", type = dpm.MYSQL_TYPE_LONGLONG }, { name = "Tables" }, { name = "Error" },
    { name = "Query" },
}
local FULL_FIELDS = { unpack(FIELDS) }
FULL_FIELDS[#FULL_FIELDS + 1] = { name = "Plan" }

local function moment(seconds)
    return os.date("%Y-%m-%d %H:%M:%S", seconds)
end

-- A line for each step: "t: access=ref key=a rows=3 where".
local function steps_of(plan)
    local lines = {}
    for i, step in ipairs(plan.steps or {}) do
        lines[i] = ("%s: access=%s key=%s rows=%s%s"):format(step.table, step.access, step.key or "-", step.rows or "-",
            step.condition and " where" or "")
    end
    return table.concat(lines, "\n")
end

local function row_of(shape, findings, full)
    local plan = shape.plan or {}
    local query = shape.query:gsub("%z", "?")
    if not full and #query > SHORT then
        query = query:sub(1, SHORT):gsub("[\192-\255]?[\128-\191]*$", "") .. "..."
    end
    return {
        shape.digest, shape.database, plan.user, shape.seen, moment(shape.last_seen),
        math.floor(shape.longest * 10 + 0.5) / 10, plan.explained_at and moment(plan.explained_at), plan.reason,
        shape.plan and table.concat(findings(plan), ","), plan.rows, plan.tables and table.concat(plan.tables, ","),
        plan.error, query, full and steps_of(plan) or nil,
    }
end

local function plans_result(explain, findings, full, pattern)
    local is_wanted, rows = like.matcher(pattern), {}
    for _, shape in ipairs(explain:shapes_seen()) do
        if is_wanted(shape.query) then
            rows[#rows + 1] = row_of(shape, findings, full)
        end
    end
    return { fields = full and FULL_FIELDS or FIELDS, rows = rows }
end

-- Among the figures of the program ------------------------------------------------------------------

local explains = setmetatable({}, { __mode = "k" }) -- explain -> what finds faults with its plans, as long as anybody has it
local is_declared = false

local function note(name, help)
    return { name = name, kind = "note", help = help }
end

local function number(name, help, type)
    return { name = name, kind = "note", type = type or "integer", help = help }
end

local function entries()
    local list = {}
    for explain, findings in pairs(explains) do
        for _, shape in ipairs(explain:shapes_seen()) do
            local row, entry = row_of(shape, findings, false), {}
            for i, field in ipairs(FIELDS) do
                entry[field.name:lower()] = row[i]
            end
            list[#list + 1] = entry
        end
    end
    return list
end

-- Shows the plans of a dpml.autoexplain among all figures.
function show_plans.add(explain, findings)
    if not is_declared then
        is_declared = true
        figures.declare {
            name = "plans", help = "statements that auto-explain has seen, and their plans", metrics = false, order = "longest_ms",
            entries = entries,
            columns = {
                note("digest", "the statement's digest"), note("database", "where it was executed"), note("user", "who has sent it"),
                number("seen", "how often"), { name = "last_seen", kind = "note", type = "time", help = "when it was the last time" },
                number("longest_ms", "the longest time, in milliseconds", "number"),
                { name = "explained", kind = "note", type = "time", help = "when its plan was asked for" },
                note("reason", "why that was asked for"), note("flags", "what is wrong with the plan"),
                number("rows", "how many rows the plan reads"), note("tables", "its tables"), note("error", "why there is no plan"),
                note("query", "the statement, cut"),
            },
        }
    end
    explains[explain] = findings
end

-- Answers one of the statements; nil if it is none of them.
local function answer(explain, findings, sql)
    local reader = token_reader.statement(sql)
    if not reader then
        return nil
    elseif reader:take_all("RESET", "PLANS") and reader:at_end() then
        explain:reset()
        return {}
    elseif not reader:take("SHOW") then
        return nil
    end
    client_probes.take_scope(reader)
    if reader:take("STATUS") then
        return client_probes.name_value_result(explain:status(), sql)
    end
    local full = reader:take("FULL") ~= nil
    if not reader:take("PLANS") then
        return nil
    end
    local has_pattern = reader:take("LIKE") ~= nil
    local pattern = has_pattern and reader:pattern() or nil
    return reader:at_end() and has_pattern == (pattern ~= nil) and plans_result(explain, findings, full, pattern) or nil
end

-- Answers SHOW [FULL] PLANS [LIKE '…'], SHOW STATUS [LIKE '…'] and RESET PLANS on `listener`.
function show_plans.serve(explain, findings, listener, options)
    local service = {}
    for name, value in pairs(options) do
        service[name] = value
    end
    function service.new_command(cmd)
        local result = cmd:command() == dpm.COM_QUERY and answer(explain, findings, cmd:argument())
        return result
            or error(errors.new(1064, "42000", "What is known here: SHOW [FULL] PLANS [LIKE '...'], SHOW STATUS, RESET PLANS"), 0)
    end
    services.accept_clients(listener, service)
end

return show_plans
