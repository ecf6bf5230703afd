-- The pool's administrative statements: SHOW …, DRAIN SERVER, PAUSE POOL and so on, as a service of its own.

local checks = require "dpml.checks"
local client_probes = require "dpml.client_probes"
local errors = require "dpml.errors"
local figures = require "dpml.pool.figures"
local kills = require "dpml.kills"
local logins = require "dpml.logins"
local selection = require "dpml.selection"
local services = require "dpml.services"
local token_reader = require "dpml.token_reader"

local admin = {}

local DATABASE = "pool" -- what SHOW DATABASES lists: graphical clients look for the tables in there

local function not_understood(problem)
    return errors.new(1064, "42000", problem .. ". SHOW HELP lists what is known here")
end

-- What a statement needs to have behind its first words; without it, it is not understood.
local function needed(value)
    return value or error(not_understood("This statement ends in a way that is not understood"), 0)
end

local function at_end(reader)
    return needed(reader:at_end())
end

-- Tables ------------------------------------------------------------------------------------------

-- The rows of a table that the rest of the statement asks for.
local function table_result(context, reader, its)
    local columns, rows = its:columns(), {}
    local choose = needed(selection.read(reader, columns, its:default_order()))
    for row in its:shown(context, context.pool) do
        rows[#rows + 1] = row
    end
    return { columns = columns, rows = choose(rows) }
end

local function table_named(context, name)
    for _, each in ipairs(figures.tables(context.pool)) do
        if each.name == name then
            return each
        end
    end
end

-- The names behind SELECT, up to FROM; nil for *.
local function take_names(reader)
    if reader:take("*") then
        return nil
    end
    local names = {}
    repeat
        names[#names + 1] = needed(reader:name())
    until not reader:take(",")
    return names
end

-- SELECT * FROM held …, or some of the columns: for programs that know SELECT only.
local function select(context, reader)
    local names = take_names(reader)
    needed(reader:take("FROM"))
    local name = needed(reader:name())
    if reader:take(".") then
        name = needed(reader:name())
    end
    local its = table_named(context, name:lower())
    if not its then
        error(errors.new(1146, "42S02", ("Table '%s.%s' doesn't exist; SHOW TABLES lists those that do"):format(DATABASE, name)), 0)
    end
    local result = table_result(context, reader, its)
    return names and selection.project(result, names) or result
end

-- Acting ------------------------------------------------------------------------------------------

-- The name of a server: a word, or text in quotes.
local function take_server(reader)
    local name = reader:text() or reader:quoted_name()
    if not name then
        name = needed(reader:rest())
    end
    at_end(reader)
    return name
end

local function unknown_server(name)
    return errors.new(1477, "HY000", ("There is no server '%s'; SHOW SERVERS lists them"):format(name))
end

local function drain(context, reader)
    local name = take_server(reader)
    if not context.pool.native:drain(name) then
        error(unknown_server(name), 0)
    end
    return { affected_rows = 1, message = ("%s gets no more work; SHOW SERVERS tells when it has none left"):format(name) }
end

local function enable(context, reader)
    local name = take_server(reader)
    if not context.pool.native:enable(name) then
        error(unknown_server(name), 0)
    end
    return { affected_rows = 1 }
end

local function pause(context, reader)
    at_end(reader)
    context.pool.native:pause()
    return { message = "Commands wait from now on, until RESUME POOL" }
end

local function resume(context, reader)
    at_end(reader)
    context.pool.native:resume()
    return {}
end

local function kill(context, cmd)
    local list = cmd:kills() or {}
    local victim = list[1]
    if not victim or list[2] or not victim.id then
        error(kills.NOT_HERE, 0)
    elseif victim.query_only then
        error(errors.new(1295, "HY000", "Only whole clients are killed here: KILL n. Their statements are killed through the pool, "
            .. "by a KILL QUERY n of the same user"), 0)
    elseif not context.pool.native:kill(victim.id) then
        error(errors.new(1094, "HY000", ("Unknown thread id: %.0f; SHOW CLIENTS lists them"):format(victim.id)), 0)
    end
    return {}
end

-- The statements that act, by their first words.
local statements = {
    { "DRAIN SERVER name", { "DRAIN", "SERVER" }, drain, "gives a server no more work; what runs or is held there may end" },
    { "ENABLE SERVER name", { "ENABLE", "SERVER" }, enable, "takes it into use again" },
    { "PAUSE POOL", { "PAUSE", "POOL" }, pause, "commands wait, but for those of clients that hold a connection" },
    { "RESUME POOL", { "RESUME", "POOL" }, resume, "they go on, in the order of their coming" },
}

local function help(context, reader)
    at_end(reader)
    local rows = {}
    for _, each in ipairs(figures.tables(context.pool)) do
        rows[#rows + 1] = { "SHOW " .. each.name:upper(), each.help }
    end
    rows[#rows + 1] = { "SHOW STATUS", "the counters, in the form of a server's" }
    rows[#rows + 1] = { "SELECT * FROM name", "the same as SHOW name, for programs" }
    for _, statement in ipairs(statements) do
        rows[#rows + 1] = { statement[1], statement[4] }
    end
    rows[#rows + 1] = { "KILL n", "closes the client with this Id; its transaction is rolled back" }
    rows[#rows + 1] = { "… LIKE 'a%'", "only rows with such a first column" }
    rows[#rows + 1] = { "… WHERE column = value", "only those rows; also <, >, LIKE, IN, IS NULL, AND, OR, NOT, ( )" }
    rows[#rows + 1] = { "… ORDER BY column DESC LIMIT n", "sorts and limits; a statement may end in several of these" }
    return { columns = { "Statement", "What it does" }, rows = rows }
end

-- What SHOW has besides the tables ------------------------------------------------------------------

local function names_result(reader, title, names)
    local rows, columns = {}, { { name = title, type = dpm.MYSQL_TYPE_VAR_STRING } }
    for i, name in ipairs(names) do
        rows[i] = { name }
    end
    return { columns = columns, rows = needed(selection.read(reader, columns))(rows) }
end

local function status(context, _, sql)
    return client_probes.name_value_result(figures.status(context.pool, "counters"), sql)
end

local function databases(_, reader)
    return names_result(reader, "Database", { DATABASE })
end

local function table_names(context, reader)
    if reader:take("FROM") or reader:take("IN") then
        needed(reader:name())
    end
    local names = {}
    for i, each in ipairs(figures.tables(context.pool)) do
        names[i] = each.name
    end
    return names_result(reader, "Tables_in_" .. DATABASE, names)
end

local shows = { STATUS = status, DATABASES = databases, SCHEMAS = databases, TABLES = table_names, HELP = help }

local function show(context, reader, sql)
    client_probes.take_scope(reader)
    local word = reader:take_kind("word")
    local name = needed(word).text:upper()
    local its = table_named(context, name:lower())
    if its then
        return table_result(context, reader, its)
    elseif shows[name] then
        return shows[name](context, reader, sql)
    end
    error(not_understood("There is no SHOW " .. name), 0)
end

local function answer(context, cmd)
    local sql = cmd:argument()
    if dpm.statement_kind(sql) == "KILL" then
        return kill(context, cmd)
    end
    local reader = token_reader.statement(sql)
    if not reader then
        error(not_understood("One complete statement is expected"), 0)
    elseif reader:take("SHOW") then
        return show(context, reader, sql)
    elseif reader:take("SELECT") then
        return select(context, reader)
    elseif reader:take("HELP") then -- the command-line clients answer that themselves
        return help(context, reader)
    end
    for _, statement in ipairs(statements) do
        if reader:take_all(unpack(statement[2])) then
            return statement[3](context, reader)
        end
    end
    error(not_understood("This statement is not known"), 0)
end

-- The service -------------------------------------------------------------------------------------

local NAME = "pool:admin"
local OPTIONS = checks.union({ literals = "a boolean", version_comment = "a string" }, logins.OPTIONS)

-- Answers administrative statements for the clients of `listener`. `options` say who may log in, as
-- those of dpml.accept_clients do. With `literals` statements are shown with their literals.
function admin.serve(pool, listener, options)
    checks.argument(NAME, "listener", listener, "a listener")
    checks.options(NAME, options, OPTIONS)
    logins.check_accounts(NAME, options)
    local context = { pool = pool, literals = options.literals }
    local service = { version_comment = "dpm pool" }
    for name, value in pairs(options) do
        service[name] = value
    end
    service.literals = nil
    function service.new_command(cmd)
        if cmd:command() ~= dpm.COM_QUERY then
            error(errors.new(1047, "08S01", "Unknown command"), 0)
        end
        return answer(context, cmd)
    end
    services.accept_clients(listener, service)
end

return admin
