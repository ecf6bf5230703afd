-- What plug-ins know of clients that move: save(client) -> text, and restore(client, text, server, auth).

local keeping = {}

-- Whether a plug-in has nothing of its own about single clients, as far as can be seen.
function keeping.is_stateless(callbacks, is_shared)
    return is_shared and not (callbacks.new_client or callbacks.logged_in or callbacks.closing)
end

-- Adds what a plug-in knows of a client to a record. True; or nil and why the client stays.
function keeping.save(show, client, record)
    local callbacks = show:callbacks_of(client:id())
    if callbacks.save then
        local text = callbacks.save(client)
        if text == nil then
            return nil, "its plug-in does not let it go"
        elseif type(text) ~= "string" then
            error(("save: expected a string or nil, got %s"):format(type(text)), 0)
        end
        record.plugin = text
    elseif not keeping.is_stateless(callbacks, show.callbacks ~= nil) then
        return nil, "its plug-in has state of its own, and no save"
    end
    return true
end

-- Shows a plug-in a client that was with another one of its kind. To one that restores nothing the client is a new one.
function keeping.restore(callbacks, client, server, auth, text)
    if text and callbacks.restore then
        return callbacks.restore(client, text, server, auth)
    end
    if callbacks.new_client then
        callbacks.new_client(client, server, auth)
    end
    if callbacks.logged_in then
        callbacks.logged_in(auth, client:id(), client)
    end
end

return keeping
