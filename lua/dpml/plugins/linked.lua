-- Finds clients and their servers by each other's ids, so that all clients can share functions rather than have
-- closures of their own.
--
-- A client is kept until its server closes, which closes the client.

local linked = {}

local client_of = {} -- server id -> client
local server_of = {} -- client id -> server, only where needed
local forgotten = {} -- functions of server id and client id, called when a pair ends

-- Adds a pair. The caller has to call linked.server_closed when the server closes.
function linked.join(client, server_id)
    client_of[server_id] = client
end

-- Lets the server be found by its client, too.
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

-- Removes a pair.
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

-- A client goes on without this server; others may follow for it.
function linked.leave(server_id)
    local client = client_of[server_id]
    if client then
        client_of[server_id], server_of[client:id()] = nil, nil
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
