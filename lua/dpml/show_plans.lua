-- The service that answers SHOW PLANS.

local client_probes = require "dpml.client_probes"
local errors = require "dpml.errors"
local like = require "dpml.like"
local scanner = require "dpml.scanner"
local services = require "dpml.services"

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

-- Answers SHOW [FULL] PLANS [LIKE '…'], SHOW STATUS [LIKE '…'] and RESET PLANS on `listener`.
function show_plans.serve(explain, findings, listener, options)
    local service = {}
    for name, value in pairs(options) do
        service[name] = value
    end
    function service.new_command(cmd)
        local sql = cmd:command() == dpm.COM_QUERY and dpm.trim_sql(cmd:argument()) or ""
        local words = scanner.new(sql)
        local full = words:take("SHOW", "FULL", "PLANS")
        if full or words:take("SHOW", "PLANS") then
            local is_over, pattern = words:is_over(), words:take("LIKE") and words:quoted()
            if is_over or pattern then
                return plans_result(explain, findings, full, pattern)
            end
        elseif words:take("SHOW", "STATUS") then
            return client_probes.name_value_result(explain:status(), sql)
        elseif words:take("RESET", "PLANS") and words:is_over() then
            explain:reset()
            return {}
        end
        error(errors.new(1064, "42000", "What is known here: SHOW [FULL] PLANS [LIKE '...'], SHOW STATUS, RESET PLANS"), 0)
    end
    services.accept_clients(listener, service)
end

return show_plans
