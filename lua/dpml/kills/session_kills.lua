-- KILL of a service's clients: it cancels the task that works for the client's command.

local errors = require "dpml.support.errors"
local kills = require "dpml.kills"
local results = require "dpml.results"
local tasks = require "dpml.tasks"

local session_kills = {}

local PATIENCE = 1000 -- milliseconds for which a task may go on that is to end with its client

-- Cancels what works for the client's command, if anything does. A handler's task goes on between commands.
local function cancel(session)
    local task, queue = session.task, session.queue
    if task and not task:is_over() and (not queue or session.unanswered or queue[1]) then
        return task:cancel()
    end
end

local function close(session, is_cancelled)
    if not is_cancelled then
        return dpm.close(session.client)
    end
    tasks.spawn(function()
        pcall(tasks.with_timeout, PATIENCE, session.task.wait, session.task) -- so that the client is told
        dpm.close(session.client)
    end)
end

-- The KILL that a command is; nil for one that only has a KILL in it.
local function kill_of(cmd)
    local list = cmd:command() ~= dpm.COM_STMT_PREPARE and cmd:kills()
    if not list or list[2] or cmd:command() == dpm.COM_QUERY and dpm.statement_kind(cmd:argument()) ~= "KILL" then
        return nil
    end
    return list[1]
end

local function do_kill(session, query_only)
    local is_cancelled = cancel(session)
    if not query_only then
        close(session, is_cancelled)
    end
end

-- Kills a client for one of another worker's.
function session_kills.answer_worker(session, kill, is_own_user)
    if not is_own_user then
        error(kills.not_owner(kill), 0)
    end
    do_kill(session, kill.query_only)
end

-- Of a client of another worker.
local function kill_at_worker(realm, kill, client)
    kills.answer_after(client, realm.ask, realm, kill, client:id())
end

-- Answers a command that is a KILL of a client by its number; false if it is none, and then the script's business.
function session_kills.answer(realm, cmd, client)
    local kill = kill_of(cmd)
    local session, is_own_user
    if kill and realm:worker_of(kill) then
        kill_at_worker(realm, kill, client)
        return true
    elseif kill then
        session, is_own_user = realm:find(kill, client:id())
    end
    if not session then
        return false
    end
    local err
    if not is_own_user then
        err = kills.not_owner(kill)
    elseif session.client == client then
        err = errors.cancelled()
    end
    if err then
        results.end_answer(client, err)
        if err.cancelled and not kill.query_only then
            dpm.close(client)
        end
        return true
    end
    do_kill(session, kill.query_only)
    results.send_ok(client)
    return true
end

return session_kills
