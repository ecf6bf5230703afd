-- Services that speak MySQL: clients log in at the proxy, and a script answers them.

local answer_forms = require "dpml.services.answer_forms"
local checks = require "dpml.support.checks"
local emulated_statements = require "dpml.services.emulated_statements"
local errors = require "dpml.support.errors"
local failures = require "dpml.support.failures"
local kills = require "dpml.kills"
local logins = require "dpml.logins"
local results = require "dpml.results"
local own_answers = require "dpml.services.own_answers"
local own_status = require "dpml.services.own_status"
local session_kills = require "dpml.kills.session_kills"
local sessions = require "dpml.services.sessions"
local tasks = require "dpml.tasks"

local services = {}

local NAME = "dpml.accept_clients"
local OPTIONS = checks.union({
    new_client = "a function", new_command = "a function", handler = "a function",
    finished_command = "a function", closing = "a function", use_database = "a function", is_own = "a function",
    all_commands = "a boolean", version_comment = "a string", save = "a function", restore = "a function",
}, logins.OPTIONS)

-- What the library keeps in a session.
local KNOWN = { client = true, auth = true, user = true, database = true, task = true, statements = true }

-- Why a client stays, if it does.
local function why_it_stays(service, session)
    if service.handler then
        return "its handler is a task that lasts as long as the client"
    elseif emulated_statements.has_any(session) then
        return "it has prepared statements, which the service keeps"
    elseif service.save then
        return nil
    elseif service.new_client or service.closing then
        return "its service has state of its own, and no save"
    end
    for name in pairs(session) do
        if not KNOWN[name] then
            return ("its service keeps '%s' in its session, and has no save"):format(tostring(name))
        end
    end
end

-- Sends what a service's function has returned, in the form that the command's answer has.
local function send_returned(client, cmd, result)
    local refusal = answer_forms.refusal_of(cmd, result)
    if refusal then
        results.end_answer(client, refusal)
    else
        results.send_resultset(client, result)
    end
end

-- Runs a service's function for a command as a task. Its result, if any, is the answer; an error that it raises
-- is sent as an error.
local function answer_by(new_command, cmd, client, session)
    local has_answer = answer_forms.has_answer(cmd)
    local task = tasks.spawn(function()
        local ok, problem = pcall(function()
            local result = new_command(cmd, client, session)
            if type(result) == "table" and has_answer then
                send_returned(client, cmd, result)
            end
        end)
        if ok or client:close_reason() then
            return
        end
        failures.log(client, "its command", problem)
        if has_answer then
            results.end_answer(client, problem)
        end
    end)
    session.task = task
    -- Commands without an answer run no tasks: a client could start any number of them.
    if not has_answer and not task:is_over() then
        client:pause()
        tasks.spawn(function()
            task:wait()
            if not client:close_reason() then
                client:resume()
            end
        end)
    end
end

