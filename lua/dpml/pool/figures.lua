-- What a pool shows of itself: its tables, each declared once, for the pool's own administrative statements, for
-- pool:status(), and (with the pool in their first column) for those who look at the whole program.

local checks = require "dpml.support.checks"
local everywhere = require "dpml.admin.everywhere"
local figures = require "dpml.figures"

local pool_figures = {}

-- How a figure is read: each of these makes a function of what the native pool tells of one thing. It tells times as ages,
-- in seconds. `options.literals`: whether statements are shown as they were sent.

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

local function statement(entry, options)
    local sql = entry.statement
    return sql and (options.literals and sql or (dpm.digest(sql)))
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

local function told(name)
    return function(pool)
        return pool.native[name](pool.native)
    end
end

local function counters_of(pool)
    local values = {}
    for _, counter in ipairs(pool.native:counters()) do
        values[counter.name] = counter.value
    end
    return { values }
end

local function label(name, help)
    return { name = name, kind = "label", help = help }
end

local function note(name, help, read)
    return { name = name, kind = "note", help = help, read = read }
end

local function gauge(name, help)
    return { name = name, kind = "gauge", type = "integer", help = help }
end

local function number(name, help)
    return { name = name, kind = "note", type = "integer", help = help }
end

local function seconds(name, help, read, kind)
    return { name = name, kind = kind or "note", type = "number", unit = "seconds", merge = "largest", help = help, read = read }
end

local SERVER = label("server", "the server, as the pool's options name it")
local THREAD = number("thread", "the connection's number at the server")
local CLIENT, USER = number("client", "the client's number"), note("user", "the user's name")
local ADVICE = note("advice", "what to do about it")
local STATEMENT = note("statement", "the statement that was the reason", statement)

-- In the order in which HELP and SHOW TABLES list them. `everywhere` is the name among all figures of the program.
local TABLES = {
    {
        name = "pools", everywhere = "pools", entries = told "pools",
        help = "connections that can stand for each other, and who waits for one",
        columns = {
            label("account", "the account at the servers"),
            label("capabilities", "what was negotiated that makes a difference"),
            note("state", "active or paused"),
            gauge("clients", "clients that are logged in"),
            gauge("held", "clients that keep a connection"),
            gauge("waiting", "clients that wait for a connection"),
            seconds("first_waiter_seconds", "for how long the first of them has waited", age "maxwait", "gauge"),
            gauge("connections", "connections to servers"),
            gauge("free", "those that nobody uses"),
        },
    },
    {
        name = "servers", everywhere = "pool_servers", entries = servers_of,
        help = "the servers, what is known of them, and how many connections to them are in use",
        columns = {
            SERVER,
            note("role", "primary or replica"),
            note("state", "up, down, draining or the like"),
            { name = "weight", kind = "gauge", type = "integer", merge = "largest", help = "the share of reads that it gets" },
            gauge("connections", "connections to it"),
            gauge("free", "those that nobody uses"),
            gauge("busy", "those that are in use"),
            gauge("opening", "those that are being opened"),
            { name = "size", kind = "gauge", type = "integer", merge = "largest", help = "how many there may be" },
            { name = "lag_seconds", kind = "gauge", type = "integer", unit = "seconds", merge = "largest", help = "how late the replica is",
                read = function(entry) return entry.lag end },
            note("problem", "why it is not used", function(entry) return entry.why end),
        },
    },
    {
        name = "clients", everywhere = "pool_clients", metrics = false, entries = told "clients",
        help = "who is logged in, and what each does",
        columns = {
            CLIENT, USER,
            note("host", "where it comes from"),
            note("state", "what it does"),
            seconds("seconds", "since when", age "since"),
            note("reason", "why it keeps its connection"),
            note("server", "the server that it has a connection to"),
            THREAD,
        },
    },
    {
        name = "held", everywhere = "pool_held", metrics = false, order = "seconds", entries = told "held",
        help = "who keeps a connection, why, since when, and what to do about it",
        columns = {
            CLIENT, USER,
            note("server", "the server that the connection is to"),
            THREAD,
            note("reason", "why it keeps the connection"),
            STATEMENT,
            { name = "since", kind = "note", type = "time", help = "since when", read = moment "since" },
            seconds("seconds", "for how long", age "since"),
            ADVICE,
        },
    },
    {
        name = "refused", everywhere = "pool_refused", metrics = false, order = "times", entries = told "refused",
        help = "statements that could not be answered rightly, and what to do about them",
        columns = {
            note("reason", "why"),
            STATEMENT,
            number("times", "how often"),
            { name = "last", kind = "note", type = "time", help = "when it was the last time", read = moment "since" },
            USER, ADVICE,
        },
    },
}

