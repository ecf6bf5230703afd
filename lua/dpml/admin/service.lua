-- A service of administrative statements: it shows tables of figures, and acts. What there is to show and to do is its
-- owner's: the whole program's (dpml.admin), or a pool's (pool:admin).

local checks = require "dpml.support.checks"
local client_probes = require "dpml.services.client_probes"
local errors = require "dpml.support.errors"
local everywhere = require "dpml.admin.everywhere"
local figures = require "dpml.figures"
local logins = require "dpml.logins"
local roles = require "dpml.admin.roles"
local schema = require "dpml.admin.schema"
local selection = require "dpml.text.selection"
local services = require "dpml.services"
local token_reader = require "dpml.text.token_reader"
local workers = require "dpml.tasks.workers"

local service = {}

local LONGEST = 65536 -- bytes of a statement
local LONGEST_LOGGED = 1000

service.OPTIONS = checks.union({ literals = "a boolean", version_comment = "a string", roles = "a table" }, logins.OPTIONS)

local function not_understood(problem)
    return errors.new(1064, "42000", problem .. ". SHOW HELP lists what is known here")
end

-- What a statement needs to have behind its first words; without it, it is not understood.
function service.needed(value)
    return value or error(not_understood("This statement ends in a way that is not understood"), 0)
end

local needed = service.needed

function service.at_end(reader)
    return needed(reader:at_end())
end

-- The name of something: a word, or text in quotes.
function service.take_name(reader)
    local name = reader:text() or reader:quoted_name() or needed(reader:rest())
    service.at_end(reader)
    return name
end

-- Showing ------------------------------------------------------------------------------------------

local function table_named(context, name)
    local its = everywhere.named(context.tables(), name)
    return its and everywhere.over(its)
end

