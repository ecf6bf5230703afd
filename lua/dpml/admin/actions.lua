-- What an administrator can do to the program: the statements that act, beside those of pools.

local errors = require "dpml.support.errors"
local reload = require "dpml.plugins.reload"
local service = require "dpml.admin.service"
local tasks = require "dpml.tasks"
local workers = require "dpml.tasks.workers"

local actions = {}

local needed, at_end = service.needed, service.at_end

-- Closes a connection of this worker; an OK.
local function close(question)
    local id = question.id
    if id >= 2 ^ 32 or id ~= math.floor(id) or not dpm.kill(id) then
        error(errors.new(1094, "HY000", ("Unknown thread id: %.0f; SHOW CLIENTS and SHOW CONNECTIONS list them"):format(id)), 0)
    end
    return { affected_rows = 0 }
end

local function kill(_, reader)
    if reader:take("QUERY") then
        error(errors.new(1295, "HY000", "Only whole connections are closed here: KILL n. Statements are killed by a KILL QUERY n of "
            .. "the same user, by the listener of the client"), 0)
    end
    reader:take("CONNECTION")
    local id = needed(tonumber(needed(reader:take_kind("number")).text))
    at_end(reader)
    local worker = workers.of(id)
    return worker and workers.ask(worker, "dpml.admin.kill", { id = id }) or close { id = id }
end

-- Lets the other workers' administrators close connections of this one.
function actions.answer_workers()
    workers.answer("dpml.admin.kill", close)
end

-- Listeners ----------------------------------------------------------------------------------------

