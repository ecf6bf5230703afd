-- Shows plug-ins the packets between clients and their servers.
--
-- The registered functions are shared by all clients of a plug-in. They find the client by its server's id.
-- Data of a single client is in tables by its id, and only if the plug-in makes callbacks for each client, or
-- reads rows.

local linked = require "dpml.plugins.linked"
local plugins = require "dpml.plugins"

local showing = {}

local Show = {}
Show.__index = Show

local NONE = {}

local made_for = {} -- client id, and server id -> the callbacks that a plug-in has made for this client
local readings = {} -- server id -> the resultset that its rows belong to

-- The rows of a cursor are asked for by COM_STMT_FETCH, whose answer has no head: their resultset is that of the
-- execute that has opened the cursor, however long ago. It is among the statement's notes, by this key.
local RESULTSET = {}

linked.on_end(function(server_id, client_id)
    made_for[server_id], made_for[client_id], readings[server_id] = nil, nil, nil
end)

-- Result callbacks by the states of the server that they are for.
local STATES = {
    new_statement = { dpm.MYS_STMT_PREPARED },
    new_result = { dpm.MYS_SENT_RSET },
    new_field = { dpm.MYS_SENDING_FIELDS },
    new_row = { dpm.MYS_SENDING_ROWS },
    finished_result = { dpm.MYS_SENDING_EOF, dpm.MYS_WAIT_CMD },
    failed_command = { dpm.MYS_RECV_ERR },
}

-- Those that are shown with the resultset at hand, if rows or columns are asked for.
local READS_ROWS = { new_result = true, new_field = true, new_row = true }

-- Callbacks for every state.
local EVERYTHING = {}
for name in pairs(STATES) do
    EVERYTHING[name] = true
end

-- Commands about prepared statements: with the first of them a client's statements begin to be remembered.
local ABOUT_STATEMENTS = {}
for _, name in ipairs { "PREPARE", "EXECUTE", "FETCH", "CLOSE", "RESET", "BULK_EXECUTE" } do
    ABOUT_STATEMENTS[dpm["COM_STMT_" .. name]] = true
end

-- Whether a plug-in may have to find the resultset of a row.
local function wants_rows(callbacks)
    return callbacks.new_row ~= nil or callbacks.new_result ~= nil
end

-- Whether a plug-in needs commands: also to find the resultset of rows.
function showing.wants_commands(callbacks)
    return callbacks.new_command ~= nil or wants_rows(callbacks)
end

-- Whether it wants to see any part of answers.
function showing.wants_results(callbacks)
    for name in pairs(STATES) do
        if callbacks[name] then
            return true
        end
    end
    return false
end

-- Handles what a callback has returned: a verdict on the packet, or packets to send in its place.
local function apply(conn, first, ...)
    if type(first) ~= "userdata" then
        return first
    end
    for i = 1, select("#", ...) + 1 do
        dpm.wire_packet(conn, i == 1 and first or (select(i - 1, ...)))
    end
    return dpm.DPM_NOPROXY
end

local function reading_of(server_id)
    local reading = readings[server_id]
    if not reading then
        local client = linked.client_of(server_id)
        reading = { client = client, client_id = client:id(), columns_due = 0 }
        readings[server_id] = reading
    end
    return reading
end

-- The same for a packet that is not the server's as it came: unless it is replaced or held back, it is sent.
local function apply_or_send(conn, packet, ...)
    local verdict = apply(conn, ...)
    if verdict ~= dpm.DPM_NOPROXY then
        dpm.wire_packet(conn, packet)
    end
    if verdict == dpm.DPM_FLUSH_DISCONNECT then
        dpm.proxy_disconnect(conn)
    end
    return dpm.DPM_NOPROXY
end

-- Follows the cursors that a command opens and reads. Returns true if it had to be changed: a statement that may have
-- no cursor, as more columns would have to be kept than there is room for, has its rows sent at once.
local function follow_cursors(client, server, cmd)
    local reading, command = readings[server:id()], cmd:command()
    if reading then
        reading.opening = nil
    end
    if not ABOUT_STATEMENTS[command] then
        return false
    elseif not client:track_statements() then
        client:track_statements(true)
    end
    if command == dpm.COM_STMT_EXECUTE and cmd:execute_flags(dpm.CURSOR_TYPE_READ_ONLY) then
        local statement = client:statement(cmd:statement_id())
        if not (statement and statement:may_open_cursor()) then
            cmd:execute_flags(dpm.CURSOR_TYPE_READ_ONLY, false)
            return true
        end
        reading_of(server:id()).opening = statement
    elseif command == dpm.COM_STMT_FETCH then
        local statement = client:statement(cmd:statement_id())
        local notes = statement and statement:notes()
        reading_of(server:id()).rset = notes and notes[RESULTSET]
    end
    return false
