-- The clients that have a server, and their servers, found by each other's ids: so that one function can serve all
-- of them, where each would otherwise need some of its own.
--
-- A client is held until its server closes, which closes the client.

local linked = {}

local client_of = {} -- server id -> client
local server_of = {} -- client id -> server, where somebody asks for it
local forgotten = {} -- what else is to be forgotten with a pair: functions of server id and client id

-- From now on the two belong together. The caller has the server's end told to linked.server_closed.
function linked.join(client, server_id)
    client_of[server_id] = client
end

-- Has the server found by its client, too.
function linked.keep_server(client_id, server)
    server_of[client_id] = server
end

-- The client of a server, from when they were joined until the server closes or they part; else nil.
function linked.client_of(server_id)
    return client_of[server_id]
end

-- The server of a client, if it was kept.
function linked.server_of(client_id)
    return server_of[client_id]
end

-- Has forget(server_id, client_id) called for each pair that comes to its end.
function linked.on_end(forget)
    forgotten[#forgotten + 1] = forget
end

-- They do not belong together any more.
function linked.part(server_id)
    local client = client_of[server_id]
    if not client then
        return
    end
    local client_id = client:id()
    client_of[server_id], server_of[client_id] = nil, nil
    for _, forget in ipairs(forgotten) do
        forget(server_id, client_id)
    end
end

-- For server:on_close(). The client's own callbacks find the server while it closes.
function linked.server_closed(server_id)
    local client = client_of[server_id]
    if client then
        dpm.close(client)
        linked.part(server_id)
    end
end

return linked
