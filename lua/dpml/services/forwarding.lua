-- Sessions whose commands a server answers: session:forward(cmd, db).
--
-- The connection that a session is forwarded to is its own: what a session changes (its database, its variables, its
-- transaction) is changed there. So it is that of one client, and what the client has said before there was one is
-- repeated on it.

local answer_forms = require "dpml.services.answer_forms"
local bit = require "bit"
local checks = require "dpml.support.checks"
local client_probes = require "dpml.services.client_probes"
local databases = require "dpml.databases"
local emulated_statements = require "dpml.services.emulated_statements"
local errors = require "dpml.support.errors"
local kills = require "dpml.kills"
local own_answers = require "dpml.services.own_answers"
local queries = require "dpml.servers.queries"
local results = require "dpml.results"
local takeover = require "dpml.servers.takeover"
local turns = require "dpml.databases.turns"
local warnings = require "dpml.support.warnings"

local forwarding = {}

-- How answers end ----------------------------------------------------------------------------------

local endings = {} -- server id -> how the last answer has ended: a status, or an error

-- Of the packet that ends an answer.
local function status_of(packet)
    local kind = debug.getmetatable(packet).__name
    if kind ~= "ok" and kind ~= "eof" then
        return {}
    end
    local flags = packet:server_status()
    local status = {
        server_status = flags, warning_count = packet:warning_count(),
        in_transaction = bit.band(flags, dpm.SERVER_STATUS_IN_TRANS) ~= 0,
        autocommit = bit.band(flags, dpm.SERVER_STATUS_AUTOCOMMIT) ~= 0,
    }
    if kind == "ok" then
        status.affected_rows, status.insert_id, status.message = packet:affected_rows(), packet:insert_id(), packet:message()
    end
    return status
end

local function note_ending(packet, server_id)
    endings[server_id] = status_of(packet)
end

local function note_error(packet, server_id)
    endings[server_id] = errors.from_packet(packet)
end

local function take_ending(server)
    local id = server:id()
    local ending = endings[id]
    endings[id] = nil
    return ending or queries.lost_connection(server:close_reason() or "no answer")
end

-- Answers without a client ---------------------------------------------------------------------------

local drained = {} -- server id -> what is called when the rest of an answer has been discarded, or it has closed

local function tell_drained(server_id)
    local tell = drained[server_id]
    drained[server_id] = nil
    tell()
end

local draining = dpm.new_callback()
for state, note in pairs { [dpm.MYS_WAIT_CMD] = note_ending, [dpm.MYS_RECV_ERR] = note_error } do
    draining:register(state, function(packet, server_id)
        note(packet, server_id)
        tell_drained(server_id)
    end)
end
draining:register(dpm.MYS_SENT_INFILE, function(_, _, server)
    dpm.close(server) -- it would wait for a file that nobody has any more
    return dpm.DPM_NOPROXY
end)

-- Discards the rest of an answer whose client has left, and then calls done(true, how it has ended).
local function when_drained(server, done)
    local taken = takeover.begin(server, draining, tell_drained)
    drained[server:id()] = function()
        taken:give_back()
        done(true, take_ending(server))
    end
end

-- The session's connection ---------------------------------------------------------------------------

local MOST_SAID = 256 -- statements that are repeated, and
local MOST_BYTES = 64 * 1024 -- bytes of them