local tables = {} -- what the pool's own statements show
local by_name = {}

for i, declaration in ipairs(TABLES) do
    local copy = {}
    for key, value in pairs(declaration) do
        copy[key] = value
    end
    copy.everywhere = nil
    copy.entries = function(_, pool)
        return declaration.entries(pool)
    end
    tables[i] = figures.new(copy)
    by_name[declaration.name] = tables[i]
end

local KNOWN = { counters = true }
for _, declaration in ipairs(TABLES) do
    KNOWN[declaration.name] = true
end

-- The counters are declared with the native pool, which says what they are once there is one.
local function counters_table(pool)
    if not by_name.counters then
        local columns = {}
        for i, counter in ipairs(pool.native:counters()) do
            columns[i] = { name = counter.name, kind = "counter", type = "integer", help = counter.description }
        end
        by_name.counters = figures.new {
            name = "counters", help = "what has happened since the start, and how often", list = true, columns = columns,
            entries = function(_, of) return counters_of(of) end,
        }
        tables[#tables + 1] = by_name.counters
    end
    return by_name.counters
end

-- The tables of a pool, in order.
function pool_figures.tables(pool)
    counters_table(pool)
    return tables
end

-- One table for Lua, or all of them by their names: { [column] = value } for each row. `options` may have `literals`, and
-- `all_workers`, for tasks: then those of all workers are told.
function pool_figures.status(pool, name, options)
    options = options or {}
    checks.options("pool:status", options, { literals = "a boolean", all_workers = "a boolean" })
    local function records(each)
        if not options.all_workers then
            return each:records(options, pool)
        end
        local merged = everywhere.merged(each, options, pool)
        return each.list and (merged[1] or {}) or merged
    end
    counters_table(pool)
    if name ~= nil then
        checks.options("pool:status", { [name] = true }, KNOWN, "table")
        return records(by_name[name])
    end
    local status = {}
    for _, each in ipairs(tables) do
        status[each.name] = records(each)
    end
    return status
end

-- Among all figures of the program -------------------------------------------------------------------

local pools = {} -- array of { pool =, name = }

local POOL = label("pool", "the pool, by the address of its listener")

-- The entries of all pools, each with the name of its pool.
local function of_all(entries)
    return function()
        local all = {}
        for _, each in ipairs(pools) do
            for _, entry in ipairs(entries(each.pool)) do
                entry.pool = each.name
                all[#all + 1] = entry
            end
        end
        return all
    end
end

local function declare_everywhere(its, name, entries, prefix)
    local columns = { POOL }
    for i, column in ipairs(its.all) do
        columns[i + 1] = column
    end
    figures.declare {
        name = name, help = its.help, columns = columns, entries = of_all(entries), order = its.order, list = its.list,
        metrics = its.metrics, prefix = prefix,
    }
end

-- All pools.
function pool_figures.pools()
    local list = {}
    for i, each in ipairs(pools) do
        list[i] = each.pool
    end
    return list
end

-- The name of a listener's pool, which is the same in all workers.
function pool_figures.name_of(listener)
    return figures.place_of(listener)
end

-- What finds the pools of this worker, for those of other workers.
pool_figures.SUBJECTS = {
    find = function(name)
        for _, each in ipairs(pools) do
            if each.name == name then
                return each.pool
            end
        end
    end,
    name_of = function(pool)
        for _, each in ipairs(pools) do
            if each.pool == pool then
                return each.name
            end
        end
    end,
    tables = function(pool)
        return pool and pool_figures.tables(pool) or {}
    end,
}

-- Shows a pool among all figures of the program.
function pool_figures.add(pool, listener)
    if not pools[1] then
        for _, declaration in ipairs(TABLES) do
            declare_everywhere(by_name[declaration.name], declaration.everywhere, declaration.entries)
        end
        declare_everywhere(counters_table(pool), "pool_counters", counters_of, "pool")
    end
    if not pools[1] and select(2, dpm.worker()) > 1 then
        everywhere.answer(pool_figures.SUBJECTS)
    end
    pools[#pools + 1] = { pool = pool, name = pool_figures.name_of(listener) }
end

return pool_figures
