-- Serving the clients of a listener.

local errors = require "dpml.errors"
local results = require "dpml.results"
local servers = require "dpml.servers"

local clients = {}

local held = {} -- client id -> client: as long as it is connected, so that scripts need not

local function close_held(client_id)
    local client = held[client_id]
    held[client_id] = nil
    if client then
        dpm.close(client)
    end
end

local function hold(client)
    held[client:id()] = client
    client:on_close(close_held)
end

-- What a script does not ask for is not registered: a state without a callback costs nothing.
local function register_client_callbacks(client, callbacks)
    client:register(dpm.MYC_SENT_CMD, callbacks.new_command)
    client:register(dpm.MYC_WAITING, callbacks.finished_command)
    client:register(dpm.MY_CLOSING, callbacks.closing)
end

-- MYC_WAITING comes with the auth packet, then without one: once after login, and after each answer.
local function after_login(finished_command)
    local logged_in = false
    return finished_command and function(packet_or_id, client)
        if type(packet_or_id) ~= "number" then
            return
        end
        if logged_in then
            finished_command(packet_or_id, client)
        end
        logged_in = true
    end
end

-- Gives each client of `listener` a connection of its own to the server at { host, port } or
-- { socket path }, where it logs in by itself; options of dpm.connect can stand beside these, such as
-- proxy_protocol = 2, which then is about that client. The callbacks, each of them optional: new_client(client, server),
-- new_command(cmd, client_id, client), whose result is its verdict, finished_command(client_id,
-- client) and closing(client_id, client).
function clients.passthrough_new_clients(listener, callbacks, address)
    listener:register(dpm.MYC_CONNECT, function(client)
        local client_id = client:id()
        local server = servers.connect(address[1], address[2], address, client)
        hold(client)
        server:on_close(function()
            close_held(client_id)
        end)
        register_client_callbacks(client, {
            new_command = callbacks.new_command,
            finished_command = after_login(callbacks.finished_command),
            closing = callbacks.closing,
        })
        -- The link keeps the server as long as the client is kept.
        dpm.proxy_connect(client, server)
        if callbacks.new_client then
            callbacks.new_client(client, server)
        end
    end)
end

local function refuse_client(client, user)
    local message = ("Access denied for user '%s'@'%s'"):format(user, client:socket_address())
    errors.send_error(client, "28000", 1045, message)
end

local function check_client(client, auth, handshake, accounts, callbacks)
    local user = auth:user()
    local stored_hash = accounts[user]
    if not stored_hash or dpm.check_pass(auth, handshake, stored_hash) ~= 0 then
        refuse_client(client, user)
    elseif not callbacks.new_client or callbacks.new_client(client, auth) ~= dpm.DPM_NOPROXY then
        register_client_callbacks(client, {
            new_command = callbacks.new_command,
            finished_command = after_login(callbacks.finished_command),
            closing = callbacks.closing,
        })
        results.send_resultset(client, {}) -- OK
    end
end

-- Logs the clients of `listener` in without any server, against accounts: { user = stored hash }.
-- The callbacks are those of passthrough_new_clients, but for new_client(client, auth): it is called
-- when the password was right, and may return DPM_NOPROXY if it has sent an error instead of the OK.
function clients.authenticate_new_clients(listener, callbacks, accounts)
    listener:register(dpm.MYC_CONNECT, function(client)
        local handshake = dpm.new_handshake_pkt()
        hold(client)
        client:register(dpm.MYC_WAITING, function(auth, _, waiting_client)
            check_client(waiting_client, auth, handshake, accounts, callbacks)
            return dpm.DPM_NOPROXY
        end)
        dpm.wire_packet(client, handshake)
    end)
end

return clients