-- SHOW POOL SERVERS is SHOW pool_servers.
local function take_table(context, reader)
    local first = reader.at
    for last = math.min(first + 2, #reader.tokens), first, -1 do
        local words = {}
        for place = first, last do
            words[#words + 1] = reader.tokens[place].text:lower()
        end
        local its = table_named(context, table.concat(words, "_"))
        if its then
            reader.at = last + 1
            return its
        end
    end
end

-- The rows of a table that the rest of the statement asks for; some of its columns, if these are named.
local function table_result(context, reader, its, names)
    local columns = its:columns()
    local wanted = needed(selection.read(reader, columns, its:default_order()))
    local next_row = wanted:of(its:shown(context.options, context.subject))
    if names then
        columns, next_row = selection.project(columns, next_row, names)
    end
    return { columns = columns, rows = next_row }
end

local function list_result(reader, columns, rows)
    local wanted, at = needed(selection.read(reader, columns)), 0
    return { columns = columns, rows = wanted:of(function()
        at = at + 1
        return rows[at]
    end) }
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

-- The schemas in which programs look for what a server has. Here they are empty.
local EMPTY = { information_schema = true, mysql = true, performance_schema = true, sys = true }

local function empty_result(names)
    local columns = {}
    for i, name in ipairs(names or { "Nothing" }) do
        columns[i] = { name = name, type = dpm.MYSQL_TYPE_VAR_STRING }
    end
    return { columns = columns, rows = {} }
end

-- SELECT * FROM held …, or some of the columns: for programs that know SELECT only.
local function select(context, reader)
    local names = take_names(reader)
    needed(reader:take("FROM"))
    local database, name = nil, needed(reader:name())
    if reader:take(".") then
        database, name = name:lower(), needed(reader:name())
    end
    if EMPTY[database] then
        return empty_result(names)
    end
    local its = table_named(context, name:lower())
    if not its then
        error(errors.new(1146, "42S02", ("Table '%s.%s' doesn't exist; SHOW TABLES lists those that do"):format(
            context.database, name)), 0)
    end
    return table_result(context, reader, its, names)
end

local function status(context, _, sql)
    return client_probes.name_value_result(context.status(), sql)
end

local function databases(context, reader)
    return list_result(reader, { { name = "Database", type = dpm.MYSQL_TYPE_VAR_STRING } }, { { context.database } })
end

local function help(context, reader)
    local rows = {}
    for _, each in ipairs(context.tables()) do
        rows[#rows + 1] = { "SHOW " .. each.name:upper():gsub("_", " "), each.help }
    end
    rows[#rows + 1] = { "SHOW STATUS", "the counters, in the form of a server's" }
    rows[#rows + 1] = { "SELECT * FROM name", "the same as SHOW name, for programs" }
    for _, statement in ipairs(context.statements) do
        rows[#rows + 1] = { statement[1], statement[4] }
    end
    rows[#rows + 1] = { "… LIKE 'a%'", "only rows with such a first column" }
    rows[#rows + 1] = { "… WHERE column = value", "only those rows; also <, >, LIKE, IN, IS NULL, AND, OR, NOT, ( )" }
    rows[#rows + 1] = { "… ORDER BY column DESC LIMIT n", "sorts and limits; a statement may end in several of these" }
    return list_result(reader, schema.texts { "Statement", "What it does" }, rows)
end

local shows = { STATUS = status, DATABASES = databases, SCHEMAS = databases, HELP = help }

local function show(context, reader, sql)
    client_probes.take_scope(reader)
    local described = schema.answer(context, reader, table_named, list_result)
    if described then
        return described
    end
    reader:take("FULL")
    local its = take_table(context, reader)
    if its then
        return table_result(context, reader, its)
    end
    local name = needed(reader:take_kind("word")).text:upper()
    if shows[name] then
        return shows[name](context, reader, sql)
    end
    error(not_understood("There is no SHOW " .. name), 0)
end

-- Acting ------------------------------------------------------------------------------------------

-- An account for the log.
local function who(session)
    return ("'%s'@%s (client %d)"):format(session.user, session.client:socket_address(), session.client:id())
end

local function for_log(sql)
    return #sql > LONGEST_LOGGED and sql:sub(1, LONGEST_LOGGED) .. "…" or sql
end

local ACT = "dpml.admin.act" -- the question to another worker

local services_by_name = {} -- the services of this worker, by what they are called in all workers

-- The statement whose first words these are, of those that act.
local function take_statement(context, reader)
    for _, statement in ipairs(context.statements) do
        if reader:take_all(unpack(statement[2])) then
            return statement
        end
    end
end

-- Does in this worker what was asked of another one's service, where it was decided that it may be done.
local function act_for_another(question)
    local context = services_by_name[question.service] or error(errors.new(1105, "HY000", "There is no such service"), 0)
    local reader = token_reader.statement(question.sql)
    local statement = reader and needed(take_statement(context, reader))
    local result = statement[3](context, reader)
    return { affected_rows = result.affected_rows, message = result.message }
end

-- Does it in all workers. It is done if any of them has done it: not each has everything.
local function run_everywhere(context, run, reader, sql, session)
    local own, total = dpm.worker()
    local result, failure
    for worker = 1, total do
        local ok, done
        if worker == own then
            ok, done = pcall(run, context, reader, session)
        else
            ok, done = pcall(workers.ask, worker, ACT, { service = context.known_as, sql = sql })
        end
        if ok and (worker == own or not result) then
            result = done
        elseif not ok and (worker == own or not failure) then
            failure = done
        end
    end
    return result or error(failure, 0)
end

-- Runs a statement that changes something, and logs who did it, what, and what came of it.
local function act(context, statement, reader, sql, session)
    local _, _, run, _, privilege, where = unpack(statement)
    if not context.may(session.user, privilege) then
        dpm.log("warn", ("%s: %s: refused, as the role has not the %s privilege: %s"):format(context.name, who(session),
            privilege, for_log(sql)))
        error(roles.denied(privilege), 0)
    end
    local ok, result
    if where == "here" then
        ok, result = pcall(run, context, reader, session)
    else
        ok, result = pcall(run_everywhere, context, run, reader, sql, session)
    end
    dpm.log("warn", ("%s: %s: %s%s"):format(context.name, who(session), for_log(sql),
        ok and "" or ": failed: " .. errors.text(result)))
    return ok and result or error(result, 0)
end

local function answer(context, sql, session)
    if #sql > LONGEST then
        error(not_understood(("A statement has at most %d bytes here"):format(LONGEST)), 0)
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
    elseif reader:take("DESCRIBE") or reader:take("DESC") or reader:take("EXPLAIN") then
        return schema.describe(context, reader, table_named, list_result)
    end
    local statement = take_statement(context, reader)
    if statement then
        return act(context, statement, reader, sql, session)
    end
    error(not_understood("This statement is not known"), 0)
end

-- The service -------------------------------------------------------------------------------------

-- Answers administrative statements for the clients of `listener`. `options` say who may log in, as those of
-- dpml.accept_clients do. `context` has
--   name: for errors and the log; database: what SHOW DATABASES lists; version_comment
--   tables(): the tables of figures; subject: what they are read with
--   status(): { name = value } for SHOW STATUS
--   statements: an array of { syntax, { its first words }, function(context, reader, session), help, privilege, where };
--     it is run in all workers (without the session in the others), unless `where` is "here"
--   is_own(cmd): see services.accept_clients
--   role: what those may do who are given no role
function service.serve(context, listener, options)
    logins.check_accounts(context.name, options)
    context.may = roles.judge(context.name, options.roles, context.role)
    context.options = { literals = options.literals }
    context.known_as = context.name .. " " .. figures.place_of(listener)
    services_by_name[context.known_as] = context
    local _, total = dpm.worker()
    if total > 1 then
        workers.answer(ACT, act_for_another)
    end
    local accepted = { version_comment = context.version_comment }
    for name, value in pairs(options) do
        accepted[name] = value
    end
    accepted.literals, accepted.roles, accepted.eval = nil, nil, nil
    accepted.is_own = context.is_own
    function accepted.new_command(cmd, _, session)
        if cmd:command() ~= dpm.COM_QUERY then
            error(errors.new(1047, "08S01", "Unknown command"), 0)
        end
        return answer(context, cmd:argument(), session)
    end
    services.accept_clients(listener, accepted)
end

return service
