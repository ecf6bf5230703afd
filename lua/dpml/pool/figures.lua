-- What a pool shows of itself. Each figure is declared once, here: its name, its type, and how it is read from what the
-- native pool tells. Both SHOW … and pool:status() come from it.

local checks = require "dpml.checks"

local figures = {}

local BINARY, UTF8 = 63, 45 -- collations: binary, as numbers have it, and utf8mb4_general_ci

local TEXT = { type = dpm.MYSQL_TYPE_VAR_STRING, charset_number = UTF8, length = 4096 }
local INTEGER = { type = dpm.MYSQL_TYPE_LONGLONG, charset_number = BINARY, length = 20 }
local SECONDS = { type = dpm.MYSQL_TYPE_DOUBLE, charset_number = BINARY, length = 22, decimals = 3 }
local MOMENT = { type = dpm.MYSQL_TYPE_DATETIME, charset_number = BINARY, length = 19 }

-- How a figure is read: each of these makes a function of an entry and of what there is to know besides it: `now`, the
-- time on the clock of dpm.monotonic(), and whether `literals` may be shown.

local function value_of(key)
    return function(entry)
        return entry[key]
    end
end

local function yes_or_no(key)
    return function(entry)
        return entry[key] and "YES" or "NO"
    end
end

-- The seconds since the time that the entry has there.
local function age_of(key)
    return function(entry, shown)
        local since = entry[key]
        return since and math.max(0, math.floor(shown.now - since + 0.5) / 1000)
    end
end

-- The same time on the wall's clock.
local function moment_of(key)
    return function(entry, shown)
        local since = entry[key]
        return since and os.date("%Y-%m-%d %H:%M:%S", math.floor(os.time() - (shown.now - since) / 1000 + 0.5))
    end
end

local function statement(entry, shown)
    return shown.literals and entry.sql or entry.digest
end

-- The tables by their names, each with the function of the native pool that returns its entries.
local tables = {
    pools = {
        about = "connections that can stand for each other, and who waits for one",
        { "Server", TEXT, value_of "server" },
        { "Account", TEXT, value_of "account" },
        { "Connections", INTEGER, value_of "connections" },
        { "Idle", INTEGER, value_of "idle" },
        { "Busy", INTEGER, value_of "busy" },
        { "Held", INTEGER, value_of "held" },
        { "Opening", INTEGER, value_of "opening" },
        { "Waiting", INTEGER, value_of "waiting" },
        { "First_waiter_seconds", SECONDS, age_of "first_waiter_at" },
        { "Paused", TEXT, yes_or_no "is_paused" },
    },
    servers = {
        about = "the servers, what is known of them, and how much of their budget is spent",
        { "Server", TEXT, value_of "server" },
        { "Role", TEXT, value_of "role" },
        { "State", TEXT, value_of "state" },
        { "Weight", INTEGER, value_of "weight" },
        { "Size", INTEGER, value_of "size" },
        { "Connections", INTEGER, value_of "connections" },
        { "Idle", INTEGER, value_of "idle" },
        { "Busy", INTEGER, value_of "busy" },
        { "Held", INTEGER, value_of "held" },
        { "Waiting", INTEGER, value_of "waiting" },
        { "Lag_seconds", SECONDS, value_of "lag" },
        { "Last_error", TEXT, value_of "last_error" },
        { "Last_error_at", MOMENT, moment_of "last_error_at" },
    },
    clients = {
        about = "who is logged in, and what each does",
        { "Id", INTEGER, value_of "id" },
        { "User", TEXT, value_of "user" },
        { "Host", TEXT, value_of "host" },
        { "Program", TEXT, value_of "program" },
        { "Db", TEXT, value_of "schema" },
        { "State", TEXT, value_of "state" },
        { "Seconds", SECONDS, age_of "since_at" },
        { "Server", TEXT, value_of "server" },
        { "Connection", INTEGER, value_of "connection" },
        { "Held_by", TEXT, value_of "reason" },
        { "Statements", INTEGER, value_of "statements" },
        { "Switches", INTEGER, value_of "switches" },
    },
    held = {
        about = "who keeps a connection, why, since when, and what to do about it",
        order = "Seconds",
        { "Client", INTEGER, value_of "id" },
        { "User", TEXT, value_of "user" },
        { "Server", TEXT, value_of "server" },
        { "Reason", TEXT, value_of "reason" },
        { "Statement", TEXT, statement },
        { "Since", MOMENT, moment_of "since_at" },
        { "Seconds", SECONDS, age_of "since_at" },
        { "Idle_seconds", SECONDS, age_of "idle_at" },
        { "Advice", TEXT, value_of "advice" },
    },
    refused = {
        about = "statements that could not be answered rightly, and what to do about them",
        order = "Times",
        { "Reason", TEXT, value_of "reason" },
        { "Statement", TEXT, statement },
        { "Times", INTEGER, value_of "times" },
        { "Last", MOMENT, moment_of "last_at" },
        { "User", TEXT, value_of "user" },
        { "Learnt", TEXT, yes_or_no "is_learnt" },
        { "Advice", TEXT, value_of "advice" },
    },
}

-- The tables in the order in which HELP and SHOW TABLES list them.
figures.NAMES = { "pools", "servers", "clients", "held", "refused" }

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

local function entries_of(native, name)
    return native[name](native)
end

-- The rows of a table. With `literals` statements are shown as they were sent, where the pool has kept them.
function figures.rows(native, name, literals)
    local shown, rows = { now = dpm.monotonic(), literals = literals }, {}
    for i, entry in ipairs(entries_of(native, name)) do
        local row = {}
        for column, figure in ipairs(tables[name]) do
            row[column] = figure[3](entry, shown)
        end
        rows[i] = row
    end
    return rows
end

-- The same for Lua: { [figure's name in lower case] = value }.
local function records(native, name, literals)
    local all = {}
    for i, row in ipairs(figures.rows(native, name, literals)) do
        local record = {}
        for column, figure in ipairs(tables[name]) do
            record[figure[1]:lower()] = row[column]
        end
        all[i] = record
    end
    return all
end

local NAMED = { counters = true }
for _, name in ipairs(figures.NAMES) do
    NAMED[name] = true
end

-- One of the tables for Lua, or the counters; without a name all of them, by their names.
function figures.status(native, name, literals)
    checks.options("pool:status", { [name or "counters"] = true }, NAMED, "table")
    if name == "counters" then
        return native:counters()
    elseif name then
        return records(native, name, literals)
    end
    local status = { counters = native:counters() }
    for _, each in ipairs(figures.NAMES) do
        status[each] = records(native, each, literals)
    end
    return status
end

return figures
