-- KILL with the numbers that the proxy has greeted its clients with. The clients of one listener are a *realm*: they can
-- name each other, and nobody else, so that no KILL hits a stranger.

local errors = require "dpml.support.errors"
local identities = require "dpml.logins.identities"
local results = require "dpml.results"
local tasks = require "dpml.tasks"
local workers = require "dpml.tasks.workers"

local kills = {}

local Realm = {}
Realm.__index = Realm

local QUESTION = "dpml.kills"

local realms = {} -- by the names of their listeners

-- A realm has { what, by the clients' numbers }: what is known of a client is its owner's business. A listener of several
-- workers has a realm in each. What one tells or does where another asks for one of its clients is answer(target, kill,
-- is_own_user): in a task, with a table or an error.
function kills.new(listener, answer)
    local name = listener and ("%s:%d"):format(listener:socket_address(), listener:socket_port())
    local realm = setmetatable({ targets = {}, name = name, answer = answer }, Realm)
    local _, count = dpm.worker()
    if name and count > 1 then
        realms[name] = realm
        workers.answer(QUESTION, kills.answer)
    end
    return realm
end

-- Answers another worker's question about a client of this one.
function kills.answer(question)
    local realm = realms[question.realm]
    local target = realm and realm.targets[question.id]
    if not target then
        error(kills.unknown(question), 0)
    end
    local victim = identities.of(question.id)
    local is_own_user = victim ~= nil and victim.user == question.user
    local answer = realm.answer(target, question, is_own_user) or {}
    answer.is_own_user = is_own_user
    return answer
end

-- The worker that may have the client which one of cmd:kills() is for; nil if no other has.
function Realm:worker_of(kill)
    return self.name and kill.id and workers.of(kill.id)
end

-- What that worker answers, for the client `killer_id`. In a task.
function Realm:ask(kill, killer_id)
    local killer = identities.of(killer_id)
    return workers.ask(self:worker_of(kill), QUESTION,
        { realm = self.name, id = kill.id, query_only = kill.query_only or false, user = killer and killer.user or "" })
end

-- From now on the client with this number can be killed, or, without a target, no longer.
function Realm:set(client_id, target)
    self.targets[client_id] = target
end

-- The error for a KILL of which the proxy cannot tell whom it is for, or that it cannot send there.
kills.NOT_HERE = errors.new(1295, "HY000",
    "This form of KILL is not supported here: the proxy could not tell whom it is for, or could not reach it")

function kills.unknown(kill)
    return errors.new(1094, "HY000", ("Unknown thread id: %.0f"):format(kill.id))
end

-- The target of one of cmd:kills(), and whether the client `killer_id` is logged in as the same user; nil, false and the
-- error if there is no such client.
function Realm:find(kill, killer_id)
    if not kill.id then
        return nil, false, kills.NOT_HERE
    end
    local target = self.targets[kill.id]
    if not target then
        return nil, false, kills.unknown(kill)
    end
    local killer, victim = identities.of(killer_id), identities.of(kill.id)
    return target, killer ~= nil and victim ~= nil and killer.user == victim.user
end

-- The error for a command that would go on to a server with a number of the proxy's in it; nil if there is none in it.
function kills.refusal(cmd)
    for _, kill in ipairs(cmd:kills() or {}) do
        if not kill.computed then
            return kill.id and kills.unknown(kill) or kills.NOT_HERE
        end
    end
end

function kills.not_owner(kill)
    return errors.new(1095, "HY000", ("You are not owner of thread %.0f"):format(kill.id))
end

-- Does what takes time in a task, and answers the killer: with an OK, or with the error that fn(…) has ended with.
function kills.answer_after(client, fn, ...)
    tasks.spawn(function(...)
        local ok, problem = pcall(fn, ...)
        if client:close_reason() then
            return
        elseif ok then
            results.send_ok(client)
        else
            results.end_answer(client, problem)
        end
    end, ...)
end

return kills