-- Serves the clients of `listener` without a database. `users` are accounts as authenticate_new_clients
-- takes them; or authenticate(user, client) returns a user's credential, for which it may wait.
--
-- Queries about the session are answered by the library; all other commands go to one of the following,
-- prepared statements as queries with their values:
--   new_command(cmd, client, session), a task of its own for each: it sends an answer, or returns a
--     result, or raises an error;
--   or handler(session), one task for the whole of a client: for cmd in session:commands() do … end.
-- `session` has client, auth, user and database, and room for more.
--
-- Optional: new_client(client, session), which may return an error to send the client away;
-- use_database(name, client, session), likewise; is_own(cmd), whether a command is the script's although the library would
-- answer it; finished_command(client, session),
-- closing(client, session); save(client, session), which returns what is known of a client as a string, and
-- restore(client, session, text), for clients that move to a new startfile. With all_commands = true the library answers only COM_QUIT, for scripts that
-- forward commands to a database.
function services.accept_clients(listener, options)
    checks.argument(NAME, "listener", listener, "a listener")
    checks.options(NAME, options, OPTIONS)
    logins.check_accounts(NAME, options)
    if (options.new_command == nil) == (options.handler == nil) then
        checks.fail(NAME, "who answers? One of new_command and handler must be given")
    end
    local service = setmetatable({
        version_comment = options.version_comment or "dpm",
        server_version = options.server_version or dpm.new_handshake_pkt():server_version(),
    }, { __index = options })
    function service.change_database(session, name)
        return own_answers.change_database(service, session, name)
    end
    local by_client = {} -- client id -> its session
    local realm = kills.new(listener, session_kills.answer_worker)

    local function admit(client, session)
        local refusal = service.new_client and service.new_client(client, session)
        if not refusal and session.database and service.use_database then
            refusal = service.use_database(session.database, client, session)
        end
        return refusal
    end

    -- Called again when a client has changed its user. If the new user is refused, the client is closed, so
    -- that it does not go on as that user.
    local function new_client(client, auth, ok)
        local known = by_client[client:id()]
        local session, database = known or { client = client }, auth:databasename()
        session.auth, session.user, session.database = auth, auth:user(), database ~= "" and database or nil
        local decided, refusal = pcall(admit, client, session)
        if refusal or not decided then
            if not decided then
                failures.log(client, "new_client", refusal)
            end
            results.end_answer(client, refusal)
            if known then
                dpm.close(client)
            end
            return dpm.DPM_NOPROXY
        end
        by_client[client:id()] = session
        realm:set(client:id(), session)
        emulated_statements.forget(session)
        own_status.reset(session)
        dpm.wire_packet(client, ok)
        if service.handler and not known then
            sessions.start(session, service)
        elseif service.handler then
            sessions.changed_user(session)
        end
        return dpm.DPM_NOPROXY
    end

    -- A command that is none of the script's.
    local function answer(session, cmd)
        if service.is_own and service.is_own(cmd) then
            return false
        end
        return session_kills.answer(realm, cmd, session.client)
            or not service.handler and own_answers.give(service, session, cmd)
    end

    local function new_command(cmd, client_id, client)
        local session = by_client[client_id]
        if cmd:command() == dpm.COM_QUIT then
            dpm.close(client)
            return dpm.DPM_NOPROXY
        elseif cmd:command() == dpm.COM_STMT_EXECUTE and not (service.all_commands or service.handler) then
            cmd = emulated_statements.query_of(session, cmd)
        end
        if not cmd or not service.all_commands and answer(session, cmd) then
            return dpm.DPM_NOPROXY
        elseif service.handler then
            sessions.receive(session, cmd)
        else
            answer_by(service.new_command, cmd, client, session)
        end
        return dpm.DPM_NOPROXY
    end

    local function finished_command(client_id, client)
        local session = by_client[client_id]
        if service.handler then
            sessions.finished(session)
        end
        if service.finished_command then
            service.finished_command(client, session)
        end
    end

    local function closing(client_id, client)
        local session = by_client[client_id]
        by_client[client_id] = nil
        realm:set(client_id, nil)
        if not session then
            return
        end
        own_status.forget(client_id)
        if service.handler then
            sessions.closed(session)
        end
        if service.closing then
            service.closing(client, session)
        end
    end

    local mover = { kind = "service" }

    function mover.pack(client, record)
        local session, why = by_client[client:id()], nil
        if session.task and not service.handler and not session.task:is_over() then
            return nil -- it works for a command that has no answer
        end
        why = why_it_stays(service, session)
        if why then
            return nil, why
        end
        record.login, why = logins.save(client)
        if not record.login then
            return nil, why
        end
        record.database, record.status = session.database, own_status.save(session)
        if service.save then
            record.service = service.save(client, session)
            if record.service == nil then
                return nil, "its service does not let it go"
            end
        end
        return true
    end

    function mover.left(client_id)
        local session = by_client[client_id]
        by_client[client_id] = nil
        realm:set(client_id, nil)
        if session then
            own_status.forget(client_id)
        end
    end

    function mover.adopt(client, _, record, resume)
        if service.handler then
            return nil, "the new startfile's handler is a task that begins with the login"
        end
        local auth = resume(record.login)
        local session = { client = client, auth = auth, user = auth:user(), database = record.database }
        by_client[client:id()] = session
        realm:set(client:id(), session)
        own_status.restore(session, record.status)
        if service.restore and record.service then
            service.restore(client, session, record.service)
        elseif service.new_client then
            local refusal = service.new_client(client, session)
            if refusal then
                return nil, ("the new startfile would not let it in: %s"):format(errors.text(refusal))
            end
        end
        return true
    end

    logins.begin(NAME, listener, logins.with_handshake({
        new_client = new_client,
        new_command = new_command,
        finished_command = (service.handler or service.finished_command) and finished_command,
        closing = closing,
    }, options), options.users or options.authenticate, nil, mover)
end

return services
