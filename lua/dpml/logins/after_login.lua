-- The end of a client's login: its first MYC_WAITING without a packet. One with the auth packet may come before
-- it; later ones are the ends of answers.

local after_login = {}

local handles = {} -- client id -> the handle of what waits for its login
local auths = {}   -- client id -> its auth packet

-- A function for after_login.watch, which any number of clients may share: it calls logged_in(client_id, client, auth).
function after_login.callback(logged_in)
    return function(packet_or_id, client_or_id, client)
        if type(packet_or_id) ~= "number" then
            auths[client_or_id] = packet_or_id
            return
        end
        client = client_or_id
        local client_id, auth, handle = packet_or_id, auths[packet_or_id], handles[packet_or_id]
        after_login.forget(client_id)
        handle:remove()
        logged_in(client_id, client, auth)
    end
end

-- Calls such a function once the client has logged in.
function after_login.watch(client, callback)
    handles[client:id()] = client:listen(dpm.MYC_WAITING, callback)
end

-- The client has closed.
function after_login.forget(client_id)
    handles[client_id], auths[client_id] = nil, nil
end

return after_login
