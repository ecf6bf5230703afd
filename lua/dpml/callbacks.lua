-- Registering callbacks.

local callbacks = {}

-- Registers a whole table of { [dpm.STATE] = function } with a connection or a callback object.
function callbacks.register_callbacks(object, by_state)
    for state, callback in pairs(by_state) do
        object:register(state, callback)
    end
end

return callbacks
