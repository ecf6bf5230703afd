-- Registering callbacks.

local checks = require "dpml.checks"

local callbacks = {}

-- Registers a whole table of { [dpm.STATE] = function } with a connection or a callback object.
function callbacks.register_callbacks(object, by_state)
    checks.argument("dpml.register_callbacks", "object", object, "userdata")
    checks.argument("dpml.register_callbacks", "callbacks", by_state, "a table")
    for state, callback in pairs(by_state) do
        checks.relay(object.register, object, state, callback)
    end
end

return callbacks
