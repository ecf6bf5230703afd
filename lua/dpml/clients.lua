-- The clients of a listener, as long as they are connected.

local clients = {}

local held = {} -- client id -> client: so that scripts need not

function clients.close_held(client_id)
    local client = held[client_id]
    held[client_id] = nil
    if client then
        dpm.close(client)
    end
end

function clients.hold(client)
    held[client:id()] = client
    client:on_close(clients.close_held)
end

-- The client of this id; nil once it has closed.
function clients.by_id(client_id)
    return held[client_id]
end

-- A callback for MYC_WAITING, which comes with the auth packet, then without one: once after the login,
-- when logged_in(client, auth) is called, and after each answer, when `finished_command` is. Either may be nil.
function clients.after_login(finished_command, logged_in)
    if not finished_command and not logged_in then
        return nil
    end
    local waited, auth = false, nil
    return function(packet_or_id, client)
        if type(packet_or_id) ~= "number" then
            auth = packet_or_id
            return
        end
        if not waited then
            waited = true
            if logged_in then
                logged_in(client, auth)
            end
            auth = nil
            if not finished_command then
                client:register(dpm.MYC_WAITING, nil)
            end
        elseif finished_command then
            finished_command(packet_or_id, client)
        end
    end
end

return clients
