-- What a pool shows of itself. Each figure is declared once, here: its name, its type, and how it is read from what the
-- pool tells. Both SHOW … and pool:status() come from it.

local checks = require "dpml.checks"

local figures = {}

local BINARY, UTF8 = 63, 45 -- collations: binary, as numbers have it, and utf8mb4_general_ci

local TEXT = { type = dpm.MYSQL_TYPE_VAR_STRING, charset_number = UTF8, length = 4096 }
local INTEGER = { type = dpm.MYSQL_TYPE_LONGLONG, charset_number = BINARY, length = 20 }
local SECONDS = { type = dpm.MYSQL_TYPE_DOUBLE, charset_number = BINARY, length = 22, decimals = 3 }
local MOMENT = { type = dpm.MYSQL_TYPE_DATETIME, charset_number = BINARY, length = 19 }

-- How a figure is read: each of these makes a function of what the pool tells of one thing. Times are told as ages, in
-- seconds. `literals`: whether statements are shown as they were sent.

local function told(name)
    return function(entry)
        return entry[name]
    end
end

local function age(name)
    return function(entry)
        return entry[name] and math.floor(entry[name] * 1000 + 0.5) / 1000
    end
end

local function moment(name)
    return function(entry)
        return entry[name] and os.date("%Y-%m-%d %H:%M:%S", math.floor(os.time() - entry[name] + 0.5))
    end
end

local function statement(entry, literals)
    local sql = entry.statement
    return sql and (literals and sql or (dpm.digest(sql)))
end

-- What the native pool tells of its servers, and what was found out about each.
local function servers_of(pool)
    local list, views = pool.native:servers(), pool.topology and pool.topology.views or {}
    for _, server in ipairs(list) do
        local view = views[server.server] or {}
        server.lag, server.why = view.lag, view.why
    end
    return list
end

-- The tables by their names. What there is to tell comes from the function of this name of the native pool, or from `of`.
local tables = {
    pools = {
        about = "connections that can stand for each other, and who waits for one",
        { "Account", TEXT, told "account" },
        { "Capabilities", TEXT, told "capabilities" },
        { "State", TEXT, told "state" },
        { "Clients", INTEGER, told "clients" },
        { "Held", INTEGER, told "held" },
        { "Waiting", INTEGER, told "waiting" },
        { "First_waiter_seconds", SECONDS, age "maxwait" },
        { "Connections", INTEGER, told "connections" },
        { "Free", INTEGER, told "free" },
    },
    servers = {
        about = "the servers, what is known of them, and how many connections to them are in use",
        of = servers_of,
        { "Server", TEXT, told "server" },
        { "Role", TEXT, told "role" },
        { "State", TEXT, told "state" },
        { "Weight", INTEGER, told "weight" },
        { "Connections", INTEGER, told "connections" },
        { "Free", INTEGER, told "free" },
        { "Busy", INTEGER, told "busy" },
        { "Opening", INTEGER, told "opening" },
        { "Size", INTEGER, told "size" },
        { "Lag_seconds", INTEGER, told "lag" },
        { "Problem", TEXT, told "why" },
    },
    clients = {
        about = "who is logged in, and what each does",
        { "Client", INTEGER, told "client" },
        { "User", TEXT, told "user" },
        { "Host", TEXT, told "host" },
        { "State", TEXT, told "state" },
        { "Seconds", SECONDS, age "since" },
        { "Reason", TEXT, told "reason" },
        { "Server", TEXT, told "server" },
        { "Thread", INTEGER, told "thread" },
    },
    held = {
        about = "who keeps a connection, why, since when, and what to do about it",
        order = "Seconds",
        { "Client", INTEGER, told "client" },
        { "User", TEXT, told "user" },
        { "Server", TEXT, told "server" },
        { "Thread", INTEGER, told "thread" },
        { "Reason", TEXT, told "reason" },
        { "Statement", TEXT, statement },
        { "Since", MOMENT, moment "since" },
        { "Seconds", SECONDS, age "since" },
        { "Advice", TEXT, told "advice" },
    },
    refused = {
        about = "statements that could not be answered rightly, and what to do about them",
        order = "Times",
        { "Reason", TEXT, told "reason" },
        { "Statement", TEXT, statement },
        { "Times", INTEGER, told "times" },
        { "Last", MOMENT, moment "since" },
        { "User", TEXT, told "user" },
        { "Advice", TEXT, told "advice" },
    },
    counters = {
        about = "what has happened since the start, and how often",
        { "Counter", TEXT, told "name" },
        { "Value", INTEGER, told "value" },
        { "Meaning", TEXT, told "description" },
    },
}

-- The tables in the order in which HELP and SHOW TABLES list them.
figures.NAMES = { "pools", "servers", "clients", "held", "refused", "counters" }

local KNOWN = {}
for _, name in ipairs(figures.NAMES) do
    KNOWN[name] = true
end

function figures.about(name)
    return tables[name].about
end

-- The columns of a table, as results have them.
function figures.columns(name)
    local columns = {}
    for i, figure in ipairs(tables[name]) do
        local column = { name = figure[1] }
        for key, value in pairs(figure[2]) do
            column[key] = value
        end
        columns[i] = column
    end
    return columns
end

-- The name of the column whose largest values come first, unless a statement says otherwise; nil for the order in which
-- the pool tells them.
function figures.order(name)
    return tables[name].order
end

-- The rows of a table. With `literals` statements are shown as they were sent.
function figures.rows(pool, name, literals)
    local its, rows = tables[name], {}
    local entries = its.of and its.of(pool) or pool.native[name](pool.native)
    for i, entry in ipairs(entries) do
        local row = {}
        for column, figure in ipairs(its) do
            row[column] = figure[3](entry, literals)
        end
        rows[i] = row
    end
    return rows
end

-- The counters by their names.
function figures.counters(pool)
    local values = {}
    for _, counter in ipairs(pool.native:counters()) do
        values[counter.name] = counter.value
    end
    return values
end

-- A table for Lua: { [figure's name in lower case] = value } for each row.
local function records(pool, name, literals)
    if name == "counters" then
        return figures.counters(pool)
    end
    local all = {}
    for i, row in ipairs(figures.rows(pool, name, literals)) do
        local record = {}
        for column, figure in ipairs(tables[name]) do
            record[figure[1]:lower()] = row[column]
        end
        all[i] = record
    end
    return all
end

-- One of the tables for Lua, or all of them by their names. `options` may have `literals`.
function figures.status(pool, name, options)
    options = options or {}
    checks.options("pool:status", options, { literals = "a boolean" })
    if name ~= nil then
        checks.options("pool:status", { [name] = true }, KNOWN, "table")
        return records(pool, name, options.literals)
    end
    local status = {}
    for _, each in ipairs(figures.NAMES) do
        status[each] = records(pool, each, options.literals)
    end
    return status
end

return figures
