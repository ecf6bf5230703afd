-- Connections that the library keeps until they close, so that scripts need not: listeners that it was given,
-- and their clients.

local held = {}

local by_id = {}

local function release(id)
    by_id[id] = nil
end

function held.hold(conn)
    local id = conn:id()
    if not by_id[id] and not conn:close_reason() then
        by_id[id] = conn
        conn:on_close(release)
    end
end

return held
