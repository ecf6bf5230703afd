-- Registering callbacks.

local checks = require "dpml.support.checks"
local held = require "dpml.logins.held"

local callbacks = {}

-- Registers a whole table of { [dpm.STATE] = function } with a connection or a callback object. A listener is held
-- from then on.
function callbacks.register_callbacks(object, by_state)
    checks.argument("dpml.register_callbacks", "object", object, "userdata")
    checks.argument("dpml.register_callbacks", "callbacks", by_state, "a table")
    for state, callback in pairs(by_state) do
        checks.relay(object.register, object, state, callback)
    end
    if checks.is(object, "a listener") then
        held.hold(object)
    end
end

return callbacks