-- The open listeners of this name (its address and port, its path) or number; there may be several of one name.
local function listeners_named(name)
    local found = {}
    for _, row in ipairs(dpm.stats("listening")) do
        local conn = (row.listener == name or tostring(row.connection) == name) and dpm.connection(row.connection)
        if conn then
            found[#found + 1] = conn
        end
    end
    return found[1] and found
        or error(errors.new(1477, "HY000", ("There is no listener '%s'; SHOW LISTENING lists them"):format(name)), 0)
end

-- listener's id -> the function that it had before it was drained
local drained = {}

local function refuse(client)
    pcall(errors.send_error, client, "08S01", 1053, "Server shutdown in progress")
    dpm.close(client)
end

local function check_not_own(context, listener)
    if listener == context.listener then
        error(errors.new(1105, "HY000", "This is the listener of the administrative service itself"), 0)
    end
end

local function pause_listener(context, reader)
    local name = service.take_name(reader)
    for _, listener in ipairs(listeners_named(name)) do
        check_not_own(context, listener)
        listener:pause()
    end
    return { affected_rows = 1, message = ("New clients of %s wait from now on, until RESUME LISTENER"):format(name) }
end

local function drain_listener(context, reader)
    local name = service.take_name(reader)
    for _, listener in ipairs(listeners_named(name)) do
        check_not_own(context, listener)
        if not drained[listener:id()] then
            drained[listener:id()] = { accept = listener:register(dpm.MYC_CONNECT) }
            listener:register(dpm.MYC_CONNECT, refuse)
        end
    end
    return { affected_rows = 1, message = ("New clients of %s are refused from now on; SHOW LISTENERS tells how many are left"):format(name) }
end

local function resume_listener(_, reader)
    for _, listener in ipairs(listeners_named(service.take_name(reader))) do
        local before = drained[listener:id()]
        if before then
            drained[listener:id()] = nil
            listener:register(dpm.MYC_CONNECT, before.accept)
        end
        listener:resume()
    end
    return { affected_rows = 1 }
end

-- The program --------------------------------------------------------------------------------------

local function reload_startfile(_, reader)
    at_end(reader)
    local problem = tasks.await("RELOAD", function(resume)
        dpm.reload(function(why)
            resume(true, why)
        end)
    end)
    if problem then
        error(errors.new(1105, "HY000", ("The startfile is not reloaded, and everything stays as it was: %s"):format(problem)), 0)
    end
    return { message = "The new startfile is in use; clients of the one before move when they wait for nothing, see SHOW CLIENTS" }
end

local function reload_files(_, reader)
    at_end(reader)
    local count, failed = reload.refresh_all()
    if failed then
        error(errors.new(1105, "HY000", ("%s: SHOW PLUGINS tells more"):format(failed)), 0)
    end
    return { affected_rows = count, message = ("%d files of plug-ins were looked at; new clients get what is new"):format(count) }
end

local function upgrade(_, reader)
    at_end(reader)
    local begun, problem = pcall(dpm.upgrade)
    if not begun then
        error(errors.new(1105, "HY000", errors.text(problem)), 0)
    end
    return { message = "A new process starts; the log tells how it fares" }
end

local LEVELS = { OFF = true, ERROR = true, WARN = true, INFO = true, DEBUG = true, TRACE = true }

local function set_log_level(_, reader)
    reader:take("=")
    local name = service.take_name(reader):upper()
    if not LEVELS[name] then
        error(errors.new(1231, "42000", ("The level of the log can't be set to '%s': it is OFF, ERROR, WARN, INFO, DEBUG or TRACE")
            :format(name)), 0)
    end
    dpm.log_level(name:lower())
    return { message = "The log's level is " .. name }
end

local function shown(value)
    return value ~= nil and tostring(value) or nil
end

local function eval(_, reader)
    local code = needed(reader:text())
    at_end(reader)
    local chunk, problem = loadstring("return " .. code, "=EVAL")
    if not chunk then
        chunk, problem = loadstring(code, "=EVAL")
    end
    if not chunk then
        error(errors.new(1064, "42000", problem), 0)
    end
    local results = { pcall(chunk) }
    if not results[1] then
        error(errors.new(1105, "HY000", errors.text(results[2])), 0)
    end
    local rows = {}
    for i = 2, table.maxn(results) do
        rows[#rows + 1] = { i - 1, type(results[i]), shown(results[i]) }
    end
    return { columns = {
        { name = "Number", type = dpm.MYSQL_TYPE_LONGLONG }, { name = "Type", type = dpm.MYSQL_TYPE_VAR_STRING },
        { name = "Value", type = dpm.MYSQL_TYPE_VAR_STRING },
    }, rows = rows }
end

-- { syntax, its first words, what runs it, help, the privilege that it takes, where it is run }
actions.STATEMENTS = {
    { "KILL n", { "KILL" }, kill, "closes the client, or the connection to a server, with this number", "KILL",
        "here" },
    { "PAUSE LISTENER name", { "PAUSE", "LISTENER" }, pause_listener, "new clients wait to be accepted", "PAUSE" },
    { "RESUME LISTENER name", { "RESUME", "LISTENER" }, resume_listener, "they are accepted again", "PAUSE" },
    { "DRAIN LISTENER name", { "DRAIN", "LISTENER" }, drain_listener, "new clients are refused; those that it has may go on", "DRAIN" },
    { "RELOAD PLUGINS", { "RELOAD", "PLUGINS" }, reload_files, "reads files of plug-ins again that have changed", "RELOAD" },
    { "RELOAD", { "RELOAD" }, reload_startfile, "runs the startfile anew, and moves clients to it", "RELOAD", "here" },
    { "UPGRADE", { "UPGRADE" }, upgrade, "starts the program as it is on disk now, which takes the place of this process", "UPGRADE", "here" },
    { "SET LOG LEVEL level", { "SET", "LOG", "LEVEL" }, set_log_level, "OFF, ERROR, WARN, INFO, DEBUG or TRACE", "LOG", "here" },
}

actions.EVAL = { "EVAL 'lua'", { "EVAL" }, eval, "runs Lua in the program, and shows what it returns", "EVAL", "here" }

return actions
