-- The query multiplexer: one connection to watch a whole fleet.
--
-- A client sends a query to many servers at once, and gets their rows as one answer, with the server's name in
-- front of each. What it can say is in `commands` below, and in HELP.

local checks = require "dpml.support.checks"
local dsn = require "dpml.multiplexer.dsn"
local errors = require "dpml.support.errors"
local fleet = require "dpml.multiplexer.fleet"
local multiplexer_figures = require "dpml.multiplexer.figures"
local kills = require "dpml.kills"
local help = require "dpml.multiplexer.help"
local merge = require "dpml.multiplexer.merge"
local results = require "dpml.results"
local rounds = require "dpml.multiplexer.rounds"
local services = require "dpml.services"
local client_probes = require "dpml.services.client_probes"
local like = require "dpml.text.like"
local scanner = require "dpml.text.scanner"

local multiplexer = {}

local STARTED = dpm.monotonic()
local LONGLONG = dpm.MYSQL_TYPE_LONGLONG
local LONGEST_QUERY = 1024 * 1024

local function not_understood()
    return errors.new(666, "66666", "Multiplexer does not understand.")
end

local function number_column(name)
    return { name = name, type = LONGLONG, charset_number = 63, length = 20 }
end

-- Statements --------------------------------------------------------------------------------------

-- Refuses statements that may change data, unless allow_writes is set.
local function check_statement(mux, sql)
    local kind, info = dpm.statement_kind(sql)
    if not kind then
        error(dsn.problem("There is no statement to send"))
    elseif #sql > LONGEST_QUERY then
        error(dsn.problem("A query has at most %d bytes", LONGEST_QUERY)) -- it is kept as long as its rounds
    elseif info.multi > 1 then
        error(dsn.problem("One statement at a time"))
    elseif not info.read_only and not mux.allow_writes then
        error(errors.new(1290, "HY000", ("The multiplexer is running without allow_writes, and it cannot be proven that "
            .. "this statement (%s) changes nothing"):format(kind)))
    end
end

local function seconds(text)
    local value = tonumber(text)
    if not value or value < 0 or value > 86400 then
        error(dsn.problem("timeout: expected seconds from 0 to 86400, got '%s'", text))
    end
    return value
end

local function servers_of(mux, group)
    local servers, err = mux.fleet:resolve(group)
    if not servers then
        error(err)
    end
    return servers
end

