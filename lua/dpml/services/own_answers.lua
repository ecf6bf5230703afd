-- What a service answers by itself, rather than its script: commands about the session, prepared statements, and what
-- clients ask by themselves.

local client_probes = require "dpml.services.client_probes"
local emulated_statements = require "dpml.services.emulated_statements"
local errors = require "dpml.support.errors"
local own_status = require "dpml.services.own_status"
local results = require "dpml.results"

local own_answers = {}

local CHANGES_STATUS = { SET = true, BEGIN = true, START = true, COMMIT = true, ROLLBACK = true, SEVERAL = true }

local STARTED = dpm.monotonic()

-- The error by which the service refuses a database, if it does.
function own_answers.refusal_of(service, session, name)
    local refusal = service.use_database and service.use_database(name, session.client, session)
    return refusal and errors.presentable(refusal) or nil
end

-- Changes the session's database. Returns an OK, or the service's refusal.
function own_answers.change_database(service, session, name)
    local refusal = own_answers.refusal_of(service, session, name)
    if refusal then
        return refusal
    end
    session.database = name
    return {}
end

-- Answers with a result or an error. Answers to a client that has left go nowhere.
local function answer_with(client, answer)
    if client:close_reason() then
        return
    elseif errors.is_error(answer) then
        results.end_answer(client, answer)
    else
        results.send_resultset(client, answer)
    end
end

local function statistics(client)
    local counters, packet = dpm.stats(), dpm.new_stats_pkt()
    -- In the form of a server's, from which clients parse the uptime.
    packet:message(("Uptime: %d  Threads: %d  Questions: %d"):format(
        math.floor((dpm.monotonic() - STARTED) / 1000), counters.clients, counters.commands))
    dpm.wire_packet(client, packet)
end

local commands = {
    [dpm.COM_PING] = function(_, session)
        results.send_ok(session.client)
    end,
    [dpm.COM_RESET_CONNECTION] = function(_, session)
        emulated_statements.forget(session)
        own_status.reset(session)
        results.send_ok(session.client)
    end,
    [dpm.COM_INIT_DB] = function(service, session, cmd)
        answer_with(session.client, own_answers.change_database(service, session, cmd:argument()))
    end,
    [dpm.COM_SET_OPTION] = function(_, session)
        dpm.wire_packet(session.client, dpm.new_eof_pkt())
    end,
    [dpm.COM_STATISTICS] = function(_, session)
        statistics(session.client)
    end,
    [dpm.COM_FIELD_LIST] = function(_, session, cmd)
        local message = ("Table '%s' doesn't exist"):format(cmd:argument():match("^%Z*"))
        errors.send_error(session.client, "42S02", 1146, message)
    end,
    [dpm.COM_STMT_PREPARE] = function(_, session, cmd)
        emulated_statements.prepare(session, cmd:argument())
    end,
    [dpm.COM_STMT_RESET] = function(_, session, cmd)
        emulated_statements.reset(session, emulated_statements.id_of(cmd))
    end,
    [dpm.COM_STMT_FETCH] = function(_, session, cmd)
        emulated_statements.fetch(session, emulated_statements.id_of(cmd))
    end,
    [dpm.COM_STMT_BULK_EXECUTE] = function(_, session, cmd)
        emulated_statements.fetch(session, emulated_statements.id_of(cmd))
    end,
    -- These two expect no answer.
    [dpm.COM_STMT_CLOSE] = function(_, session, cmd)
        emulated_statements.close(session, emulated_statements.id_of(cmd))
    end,
    [dpm.COM_STMT_SEND_LONG_DATA] = function() end,
}

-- Answers a command, if it is one of those. Returns whether it was one, and its first word if it was a query.
function own_answers.give(service, session, cmd)
    local command = commands[cmd:command()]
    if command then
        if not session.client:close_reason() then
            command(service, session, cmd)
        end
        return true
    elseif cmd:command() ~= dpm.COM_QUERY then
        return false
    end
    local answer, word = client_probes.answer(cmd:argument(), session, service, emulated_statements.has_values(cmd))
    if answer then
        if CHANGES_STATUS[word] then
            own_status.note(session, cmd:argument())
        end
        answer_with(session.client, answer)
    end
    return answer ~= nil, word
end

return own_answers
