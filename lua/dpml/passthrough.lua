-- Clients that each get a server connection of their own, where they log in by themselves.

local callbacks = require "dpml.callbacks"
local checks = require "dpml.checks"
local clients = require "dpml.clients"
local errors = require "dpml.errors"
local held = require "dpml.held"
local plugins = require "dpml.plugins"
local servers = require "dpml.servers"

local passthrough = {}

local attempts = {} -- server id -> the attempt to get a server for a client

local NAME = "dpml.passthrough_new_clients"

-- Makes one address a list.
local function check_addresses(addresses)
    checks.argument(NAME, "address", addresses, "a table")
    local list = type(addresses[1]) == "table" and addresses or { addresses }
    for _, address in ipairs(list) do
        checks.options(NAME, address, servers.ADDRESS_OPTIONS)
        checks.argument(NAME, "host", address[1], "a string")
        checks.argument(NAME, "port", address[2], "an integer or nil")
    end
    return list
end

-- The addresses to try, in their order.
local function addresses_for(client, backends)
    if type(backends) == "function" then
        backends = backends(client)
    end
    return check_addresses(backends)
end

-- Greets a client for whom there is no server, so that it can be told why: an error in the place of the
-- greeting would have no SQLSTATE.
local function refuse(client, err)
    dpm.log("warn", ("client %d: no server: %s"):format(client:id(), tostring(err)))
    client:register(dpm.MYC_WAITING, function()
        errors.send_error(client, err.sqlstate, err.errnum, err.message)
        return dpm.DPM_NOPROXY
    end)
    dpm.wire_packet(client, dpm.new_handshake_pkt())
end

local try_next

-- This server will not do: it could not be connected to, or has an error where its greeting should be.
local function give_up(server_id, err)
    local attempt = attempts[server_id]
    attempts[server_id] = nil
    attempt.err = err
    try_next(attempt)
end

local function lost_server(server_id, server)
    local attempt = attempts[server_id]
    if attempt then
        local reason = server and server:close_reason() or "closed"
        reason = reason:gsub("^cannot connect to %S+: ", "")
        give_up(server_id, errors.new(1105, "08S01",
            ("Can't connect to MySQL server on '%s' (%s)"):format(attempt.address, reason)))
    end
end

-- The server has greeted: from here on the two talk to each other.
local function link(handshake, server_id, server)
    local attempt = attempts[server_id]
    attempts[server_id] = nil
    local client, client_id = attempt.client, attempt.client:id()
    -- If the script fails from here on, the server is closed, and the client is not to wait for it.
    server:on_close(function()
        clients.close_held(client_id)
    end)
    local plugin = plugins.of_client(attempt.plugin, client, server)
    server:package_register(nil)
    -- The link keeps the server as long as the client is kept.
    dpm.proxy_connect(client, server)
    client:register(dpm.MYC_SENT_CMD, plugins.wants_commands(plugin) and function(cmd)
        return plugins.show_command(plugin, server, cmd, client_id, client)
    end or nil)
    -- The OK of the login is nobody's result.
    local watched = plugins.wants_results(plugin)
    local logged_in = (watched or plugin.logged_in) and function(_, auth)
        if watched then
            plugins.watch_results(plugin, client, server)
        end
        if plugin.logged_in then
            plugin.logged_in(auth, client_id, client)
        end
    end
    client:register(dpm.MYC_WAITING, clients.after_login(plugin.finished_command, logged_in))
    client:register(dpm.MY_CLOSING, plugin.closing)
    if plugin.new_client then
        plugin.new_client(client, server)
    end
    -- What fires just now was not yet registered when it began to.
    local own = (server:package_register() or server):register(dpm.MYS_WAIT_AUTH)
    return own and own(handshake, server_id, server)
end

local connecting = dpm.new_callback()
callbacks.register_callbacks(connecting, {
    [dpm.MYS_WAIT_AUTH] = link,
    [dpm.MYS_RECV_ERR] = function(packet, server_id, server)
        give_up(server_id, errors.from_packet(packet))
        dpm.close(server)
        return dpm.DPM_NOPROXY
    end,
})

function try_next(attempt)
    local client = attempt.client
    if client:close_reason() then
        return
    end
    attempt.at = attempt.at + 1
    local address = attempt.addresses[attempt.at]
    if not address then
        return refuse(client, attempt.err)
    end
    local begun, server = pcall(servers.connect, address[1], address[2], address, client)
    if not begun then
        dpm.log("error", ("client %d: address %d cannot be tried: %s"):format(
            client:id(), attempt.at, errors.text(server)))
        attempt.err = errors.presentable(server)
        return try_next(attempt)
    end
    attempt.address = servers.show_address(address[1], address[2])
    attempt.server = server
    attempts[server:id()] = attempt
    server:package_register(connecting)
    server:on_close(lost_server)
end

-- Gives each client of `listener` a connection of its own to a server, where it logs in by itself.
-- `backends` is { host, port } or { socket path }, a list of these, which are tried in turn, or a
-- function of the client that returns one or the other. Options of dpm.connect can stand beside host
-- and port, such as proxy_protocol = 2, which then is about that client. If none can be had, the client
-- is sent the last one's error.
function passthrough.passthrough_new_clients(listener, plugin, backends)
    checks.argument(NAME, "listener", listener, "a listener")
    plugins.check(NAME, plugin)
    if type(backends) ~= "function" then
        backends = check_addresses(backends)
    end
    held.hold(listener)
    listener:register(dpm.MYC_CONNECT, function(client)
        clients.hold(client)
        local attempt = { client = client, plugin = plugin, addresses = addresses_for(client, backends), at = 0 }
        client:on_close(function()
            local server = attempt.server
            if server and attempts[server:id()] == attempt then
                attempts[server:id()] = nil
                dpm.close(server)
            end
        end)
        try_next(attempt)
    end)
end

return passthrough