end

-- Applies the verdict on a command. A command that the plug-in returns is sent instead of the client's own.
local function settle(callbacks, cmd, client, server, verdict)
    if server and wants_rows(callbacks) then
        local sent = type(verdict) == "userdata" and verdict or cmd
        local changed = follow_cursors(client, server, sent)
        if changed and verdict ~= dpm.DPM_NOPROXY and verdict ~= dpm.DPM_FLUSH_DISCONNECT then
            verdict = sent
        end
    end
    return apply(server, verdict)
end

-- Shows a command, and returns the verdict. A plug-in that has to ask somebody first returns a function: the command
-- waits until it calls what it is given with the verdict, and so does the client.
local function show_command(callbacks, cmd, client_id, client)
    local verdict = callbacks.new_command and callbacks.new_command(cmd, client_id, client)
    if type(verdict) ~= "function" then
        return settle(callbacks, cmd, client, linked.server_of(client_id), verdict)
    end
    verdict(function(settled)
        local server = linked.server_of(client_id)
        if client:close_reason() or not server or server:close_reason() then
            return
        end
        settled = settle(callbacks, cmd, client, server, settled)
        if settled ~= dpm.DPM_NOPROXY then
            dpm.wire_packet(server, cmd)
        end
    end)
    return dpm.DPM_NOPROXY
end

-- All columns of a result are known, or none are: the plug-in may change them, then head and columns are sent. Columns
-- that were left out, as the client knows them, are sent, too: it may know others.
local function begin_result(callbacks, reading, show_row)
    local rset, client, client_id = reading.rset, reading.client, reading.client_id
    local columns, follow = rset:field_count(), rset:fields_follow()
    local known = rset:take_fields()
    local verdict = apply(client, callbacks.new_result(rset, client_id, client))
    if not known then
        if follow or rset:field(1) or rset:field_count() ~= columns then
            error("the columns of this result are not known, and so cannot be changed", 0)
        end
        return verdict
    end
    local holds, unlinks = verdict == dpm.DPM_NOPROXY, verdict == dpm.DPM_FLUSH_DISCONNECT
    if not holds then
        rset:fields_follow(true)
        dpm.wire_packet(client, rset)
    end
    for n = 1, rset:field_count() do
        local field = rset:field(n)
        local its_verdict = callbacks.new_field and apply(client, callbacks.new_field(field, client_id, client))
        if its_verdict ~= dpm.DPM_NOPROXY and not holds then
            dpm.wire_packet(client, field)
        end
    end
    if unlinks then
        dpm.proxy_disconnect(client)
    elseif not callbacks.new_row and not reading.watches_rows and rset:fit_row() then
        -- From now on: rows of a cursor may be fetched at any time.
        reading.watches_rows = true
        linked.server_of(client_id):listen(dpm.MYS_SENDING_ROWS, show_row)
    end
    return dpm.DPM_NOPROXY
end

