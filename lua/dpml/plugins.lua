-- Plug-ins: tables of callbacks for a client and what its server answers.
--
-- A plug-in may have, each of them optional:
--   new_client(client, server, auth)       the two are linked; `auth` only of proxy_new_clients
--   logged_in(auth, client_id, client)     the server has let the client in, who had sent this auth packet
--   new_command(cmd, client_id, client)    a command of the client's
--   new_statement(prepared, client_id, client)  a statement of the client's has been prepared
--   new_result(rset, client_id, client)    a resultset of the server's begins
--   new_field(field, client_id, client)    a column of it
--   new_row(row, client_id, client, rset)  a row of it
--   finished_result(packet, client_id, client)  the eof or ok that ends a result
--   failed_command(err, client_id, client) the error that ends an answer
--   finished_command(client_id, client)    the answer is complete, whoever gave it
--   closing(client_id, client)             the client leaves
-- Those with a packet return a verdict, or the packets that are sent instead of this one.
--
-- A plug-in may also be a function (client, server, auth) that gives each client a table of its own, or an
-- object that has such a function as its method for_client, beside what else there is to ask it for.

local checks = require "dpml.checks"
local cursors = require "dpml.cursors"

local plugins = {}

local CALLBACKS = { selftest = true } -- of a reloadable one; the others are added below

-- Checks a plug-in. It may hold data of its own, but a function whose name is not a callback's is one that
-- would never be called.
function plugins.check(what, plugin)
    checks.argument(what, "plug-in", plugin, "a table or function")
    if type(plugin) ~= "table" then
        return
    elseif plugin.for_client ~= nil then
        return checks.argument(what, "for_client", plugin.for_client, "a function")
    end
    local functions = {}
    for name, value in pairs(plugin) do
        if CALLBACKS[name] then
            checks.argument(what, name, value, "a function")
        elseif type(value) == "function" then
            functions[name] = value
        end
    end
    checks.options(what, functions, CALLBACKS, "callback")
end

-- What a plug-in's function has made for a client.
local function callbacks_from(made)
    made = made or {}
    checks.argument("a plug-in's function", "what it returned", made, "a table")
    plugins.check("a plug-in's function", made)
    if made.for_client then
        checks.fail("a plug-in's function", "what it returned: expected callbacks, got an object that makes them")
    end
    return made
end

-- The callbacks that a plug-in has for a client. `auth` is known where the proxy has logged it in.
function plugins.of_client(plugin, client, server, auth)
    if type(plugin) == "function" then
        return callbacks_from(plugin(client, server, auth))
    elseif plugin.for_client then
        return callbacks_from(plugin:for_client(client, server, auth))
    end
    return plugin
end

-- Result callbacks by the states of the server that they are for; those of fields and rows do not stop at that.
local states = {
    new_statement = { dpm.MYS_STMT_PREPARED },
    new_result = { dpm.MYS_SENT_RSET },
    new_field = { dpm.MYS_SENDING_FIELDS },
    new_row = { dpm.MYS_SENDING_ROWS },
    finished_result = { dpm.MYS_SENDING_EOF, dpm.MYS_WAIT_CMD },
    failed_command = { dpm.MYS_RECV_ERR },
}

-- Whether a plug-in is to be shown commands. Whose resultset a row is follows from them.
function plugins.wants_commands(plugin)
    return plugin.new_command ~= nil or plugin.new_row ~= nil
end

-- Whether a plug-in wants to see anything of what the server answers.
function plugins.wants_results(plugin)
    for name in pairs(states) do
        if plugin[name] then
            return true
        end
    end
    return false
end

-- Sends what a callback has returned: the verdict on the original, or what goes in its place.
local function apply(conn, first, ...)
    if type(first) ~= "userdata" then
        return first
    end
    for i = 1, select("#", ...) + 1 do
        dpm.wire_packet(conn, i == 1 and first or (select(i - 1, ...)))
    end
    return dpm.DPM_NOPROXY
end

-- Shows a command to a plug-in, and returns the verdict. A command that it returns is sent to the server
-- instead of the client's own.
function plugins.show_command(plugin, server, cmd, client_id, client)
    local verdict = plugin.new_command and plugin.new_command(cmd, client_id, client)
    local followed = cursors.of_server(server)
    if followed then
        local sent = type(verdict) == "userdata" and verdict or cmd
        local changed = followed:new_command(sent)
        if changed and verdict ~= dpm.DPM_NOPROXY and verdict ~= dpm.DPM_FLUSH_DISCONNECT then
            verdict = sent
        end
    end
    return apply(server, verdict)
end

