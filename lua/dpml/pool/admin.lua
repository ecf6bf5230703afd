-- The pool's administrative statements: SHOW …, DRAIN SERVER, PAUSE POOL and so on. Those of one pool are a service of its
-- own, pool:admin; those of all are part of dpml.admin.

local checks = require "dpml.support.checks"
local errors = require "dpml.support.errors"
local figures = require "dpml.pool.figures"
local service = require "dpml.admin.service"

local admin = {}

local NAME = "pool:admin"

local function unknown_server(name)
    return errors.new(1477, "HY000", ("There is no server '%s'; SHOW SERVERS lists them"):format(name))
end

-- Calls a method of each pool with the name of a server; one of them has to know it.
local function at_server(context, method, reader)
    local name, known = service.take_name(reader), false
    for _, pool in ipairs(context.pools()) do
        known = pool.native[method](pool.native, name) or known
    end
    return known and name or error(unknown_server(name), 0)
end

local function drain(context, reader)
    local name = at_server(context, "drain", reader)
    return { affected_rows = 1, message = ("%s gets no more work; SHOW SERVERS tells when it has none left"):format(name) }
end

local function enable(context, reader)
    at_server(context, "enable", reader)
    return { affected_rows = 1 }
end

local function pause_server(context, reader)
    local name = at_server(context, "pause_server", reader)
    return { affected_rows = 1, message = ("Commands that only %s can execute wait from now on, until RESUME SERVER"):format(name) }
end

local function resume_server(context, reader)
    at_server(context, "resume_server", reader)
    return { affected_rows = 1 }
end

local function pause(context, reader)
    service.at_end(reader)
    for _, pool in ipairs(context.pools()) do
        pool.native:pause()
    end
    return { message = "Commands wait from now on, until RESUME POOL" }
end

local function resume(context, reader)
    service.at_end(reader)
    for _, pool in ipairs(context.pools()) do
        pool.native:resume()
    end
    return {}
end

local function kill(context, reader)
    if reader:take("QUERY") then
        error(errors.new(1295, "HY000", "Only whole clients are killed here: KILL n. Their statements are killed through the pool, "
            .. "by a KILL QUERY n of the same user"), 0)
    end
    reader:take("CONNECTION")
    local number = service.needed(reader:take_kind("number"))
    service.at_end(reader)
    local id = service.needed(tonumber(number.text))
    for _, pool in ipairs(context.pools()) do
        if pool.native:kill(id) then
            return {}
        end
    end
    error(errors.new(1094, "HY000", ("Unknown thread id: %.0f; SHOW CLIENTS lists them"):format(id)), 0)
end

-- The statements that act on all pools of `context.pools()`.
admin.STATEMENTS = {
    { "DRAIN SERVER name", { "DRAIN", "SERVER" }, drain, "gives a server no more work; what runs or is held there may end", "DRAIN" },
    { "ENABLE SERVER name", { "ENABLE", "SERVER" }, enable, "takes it into use again", "DRAIN" },
    { "PAUSE SERVER name", { "PAUSE", "SERVER" }, pause_server, "commands for a server wait; its connections stay open", "PAUSE" },
    { "RESUME SERVER name", { "RESUME", "SERVER" }, resume_server, "they go on", "PAUSE" },
    { "PAUSE POOL", { "PAUSE", "POOL" }, pause, "commands wait, but for those of clients that hold a connection", "PAUSE" },
    { "RESUME POOL", { "RESUME", "POOL" }, resume, "they go on, in the order of their coming", "PAUSE" },
}

local KILL = { "KILL n", { "KILL" }, kill, "closes the client with this Id; its transaction is rolled back", "KILL" }

-- Answers administrative statements for the clients of `listener`. `options` say who may log in, as
-- those of dpml.accept_clients do. With `literals` statements are shown with their literals.
function admin.serve(pool, listener, options)
    checks.argument(NAME, "listener", listener, "a listener")
    checks.options(NAME, options, service.OPTIONS)
    local statements = { unpack(admin.STATEMENTS) }
    statements[#statements + 1] = KILL
    service.serve({
        name = NAME, database = "pool", version_comment = "dpm pool", role = "admin",
        subject = pool,
        pools = function() return { pool } end,
        tables = function() return figures.tables(pool) end,
        status = function() return figures.status(pool, "counters") end,
        statements = statements,
    }, listener, options)
end

return admin
