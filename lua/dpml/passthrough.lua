-- Clients that each get a server connection of their own, at which they log in themselves.

local addresses = require "dpml.servers.addresses"
local after_login = require "dpml.logins.after_login"
local checks = require "dpml.support.checks"
local errors = require "dpml.support.errors"
local held = require "dpml.logins.held"
local keeping = require "dpml.plugins.keeping"
local linked = require "dpml.plugins.linked"
local moves = require "dpml.plugins.moves"
local plugins = require "dpml.plugins"
local servers = require "dpml.servers"
local showing = require "dpml.plugins.showing"
local takeover = require "dpml.servers.takeover"
local warnings = require "dpml.support.warnings"

local register_callbacks = require("dpml.servers.callbacks").register_callbacks

local passthrough = {}

local attempts = {} -- server id, and client id -> the attempt to get a server for a client

local NAME = "dpml.passthrough_new_clients"
local KIND = "passthrough" -- of clients that move

-- Makes an address, in any of its forms, or a list of them a list of addresses.
local function read_addresses(first, port)
    if type(first) == "string" then
        first = { first, port }
    end
    checks.argument(NAME, "address", first, "a table")
    local list = {}
    for i, each in ipairs(type(first[1]) == "table" and first or { first }) do
        list[i] = addresses.read(NAME, each, servers.ADDRESS_OPTIONS)
    end
    return list
end

-- Sends a handshake to a client for which there is no server, so that an error with SQLSTATE can follow: an
-- error in place of the handshake would have none.
local function refuse(client, err)
    held.hold(client)
    warnings.warn(NAME, ("client %d: no server: %s"):format(client:id(), tostring(err)))
    client:register(dpm.MYC_WAITING, function()
        errors.send_error(client, err.sqlstate, err.errnum, err.message)
        return dpm.DPM_NOPROXY
    end)
    dpm.wire_packet(client, dpm.new_handshake_pkt())
end

local try_next

-- This server failed: it could not be connected to, or sent an error instead of its handshake.
local function give_up(server_id, err)
    local attempt = attempts[server_id]
    attempts[server_id], attempt.server = nil, nil
    attempt.takeover:give_back()
    attempt.err = err
    if attempt.addresses[attempt.at + 1] then
        warnings.warn(NAME, ("client %d: %s; trying the next server"):format(attempt.client:id(), tostring(err)))
    end
    try_next(attempt)
end

local function lost_server(server_id, server)
    local reason = server and server:close_reason() or "closed"
    reason = reason:gsub("^cannot connect to %S+: ", "")
    give_up(server_id, errors.new(1105, "08S01",
        ("Can't connect to MySQL server on '%s' (%s)"):format(attempts[server_id].address, reason)))
end

local function lost_client(client_id)
    local attempt = attempts[client_id]
    attempts[client_id] = nil
    if attempt.server then
        attempts[attempt.server:id()] = nil
        attempt.takeover:give_back()
        dpm.close(attempt.server)
    end
end

linked.on_end(function(_, client_id)
    after_login.forget(client_id)
    moves.left(client_id, KIND)
end)

-- A pair begins: returns what the plug-in has for it.
local function begin(show, client, server)
    linked.join(client, server:id())
    server:on_close(linked.server_closed)
    return show:begin(client, server)
end

-- What a pair needs as long as it lasts.
local function attend(show, callbacks, client, server)
    if showing.wants_commands(callbacks) then
        linked.keep_server(client:id(), server)
        client:listen(dpm.MYC_SENT_CMD, show.functions.command)
    end
    if callbacks.closing then
        client:listen(dpm.MY_CLOSING, callbacks.closing)
    end
end

-- What it needs once the client has logged in: the OK of the login is not part of a result, nor the end of an answer.
local function watch_answers(show, callbacks, client, server)
    show:watch_results(callbacks, server)
    if callbacks.finished_command then
        client:listen(dpm.MYC_WAITING, show.functions.finished_command)
    end
end

