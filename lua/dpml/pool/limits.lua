-- Limits for each user: a number for all of them, or { [user] = number }. 0 is no limit, and so is a user who is not named.

local checks = require "dpml.support.checks"

local limits = {}

local MAX = 2 ^ 31

local function is_count(value)
    return checks.is(value, "an integer") and value >= 0 and value < MAX
end

-- Checks such an option, and returns a function of a user that tells the limit.
function limits.read(what, name, value)
    if type(value) == "table" then
        for user, number in pairs(value) do
            if type(user) ~= "string" or not is_count(number) then
                checks.fail(what, ("%s: expected { [user] = number }, such as { app = 5 }; 0 is no limit"):format(name))
            end
        end
        return function(user)
            return value[user] or 0
        end
    elseif value ~= nil and not is_count(value) then
        checks.fail(what, ("%s: expected a whole number, or { [user] = number }; 0 is no limit"):format(name))
    end
    return function()
        return value or 0
    end
end

return limits