-- The ROUND n at the end of FETCH, which no query ends with. It is read from the end on.
local function split_round(sql)
    local digits, rest = sql:reverse():match("^(%d+)%s+[Dd][Nn][Uu][Oo][Rr]%s+()%S")
    if digits then
        return sql:sub(1, #sql - rest + 1), tonumber(digits:reverse())
    end
    return sql
end

local function send_round(mux, session, round)
    rounds.use(round, function()
        rounds.wait(round)
        local warnings = rounds.warnings(round)
        session.warnings = warnings
        merge.send(session.client, round, #warnings)
    end)
end

-- Commands ----------------------------------------------------------------------------------------

-- R6's columns, all as text: scripts parse this output.
local DB_STATUS = { "DSN", "active", "queue", "disconnects", "retries", "queries" }
local FULL_DB_STATUS = {
    "groups", "version", "last_error", "last_error_at", { name = "p50_ms", type = dpm.MYSQL_TYPE_DOUBLE, decimals = 31 },
    { name = "p95_ms", type = dpm.MYSQL_TYPE_DOUBLE, decimals = 31 }, number_column "in_flight", number_column "bytes",
}

local function groups_of(mux, label)
    local names = {}
    for name, labels in pairs(mux.fleet.groups) do
        if labels[label] then
            names[#names + 1] = name
        end
    end
    table.sort(names)
    return table.concat(names, "+")
end

local function rounded(milliseconds)
    return milliseconds and math.floor(milliseconds * 1000 + 0.5) / 1000
end

local function show_db_status(mux, full, pattern)
    local fields, rows = { unpack(DB_STATUS) }, {}
    for _, field in ipairs(full and FULL_DB_STATUS or {}) do
        fields[#fields + 1] = field
    end
    local is_wanted = like.matcher(pattern)
    for _, server in ipairs(mux.fleet:all()) do
        if is_wanted(server.label) then
            local row = { server.label, server.active and "1" or "0", #server.queue + server.in_flight,
                server.disconnects, server.retries, server.queries }
            if full then
                row[7], row[8], row[9] = groups_of(mux, server.label), server.version, server.last_error and tostring(server.last_error)
                row[10] = server.last_error_at and os.date("%Y-%m-%d %H:%M:%S", server.last_error_at)
                row[11], row[12] = rounded(server:percentile(0.5)), rounded(server:percentile(0.95))
                row[13], row[14] = server.in_flight, server.bytes
            end
            rows[#rows + 1] = row
        end
    end
    for i = 1, #DB_STATUS do
        fields[i] = { name = fields[i], type = dpm.MYSQL_TYPE_VAR_STRING }
    end
    return { fields = fields, rows = rows }
end

local function show_groups(mux)
    local rows = {}
    for name, labels in pairs(mux.fleet.groups) do
        local list = {}
        for label in pairs(labels) do
            list[#list + 1] = label
        end
        table.sort(list)
        rows[#rows + 1] = { name, #list, table.concat(list, ",") }
    end
    table.sort(rows, function(a, b) return a[1] < b[1] end)
    return { fields = { "group", number_column "servers", "members" }, rows = rows }
end

local function show_polls(mux)
    local rows = {}
    for _, poll in ipairs(mux.rounds.order) do
        local latest = poll.rounds[#poll.rounds]
        local missing = latest and rounds.missing(latest)
        rows[#rows + 1] = {
            poll.group, poll.sql, poll.every or dpm.NULL, poll.rounds[1] and poll.rounds[1].of_poll or dpm.NULL,
            latest and latest.of_poll or dpm.NULL, latest and #latest.answers - latest.left or 0,
            latest and latest.left or 0, latest and latest.left == 0 and missing or dpm.NULL,
            latest and os.date("%Y-%m-%d %H:%M:%S", latest.at) or dpm.NULL,
        }
    end
    return {
        fields = { "group", "query", { name = "every", type = dpm.MYSQL_TYPE_DOUBLE, decimals = 31 },
            number_column "first_round", number_column "last_round", number_column "answered",
            number_column "waiting", number_column "missing", "started" },
        rows = rows,
    }
end

-- Each has its first words, and a function of what follows them, which a scanner reads.
local commands = {}

local function command(words, fn)
    commands[#commands + 1] = { words = words, fn = fn }
end

-- What a command needs to have; without it, it is not understood.
local function needed(value)
    return value or error(not_understood())
end

command({ "ADD", "DB" }, function(mux, _, args)
    local entry, err = dsn.parse(needed(args:rest()))
    err = err or mux.fleet:check_room(mux.limits, 1, #entry.groups)
    local label
    if not err then
        label, err = mux.fleet:add(entry)
    end
    if not label then
        error(err)
    end
    return { affected_rows = 1 }
end)

command({ "REMOVE", "DB" }, function(mux, _, args)
    local label = needed(args:word())
    needed(args:is_over())
    label = scanner.unquoted(label) or label
    if not mux.fleet:remove(label) then
        error(dsn.problem("REMOVE DB: there is no server '%s'", label))
    end
    return { affected_rows = 1 }
end)

command({ "ADD", "GROUP" }, function(mux, _, args)
    local name, labels = needed(args:word()), {}
    needed(not name:find(",", 1, true))
    for label in needed(args:rest()):gmatch("[^,%s]+") do
        labels[#labels + 1] = label
    end
    local err, count = mux.fleet:check_room(mux.limits, 0, #labels), nil
    if not err then
        count, err = mux.fleet:add_group(name, labels)
    end
    if not count then
        error(err)
    end
    return { affected_rows = count }
end)

local function db_status(full)
    return function(mux, _, args)
        local pattern = args:take("LIKE") and needed(args:quoted())
        needed(pattern or args:is_over())
        return show_db_status(mux, full, pattern)
    end
end

command({ "SHOW", "DB", "STATUS" }, db_status(false))
command({ "SHOW", "FULL", "DB", "STATUS" }, db_status(true))

-- The multiplexer's own status. innotop first asks for the uptime.
local function show_status(sql)
    local counters = dpm.stats()
    local values = {
        Uptime = math.floor((dpm.monotonic() - STARTED) / 1000), Questions = counters.commands,
        Threads_connected = counters.clients, Threads_running = 1,
    }
    for name, value in pairs(counters) do
        values["dpm_" .. name] = value
    end
    return client_probes.name_value_result(values, sql)
end

local function without_arguments(show)
    return function(mux, _, args)
        needed(args:is_over())
        return show(mux)
    end
end

command({ "SHOW", "GROUPS" }, without_arguments(show_groups))
command({ "SHOW", "POLLS" }, without_arguments(show_polls))

local function poll_every(mux, group, timeout, args)
    local period = seconds(needed(args:number()))
    local sql = needed(args:rest())
    check_statement(mux, sql)
    if period < 0.01 then
        error(dsn.problem("EVERY: expected at least 0.01 seconds"))
    end
    local poll, err = mux.rounds:repeat_every(period, group, function(names)
        return mux.fleet:resolve(names)
    end, seconds(timeout), sql)
    if not poll then
        error(err)
    end
    return { affected_rows = #poll.rounds[#poll.rounds].answers }
end

-- Starts a round of the query that the arguments name.
local function start_round(mux, group, timeout, args)
    local sql = needed(args:rest())
    check_statement(mux, sql)
    return mux.rounds:start(group, servers_of(mux, group), seconds(timeout), sql)
end

command({ "POLL" }, function(mux, _, args)
    local group, timeout = needed(args:word()), needed(args:number())
    if args:take("EVERY") then
        return poll_every(mux, group, timeout, args)
    end
    return { affected_rows = #start_round(mux, group, timeout, args).answers }
end)

command({ "QUERY" }, function(mux, session, args)
    send_round(mux, session, start_round(mux, needed(args:word()), needed(args:number()), args))
end)

command({ "FETCH" }, function(mux, session, args)
    local group, sql = needed(args:word()), needed(args:rest())
    local round = mux.rounds:find(group, sql)
    if not round then
        local query, number = split_round(sql)
        if not mux.rounds:poll(group, query) then
            error(dsn.problem("FETCH: this was not polled, or is forgotten: SHOW POLLS tells what was"))
        end
        round = mux.rounds:find(group, query, number)
        if not round then
            error(dsn.problem("FETCH: round %d is not kept: SHOW POLLS tells which are", number))
        end
    end
    send_round(mux, session, round)
end)

command({ "FORGET" }, function(mux, _, args)
    local group = needed(args:word())
    if group:upper() == "ALL" and args:is_over() then
        local count = #mux.rounds.order
        while mux.rounds.order[1] do
            mux.rounds:forget(mux.rounds.order[1])
        end
        return { affected_rows = count }
    end
    local poll = mux.rounds:poll(group, needed(args:rest()))
    if not poll then
        error(dsn.problem("FORGET: this was not polled"))
    end
    mux.rounds:forget(poll)
    return { affected_rows = 1 }
end)

command({ "HELP" }, function(_, _, args) return help.answer(args:rest()) end)

-- Runs a client's statement; returns the result, or nothing if it has been sent.
local function run(mux, session, sql)
    session.warnings = nil
    if client_probes.asks_for_status(sql) then
        return show_status(sql)
    end
    local args = scanner.new(dpm.trim_sql(sql))
    for _, each in ipairs(commands) do
        if args:take(unpack(each.words)) then
            return each.fn(mux, session, args)
        end
    end
    error(not_understood())
end

-- The service -------------------------------------------------------------------------------------

local DEFAULT_LIMITS = {
    server_rows = 1000000, server_bytes = 16 * 1024 * 1024, round_bytes = 128 * 1024 * 1024,
    memory = 512 * 1024 * 1024, rounds = 3, polls = 100,
    members = 10000, memberships = 100000,
}

local NAME = "dpml.multiplex"
local OPTIONS = {
    users = "a table", authenticate = "a function", fleet = "a table or string", allow_writes = "a boolean",
    limits = "a table", server_version = "a string", collation = "a string or integer", capabilities = "a table",
}
local LIMITS = {}
for name in pairs(DEFAULT_LIMITS) do
    LIMITS[name] = "a number"
end

local function limits_of(given)
    checks.options(NAME, given or {}, LIMITS, "limit")
    return setmetatable(given or {}, { __index = DEFAULT_LIMITS })
end

-- Loads the fleet from its file, or from the given table.
local function read_fleet(source)
    if type(source) ~= "string" then
        return source
    end
    local chunk, problem = loadfile(source)
    if not chunk then
        error(problem, 0)
    end
    local list = chunk()
    if type(list) ~= "table" then
        error(source .. ": expected a table of servers to be returned, got " .. type(list), 0)
    end
    return list
end

local function load_fleet(mux, source)
    local ok, list = pcall(read_fleet, source)
    local problem = not ok and list or mux.fleet:load(list) -- all of it, or nothing
    if not problem and list.users then
        mux.users = list.users
    end
    return problem
end

local function reload_on_hup(mux, source)
    local before = dpm.on_signal("HUP")
    dpm.on_signal("HUP", function()
        local problem = load_fleet(mux, source)
        if problem then
            dpm.log("error", ("%s: the fleet stays as it is: %s"):format(source, tostring(problem)))
        else
            dpm.log("info", ("%s: %d servers"):format(source, #mux.fleet.order))
        end
        if before then
            before()
        end
    end)
end

-- Serves the clients of `listener`. `users` or `authenticate` say who may log in, as with accept_clients; a
-- fleet's file may have `users`, too. `fleet` is a list of servers, { { host =, user =, … }, …, users = { … }
-- }, or the path of a Lua file that returns one, which is read again on HUP. `allow_writes`: statements that
-- change data are sent, too. `limits`: server_rows, server_bytes, round_bytes, memory, rounds, polls,
-- members, memberships.
function multiplexer.serve(listener, options)
    checks.argument(NAME, "listener", listener, "a listener")
    checks.options(NAME, options, OPTIONS)
    local limits = limits_of(options.limits)
    local mux = {
        fleet = fleet.new(), rounds = rounds.new(limits), limits = limits, allow_writes = options.allow_writes,
        users = options.users,
    }
    if options.fleet then
        local problem = load_fleet(mux, options.fleet)
        if problem then
            checks.fail(NAME, "fleet: " .. tostring(problem))
        end
        if type(options.fleet) == "string" then
            reload_on_hup(mux, options.fleet)
        end
    end
    if not mux.users and not options.authenticate then
        checks.fail(NAME, "who may log in? One of users and authenticate must be given")
    end
    multiplexer_figures.add(mux.fleet, listener)
    services.accept_clients(listener, {
        authenticate = options.authenticate or function(user)
            return mux.users[user], select(2, next(mux.users))
        end,
        version_comment = "dpm multiplexer",
        server_version = options.server_version,
        collation = options.collation,
        capabilities = options.capabilities,
        new_command = function(cmd, _, session)
            if cmd:command() ~= dpm.COM_QUERY then
                error(errors.new(1047, "08S01", "Unknown command"))
            end
            local sql = cmd:argument()
            if dpm.statement_kind(sql) == "KILL" then
                error(kills.refusal(cmd) or not_understood())
            end
            return run(mux, session, sql)
        end,
    })
    return mux
end

return multiplexer
