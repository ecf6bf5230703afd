-- Who may do what, of those who log in to an administrative service.

local checks = require "dpml.support.checks"
local errors = require "dpml.support.errors"

local roles = {}

-- What a role may do beside looking.
local PRIVILEGES = {
    viewer = {},
    operator = { KILL = true, PAUSE = true, DRAIN = true, RELOAD = true, LOG = true },
    admin = { KILL = true, PAUSE = true, DRAIN = true, RELOAD = true, LOG = true, UPGRADE = true, EVAL = true },
}

local function check_role(what, user, role)
    if type(role) ~= "string" or not PRIVILEGES[role] then
        checks.fail(what, ('roles: %s: expected "viewer", "operator" or "admin", got %s'):format(tostring(user), tostring(role)))
    end
end

-- A function that tells whether a user has a privilege. `given` are the roles by users; whoever has none has `default`.
function roles.judge(what, given, default)
    for user, role in pairs(given or {}) do
        check_role(what, user, role)
    end
    return function(user, privilege)
        local role = given and given[user] or default
        return PRIVILEGES[role][privilege] == true
    end
end

function roles.denied(privilege)
    return errors.new(1227, "42000", ("Access denied; you need the %s privilege for this operation, which your role does not have")
        :format(privilege))
end

return roles