-- The functions that are registered; find(id) has the callbacks for the client or server of this id.
local function new_functions(find)
    local functions = {}

    function functions.command(cmd, client_id, client)
        return show_command(find(client_id), cmd, client_id, client)
    end

    function functions.finished_command(client_id, client)
        local callback = find(client_id).finished_command
        return callback and callback(client_id, client)
    end

    for name in pairs(STATES) do
        functions[name] = function(packet, server_id)
            local callback, client = find(server_id)[name], linked.client_of(server_id)
            return callback and apply(client, callback(packet, client:id(), client))
        end
    end

    -- A row is parsed by its resultset, which has to know the columns. If the plug-in may change them in new_result,
    -- the head of the result waits until all columns are here.
    function functions.resultset(rset, server_id)
        local reading = reading_of(server_id)
        reading.rset, reading.columns_due = rset, rset:fields_follow() and rset:field_count() or 0
        local notes = reading.opening and reading.opening:notes()
        if notes then
            notes[RESULTSET] = rset
        end
        if find(server_id).new_result then
            return reading.columns_due > 0 and dpm.DPM_NOPROXY or begin_result(find(server_id), reading, functions.row)
        end
    end

    -- A column that belongs to no resultset (of a statement that is prepared, or of COM_FIELD_LIST) is not shown to
    -- plug-ins.
    function functions.column(field, server_id)
        local reading, callbacks = reading_of(server_id), find(server_id)
        if reading.columns_due == 0 then
            return
        end
        reading.columns_due = reading.columns_due - 1
        if callbacks.new_result then
            return reading.columns_due > 0 and dpm.DPM_NOPROXY or begin_result(callbacks, reading, functions.row)
        end
        reading.rset:add_field(field)
        return callbacks.new_field and apply(reading.client, callbacks.new_field(field, reading.client_id, reading.client))
    end

    function functions.row(row, server_id)
        local reading, callbacks = reading_of(server_id), find(server_id)
        local client, rset = reading.client, reading.rset
        local fitted = rset and callbacks.new_result and rset:fit_row(row)
        if not callbacks.new_row then
            return fitted and apply(client, row)
        elseif not fitted then
            return apply(client, callbacks.new_row(row, reading.client_id, client, rset))
        end
        return apply_or_send(client, row, callbacks.new_row(row, reading.client_id, client, rset))
    end

    return functions
end

local functions_for_made = new_functions(function(id)
    return made_for[id] or NONE
end)

-- A plug-in, with the functions that all clients of a listener share.
function showing.new(plugin)
    local show = { plugin = plugin, functions = functions_for_made }
    if plugins.is_shared(plugin) then
        show.callbacks = plugin
        show.functions = new_functions(function()
            return plugin
        end)
    end
    return setmetatable(show, Show)
end

-- A client was linked: returns its callbacks. `auth` is known if the client logged in at the proxy.
function Show:begin(client, server, auth)
    if self.callbacks then
        return self.callbacks
    end
    local callbacks = plugins.of_client(self.plugin, client, server, auth)
    made_for[client:id()], made_for[server:id()] = callbacks, callbacks
    return callbacks
end

-- A client begins that has a server only from time to time: returns its callbacks.
function Show:begin_without_server(client, auth)
    if self.callbacks then
        return self.callbacks
    end
    local callbacks = plugins.of_client(self.plugin, client, nil, auth)
    made_for[client:id()] = callbacks
    return callbacks
end

-- Such a client has this server now.
function Show:join(client, server)
    local client_id, server_id = client:id(), server:id()
    linked.join(client, server_id)
    linked.keep_server(client_id, server)
    made_for[server_id] = made_for[client_id]
end

-- Such a client has it no longer.
function Show:leave(server_id)
    linked.leave(server_id)
    made_for[server_id], readings[server_id] = nil, nil
end

-- Such a client is gone.
function Show:forget(client_id)
    made_for[client_id] = nil
end

-- Registers the functions for all answers of a server that clients have in turn.
function Show:watch_for_all(server)
    self:watch_results(self.callbacks or EVERYTHING, server)
end

-- The callbacks for a client that has begun.
function Show:callbacks_of(client_id)
    return self.callbacks or made_for[client_id] or NONE
end

-- Whether any client may have this callback.
function Show:may_have(name)
    return not self.callbacks or self.callbacks[name] ~= nil
end

-- Registers the functions for a server's answers, only for states that the callbacks need: a state without a
-- function costs nothing.
function Show:watch_results(callbacks, server)
    local functions = self.functions
    local reads_rows = callbacks.new_result or callbacks.new_field or callbacks.new_row
    if reads_rows then
        server:listen(dpm.MYS_SENT_RSET, functions.resultset)
        server:listen(dpm.MYS_SENDING_FIELDS, functions.column)
    end
    if callbacks.new_row then
        server:listen(dpm.MYS_SENDING_ROWS, functions.row)
    end
    for name, its_states in pairs(STATES) do
        if callbacks[name] and not (reads_rows and READS_ROWS[name]) then
            for _, state in ipairs(its_states) do
                server:listen(state, functions[name])
            end
        end
    end
end

return showing