-- The server's handshake has come: from here on the proxy forwards between the two.
local function link(handshake, server_id, server)
    local attempt = attempts[server_id]
    local client, client_id, show = attempt.client, attempt.client:id(), attempt.listener.show
    attempts[server_id], attempts[client_id] = nil, nil
    attempt.watch:remove()
    attempt.takeover:give_back()
    -- If the script fails from here on, the server is closed, and so is the client, which would wait for it.
    local callbacks = begin(show, client, server)
    dpm.proxy_connect(client, server)
    moves.joined(client_id, attempt.listener.mover)
    local waits_for_login = callbacks.logged_in or callbacks.finished_command or showing.wants_results(callbacks)
    if waits_for_login then
        linked.keep_server(client_id, server)
    end
    attend(show, callbacks, client, server)
    if waits_for_login then
        after_login.watch(client, attempt.listener.after_login)
    end
    if callbacks.new_client then
        callbacks.new_client(client, server)
    end
    -- The current event began before this was registered.
    local own = (server:package_register() or server):register(dpm.MYS_WAIT_AUTH)
    return own and own(handshake, server_id, server)
end

local function logged_in(show, client_id, client, auth)
    local callbacks = show:callbacks_of(client_id)
    watch_answers(show, callbacks, client, linked.server_of(client_id))
    if callbacks.logged_in then
        callbacks.logged_in(auth, client_id, client)
    end
end

-- What is known of who the client is: its name.
local function auth_of(client)
    local auth = dpm.new_auth_pkt()
    auth:user(client:user() or "")
    return auth
end

local function adopt(show, client, server, record)
    local callbacks = begin(show, client, server)
    linked.keep_server(client:id(), server)
    attend(show, callbacks, client, server)
    watch_answers(show, callbacks, client, server)
    keeping.restore(callbacks, client, server, auth_of(client), record.plugin)
end

local function new_mover(show)
    return {
        kind = KIND,
        pack = function(client, record)
            return keeping.save(show, client, record)
        end,
        adopt = function(client, server, record)
            if not server then
                return nil, "it has no server"
            end
            local adopted, problem = pcall(adopt, show, client, server, record)
            if not adopted then
                linked.part(server:id())
                error(problem, 0)
            end
            return true
        end,
    }
end

local connecting = dpm.new_callback()
register_callbacks(connecting, {
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
        attempts[client:id()] = nil
        attempt.watch:remove()
        return refuse(client, attempt.err)
    end
    local begun, server = pcall(servers.connect, address, client)
    if not begun then
        dpm.log("error", ("client %d: address %d cannot be tried: %s"):format(
            client:id(), attempt.at, errors.text(server)))
        attempt.err = errors.presentable(server)
        return try_next(attempt)
    end
    servers.share_time(server, client, #attempt.addresses - attempt.at + 1)
    attempt.address = addresses.show(address)
    attempt.server = server
    attempts[server:id()] = attempt
    attempt.takeover = takeover.begin(server, connecting, lost_server)
end

-- Gives each client of `listener` a connection of its own to a server, where it logs in by itself.
-- `backends` is an address, a list of addresses, which are tried in turn, each for its
-- share of the time that the client has, or a function of the client that returns one
-- or the other. Options of dpm.connect can stand beside an address, such as proxy_protocol = 2, which then is about
-- that client. If all fail, the client gets the last one's error.
function passthrough.passthrough_new_clients(listener, plugin, backends, port)
    checks.argument(NAME, "listener", listener, "a listener")
    plugins.check(NAME, plugin)
    local list = type(backends) ~= "function" and read_addresses(backends, port)
    held.hold(listener)
    local show = showing.new(plugin)
    local mover = new_mover(show)
    moves.offer(listener, mover)
    local shared = {
        show = show,
        mover = mover,
        after_login = after_login.callback(function(...)
            logged_in(show, ...)
        end),
    }
    listener:register(dpm.MYC_CONNECT, function(client)
        local attempt = { client = client, listener = shared, addresses = list or read_addresses(backends(client)), at = 0 }
        attempts[client:id()] = attempt
        attempt.watch = client:on_close(lost_client)
        try_next(attempt)
    end)
end

return passthrough