-- Notes what the client has set or begun while there was no server yet. `word` is the statement's first.
function forwarding.note(session, cmd, word)
    if cmd:command() == dpm.COM_RESET_CONNECTION then
        session.said = nil
        return
    end
    local in_transaction = word == "BEGIN" or word == "START" or word == "SAVEPOINT" or word == "RELEASE" or word == "ROLLBACK"
    local sql, ends = cmd:argument(), word == "COMMIT"
    if word == "ROLLBACK" then
        ends = not sql:upper():find("%sTO%f[%s`]")
    end
    if not (in_transaction or ends or word == "SET" or word == "SEVERAL" or cmd:command() == dpm.COM_SET_OPTION) then
        return
    end
    local kept, bytes = {}, #sql
    for _, each in ipairs(session.said or {}) do
        if each.sql ~= sql and not (ends and each.in_transaction) then
            kept[#kept + 1] = each
            bytes = bytes + #each.sql
        end
    end
    if not ends then
        kept[#kept + 1] = { cmd = cmd, sql = sql, in_transaction = in_transaction }
    end
    if #kept > MOST_SAID or bytes > MOST_BYTES then
        kept = { too_many = true }
    end
    kept.too_many = kept.too_many or session.said and session.said.too_many
    session.said = kept
end

-- A new user begins anew.
function forwarding.forget(session)
    session.said, session.db = nil, nil
end

local function run(db, cmd)
    turns.exchange(db, "session:forward", nil, function(resume)
        return queries.run(db.server, cmd, {
            finish = function(_, err)
                resume(not err, err)
            end,
        })
    end)
end

-- At the server the numbers that clients know mean others.
local function refuse_kills(cmd)
    local refusal = kills.refusal(cmd)
    if refusal then
        error(refusal, 0)
    end
end

-- Raises an error that is the script's mistake, and is shown to the client as well.
local function refuse(session, message)
    warnings.warn("forwarding", ("client %d: %s"):format(session.client:id(), message))
    error(errors.new(1105, "HY000", message), 0)
end

-- Makes the connection the session's own, if it is not yet: with its database, and with what it has said before.
local function adopt(session, db)
    local owner = db.owner
    if session.ready == db and db.owner_auth == session.auth then
        return
    end
    if owner and owner ~= session then
        refuse(session, ("session:forward: this connection is that of client %d, and what one client sets would be another's: "
            .. "connect one for each client"):format(owner.client:id()))
    elseif not owner then
        db.server:listen(dpm.MYS_WAIT_CMD, note_ending)
        db.server:listen(dpm.MYS_RECV_ERR, note_error)
        db.owner, db.owner_auth, db.database = session, session.auth, db.options.database
    elseif db.owner_auth ~= session.auth then
        run(db, queries.new_command(dpm.COM_RESET_CONNECTION))
        -- The database is all that is left of the user before.
        db.database = db:query("SELECT DATABASE()").rows[1][1]
        if db.database and not session.database then
            refuse(session, "session:forward: the client has logged in again, without a database: connect again")
        end
        db.owner_auth = session.auth
    end
    session.db = db
    if session.database and session.database ~= db.database then
        db:use(session.database)
        db.database = session.database
    end
    local said = session.said
    if said and said.too_many then
        refuse(session, "session:forward: this client has set too much before its first command that is forwarded")
    end
    while said and said[1] do
        run(db, table.remove(said, 1).cmd)
    end
    session.said, session.ready = nil, db
end

-- The connection that the session's commands are about; nil if there is none (yet). It is the one that it was forwarded to
-- last, or that was made for its client. It may have died, but the handler has not closed it.
function forwarding.connection_of(session)
    local db = session.db
    if not db or not db:is_open() then
        db = databases.made_for(session.auth) or db
    end
    return db and not db.given_up and db or nil
end

-- Forwarding -----------------------------------------------------------------------------------------

-- Called when the client has its answer, or has left: what becomes of the connection then.
local function when_finished(client, server, resume)
    return function(answered)
        if server:close_reason() then
            dpm.close(client) -- its session was there
            resume(true, take_ending(server))
        elseif answered then
            dpm.proxy_disconnect(server)
            resume(true, take_ending(server))
        else
            when_drained(server, resume)
        end
    end
end

local function send(session, server, cmd)
    if not session.gone then
        dpm.proxy_connect(session.client, server)
    end
    dpm.wire_packet(server, cmd)
end

-- Has the server answer the client. Returns a status, or an error that the client has got.
local function relay(session, cmd, db)
    local client = session.client
    return db:lend("session:forward", function(server, resume)
        local has_answer, was_gone = answer_forms.has_answer(cmd), session.gone
        endings[server:id()] = nil
        session.when_finished = has_answer and not was_gone and when_finished(client, server, resume) or nil
        local sent, problem = pcall(send, session, server, cmd)
        if not sent then
            session.when_finished = nil
            dpm.proxy_disconnect(server)
            error(errors.new(1105, "HY000", ("This command cannot be forwarded (is the connection made with "
                .. "like = session.auth?): %s"):format(errors.text(problem))), 0)
        elseif not has_answer then
            dpm.proxy_disconnect(server)
            return resume(true, {})
        elseif was_gone then
            when_drained(server, resume)
        end
        return function()
            -- An incomplete answer cannot be completed, so the client is closed.
            dpm.close(client)
        end
    end)
end

-- The execute for the server, whose statement it is; prepared there before, if necessary.
local function at_server(execute, db)
    local pieces = execute.pieces
    if not pieces.on_server or pieces.on_server.db ~= db then
        pieces.on_server = db:prepare(emulated_statements.text_of(pieces))
    end
    local statement = pieces.on_server.statement
    local fits, cmd = pcall(statement.encode, statement, execute.values, { types = execute.types })
    return fits and cmd or statement:encode(execute.values)
end

-- Has the server answer what the handler gives for the client's command. A client that has executed a statement waits for
-- binary rows, also if the handler has written another query instead.
local function answer_by_server(session, cmd, db)
    local execute = emulated_statements.execute_of(session.current)
    if not execute or cmd:command() ~= dpm.COM_QUERY then
        return relay(session, cmd, db)
    elseif cmd == session.current and cmd:argument() == execute.sql then
        return relay(session, at_server(execute, db), db)
    end
    local statement = db:prepare(cmd:argument())
    local ending = relay(session, statement.statement:encode {}, db)
    statement:close()
    return ending
end

-- Tells the client of an error instead of an answer. Without its connection it has no session any more.
local function tell(session, err, db)
    local client = session.client
    if session.unanswered and not client:close_reason() then
        results.end_answer(client, err)
    end
    if not db:is_open() then
        dpm.close(client)
    end
end

-- Lets the database `db` (dpml.connect) answer a command, without entering Lua before the end of the answer. Connect it
-- with like = session.auth, so that its answers are in a form for this client. Returns, when the answer is complete, its
-- status; or nil and the error that the client has got.
function forwarding.forward(session, cmd, db)
    checks.argument("session:forward", "cmd", cmd, "userdata")
    checks.argument("session:forward", "db", db, "a table")
    local ok, ending = pcall(function()
        refuse_kills(cmd)
        if not db:is_open() then
            error(queries.gone(), 0)
        end
        adopt(session, db)
        return answer_by_server(session, cmd, db)
    end)
    if not ok then
        if not errors.is_error(ending) or ending.cancelled or ending.timed_out then
            error(ending, 0)
        end
        tell(session, ending, db)
    end
    if errors.is_error(ending) then
        return nil, ending
    end
    if ending.server_status and not session.gone then
        results.set_status(session.client:id(), ending.server_status) -- for what the handler answers itself
    end
    return ending
end

-- What the library answers elsewhere -----------------------------------------------------------------

-- Whether a query is one that clients send by themselves, and the name of the database if it asks for one.
local function probe(session, cmd)
    local wanted
    local service = setmetatable({
        change_database = function(_, name)
            wanted = name
            return {}
        end,
    }, { __index = session.service })
    local has_values = emulated_statements.has_values(cmd)
    return client_probes.answer(cmd:argument(), session, service, has_values) ~= nil, wanted
end

local PARSE_ERROR = 1064

local function change_database(session, cmd, db, name)
    local refusal, before = own_answers.refusal_of(session.service, session, name), session.database
    if refusal then
        return tell(session, refusal, db)
    end
    session.database = name
    if forwarding.forward(session, cmd, db) then
        db.database = name
    else
        session.database = before
    end
end

-- Has the server prepare the statement. What it cannot parse may be the handler's.
local function prepare(session, cmd, db)
    local ok, statement = pcall(function()
        refuse_kills(cmd)
        adopt(session, db)
        return db:prepare(cmd:argument())
    end)
    local is_handlers = not ok and errors.is_error(statement) and statement.errnum == PARSE_ERROR
    if ok or is_handlers then
        if not session.client:close_reason() then
            emulated_statements.prepare(session, cmd:argument(), ok and statement or nil)
        end
    elseif errors.is_error(statement) then
        tell(session, statement, db)
    else
        error(statement, 0)
    end
end

local forwarded = {
    [dpm.COM_PING] = true, [dpm.COM_STATISTICS] = true, [dpm.COM_FIELD_LIST] = true, [dpm.COM_SET_OPTION] = true,
}

-- Answers a command as own_answers does, but by the server: returns whether it was one of those.
function forwarding.answer(session, cmd, db)
    local number = cmd:command()
    if forwarded[number] then
        forwarding.forward(session, cmd, db)
    elseif number == dpm.COM_INIT_DB then
        change_database(session, cmd, db, cmd:argument())
    elseif number == dpm.COM_RESET_CONNECTION then
        if forwarding.forward(session, cmd, db) then
            emulated_statements.forget(session)
        end
    elseif number == dpm.COM_STMT_PREPARE then
        prepare(session, cmd, db)
    elseif number == dpm.COM_QUERY then
        local is_probe, name = probe(session, cmd)
        if name then
            change_database(session, cmd, db, name)
        elseif is_probe then
            forwarding.forward(session, cmd, db)
        end
        return is_probe
    else
        return (own_answers.give(session.service, session, cmd))
    end
    return true
end

return forwarding
