-- KILL with the numbers that the proxy has greeted its clients with. The clients of one listener are a *realm*: they can
-- name each other, and nobody else, so that no KILL hits a stranger.

local errors = require "dpml.errors"
local identities = require "dpml.identities"

local kills = {}

local Realm = {}
Realm.__index = Realm

-- A realm has { what, by the clients' numbers }: what is known of a client is its owner's business.
function kills.new()
    return setmetatable({ targets = {} }, Realm)
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

return kills
