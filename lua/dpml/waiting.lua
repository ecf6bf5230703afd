-- A client's MYC_WAITING, which comes with the auth packet, then without one: once after the login, and after each
-- answer.

local waiting = {}

local logging_in = {} -- client id -> its auth packet, or true if nobody wants it

-- From now on the client's next MYC_WAITING without a packet is the one after its login.
function waiting.login(client_id)
    logging_in[client_id] = true
end

-- The client has closed.
function waiting.forget(client_id)
    logging_in[client_id] = nil
end

-- A callback for MYC_WAITING that any number of clients may share: it calls logged_in(client_id, client, auth), and
-- after answers finished_command(client_id, client). Either may be nil.
function waiting.callback(finished_command, logged_in)
    return function(packet_or_id, client_or_id, client)
        if type(packet_or_id) ~= "number" then
            logging_in[client_or_id] = packet_or_id
            return
        end
        local client_id, auth = packet_or_id, logging_in[packet_or_id]
        client = client_or_id
        if auth == nil then
            return finished_command and finished_command(client_id, client)
        end
        logging_in[client_id] = nil
        if logged_in then
            logged_in(client_id, client, auth)
        end
    end
end

return waiting