-- Has what a server answers to the client shown to the plug-in. What it does not ask for is not
-- registered: a state without a callback costs nothing.
function plugins.watch_results(plugin, client, server)
    local client_id = client:id()
    for name, its_states in pairs(states) do
        local callback = plugin[name]
        for _, state in ipairs(callback and its_states or {}) do
            server:register(state, function(packet)
                return apply(client, callback(packet, client_id, client))
            end)
        end
    end
    local new_result, new_field, new_row = plugin.new_result, plugin.new_field, plugin.new_row
    if not new_field and not new_row then
        return
    end
    -- A row is taken apart by its resultset, which must know the columns; and a column that belongs to no
    -- resultset (of a statement that is prepared, or of COM_FIELD_LIST) is none of a plug-in's.
    local rset, columns_due = nil, 0
    local followed = new_row and cursors.follow(server)
    server:register(dpm.MYS_SENT_RSET, function(packet)
        rset, columns_due = packet, packet:fields_follow() and packet:field_count() or 0
        if followed then
            followed:new_result(packet)
        end
        return new_result and apply(client, new_result(packet, client_id, client))
    end)
    server:register(dpm.MYS_SENDING_FIELDS, function(field)
        if columns_due == 0 then
            return
        end
        columns_due = columns_due - 1
        rset:add_field(field)
        return new_field and apply(client, new_field(field, client_id, client))
    end)
    if not followed then
        return
    end
    local registered = server:register(dpm.MYS_STMT_PREPARED) -- by the plug-in: above, or itself
    server:register(dpm.MYS_STMT_PREPARED, function(prepared, ...)
        followed:prepared(prepared)
        return registered and registered(prepared, ...)
    end)
    server:register(dpm.MYS_SENDING_ROWS, function(row)
        return apply(client, new_row(row, client_id, client, followed.rset))
    end)
end

-- Chains ----------------------------------------------------------------------------------------

local function links_with(links, name)
    local having = {}
    for _, link in ipairs(links) do
        having[#having + 1] = link[name]
    end
    return #having > 0 and having or nil
end

-- A command goes from link to link until one stops it; each sees what the one before has made of it.
local function chain_commands(callbacks)
    return function(cmd, client_id, client)
        local changed = false
        for _, callback in ipairs(callbacks) do
            local verdict = callback(cmd, client_id, client)
            if type(verdict) == "userdata" then
                cmd, changed = verdict, true
            elseif verdict == dpm.DPM_NOPROXY or verdict == dpm.DPM_FLUSH_DISCONNECT then
                return verdict
            end
        end
        return changed and cmd or dpm.DPM_OK
    end
end

-- So does a packet of the server's; one may become several, or none.
local function chain_packets(callbacks)
    return function(packet, client_id, client, rset)
        local packets, replaced, unlinks = { packet }, false, false
        for _, callback in ipairs(callbacks) do
            local passed = {}
            for _, each in ipairs(packets) do
                local results = { callback(each, client_id, client, rset) }
                if type(results[1]) == "userdata" then
                    replaced = true
                    for _, result in ipairs(results) do
                        passed[#passed + 1] = result
                    end
                elseif results[1] ~= dpm.DPM_NOPROXY then
                    passed[#passed + 1] = each
                    unlinks = unlinks or results[1] == dpm.DPM_FLUSH_DISCONNECT
                end
            end
            packets = passed
        end
        if packets[1] == nil then
            return dpm.DPM_NOPROXY
        elseif not replaced then
            return unlinks and dpm.DPM_FLUSH_DISCONNECT or dpm.DPM_OK
        end
        return unpack(packets)
    end
end

-- Each is called, even if one before it fails.
local function call_each(callbacks)
    return function(...)
        local failed, problem = false, nil
        for _, callback in ipairs(callbacks) do
            local ok, err = xpcall(callback, debug.traceback, ...)
            if not ok and not failed then
                failed, problem = true, err
            end
        end
        if failed then
            error(problem, 0)
        end
    end
end

local compositions = {
    new_client = call_each, logged_in = call_each, new_command = chain_commands,
    new_statement = chain_packets, new_result = chain_packets, new_field = chain_packets, new_row = chain_packets,
    finished_result = chain_packets, failed_command = chain_packets,
    finished_command = call_each, closing = call_each,
}
for name in pairs(compositions) do
    CALLBACKS[name] = true
end

-- One plug-in of several: each sees commands and results in the order of the list.
function plugins.chain(list)
    checks.argument("dpml.chain", "plug-ins", list, "an array")
    for i = 1, table.maxn(list) do -- a hole is a plug-in that was misspelt
        plugins.check("dpml.chain: link " .. i, list[i])
    end
    return function(client, server, auth)
        local links, chained = {}, {}
        for i, plugin in ipairs(list) do
            links[i] = plugins.of_client(plugin, client, server, auth)
        end
        for name, compose in pairs(compositions) do
            local callbacks = links_with(links, name)
            chained[name] = callbacks and (#callbacks == 1 and callbacks[1] or compose(callbacks))
        end
        return chained
    end
end

return plugins
