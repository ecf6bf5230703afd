-- dpml: what most scripts would otherwise write for themselves on top of the low-level `dpm` API.
--
-- The functions that wait for a server lay a callback object over the connection's callbacks
-- (package_register) and put back what they found there, so that they may be called from a script
-- or from another library that does the same. What they keep of a connection is keyed by its id and
-- dropped when they are done with it or when it closes, whichever comes first.

local bit = require "bit"

local dpml = {}

-- Callbacks -------------------------------------------------------------------------------------

-- Registers a whole table of { [dpm.STATE] = function } with a connection or a callback object.
function dpml.register_callbacks(object, callbacks)
    for state, callback in pairs(callbacks) do
        object:register(state, callback)
    end
end

-- Errors ----------------------------------------------------------------------------------------

-- The errors handed to callbacks are { errnum, sqlstate, message }, and print as MySQL's CLI would.
local error_meta = {
    __tostring = function(err)
        return ("ERROR %d (%s): %s"):format(err.errnum, err.sqlstate, err.message)
    end,
}

local function new_error(errnum, sqlstate, message)
    return setmetatable({ errnum = errnum, sqlstate = sqlstate, message = message }, error_meta)
end

local function error_from_packet(packet)
    return new_error(packet:errnum(), packet:sqlstate(), packet:message())
end

function dpml.send_error(conn, sqlstate, errnum, message)
    local packet = dpm.new_err_pkt()
    packet:errnum(errnum)
    packet:sqlstate(sqlstate)
    packet:message(message)
    dpm.wire_packet(conn, packet)
end

-- Sending results -------------------------------------------------------------------------------

-- What a result tells about the session. MORE_RESULTS is not among them: it follows from `next`.
local carried_status = {
    dpm.SERVER_STATUS_IN_TRANS,
    dpm.SERVER_STATUS_AUTOCOMMIT,
    dpm.SERVER_STATUS_NO_BACKSLASH_ESCAPES,
    dpm.SERVER_STATUS_IN_TRANS_READONLY,
}

-- The part that an OK and an EOF have in common.
local function fill_ending(packet, result)
    packet:warning_count(result.warning_count or 0)
    if result.server_status then
        for _, flag in ipairs(carried_status) do
            packet:server_status(flag, bit.band(result.server_status, flag) ~= 0)
        end
    end
    packet:server_status(dpm.SERVER_MORE_RESULTS_EXISTS, result.next ~= nil)
    return packet
end

local function send_ok(conn, result)
    local ok = fill_ending(dpm.new_ok_pkt(), result)
    ok:affected_rows(result.affected_rows or 0)
    ok:insert_id(result.insert_id or 0)
    ok:message(result.message or "")
    dpm.wire_packet(conn, ok)
end

local function new_field(column)
    local field = dpm.new_field_pkt()
    if type(column) == "string" then
        field:name(column, dpm.MYSQL_TYPE_VAR_STRING)
    else
        field:full(column)
    end
    return field
end

local function send_rows(conn, result)
    local rset, fields = dpm.new_rset_pkt(), {}
    for i, column in ipairs(result.fields) do
        fields[i] = new_field(column)
        rset:add_field(fields[i])
    end

    dpm.wire_packet(conn, rset)
    for _, field in ipairs(fields) do
        dpm.wire_packet(conn, field)
    end
    dpm.wire_packet(conn, dpm.new_eof_pkt())

    -- A packet is encoded when it is wired, so that one object does for all the rows.
    local row = dpm.new_row_pkt()
    for _, values in ipairs(result.rows or {}) do
        rset:pack_row(row, values)
        dpm.wire_packet(conn, row)
    end
    dpm.wire_packet(conn, fill_ending(dpm.new_eof_pkt(), result))
end

-- Sends { fields = { { name =, type = } | "name", ... }, rows = { { value, ... }, ... } }, where a
-- nil (or dpm.NULL) is SQL's NULL. A result without `fields` is sent as an OK. `result.next` is
-- another result to be sent after it.
function dpml.send_resultset(conn, result)
    while result do
        local send = result.fields and send_rows or send_ok
        send(conn, result)
        result = result.next
    end
end

-- Reading results -------------------------------------------------------------------------------

local jobs = {}    -- server id -> the queries it is working on, oldest first, and what to put back
local watched = {} -- server id -> true once its death is ours to hear of

-- What comes in belongs to the oldest query: a server answers in order.
local function oldest(server_id)
    return jobs[server_id][1]
end

local function finish_query(server_id, err)
    local queue = jobs[server_id]
    local job = table.remove(queue, 1)
    if #queue == 0 then
        jobs[server_id] = nil
        job.server:package_register(queue.package)
    end
    job.callback(server_id, job.query, job.first, err)
    return dpm.DPM_NOPROXY
end

local function add_result(job, result)
    if job.last then
        job.last.next = result
    else
        job.first = result
    end
    job.last = result
end

local function read_rset(rset, server_id)
    local job = oldest(server_id)
    job.rset = rset
    add_result(job, { fields = {}, rows = {} })
    return dpm.DPM_NOPROXY
end

local function read_field(field, server_id)
    local job = oldest(server_id)
    local fields = job.last.fields
    job.rset:add_field(field)
    fields[#fields + 1] = field:full()
    return dpm.DPM_NOPROXY
end

local function hold_back()
    return dpm.DPM_NOPROXY
end

local function read_row(row, server_id)
    local job = oldest(server_id)
    local rows = job.last.rows
    rows[#rows + 1] = job.rset:parse_row_array(row)
    return dpm.DPM_NOPROXY
end

-- The packet is the EOF of a resultset, or an OK in a result's place.
local function read_ending(packet, server_id)
    local job = oldest(server_id)
    if job.rset then
        job.rset = nil
    else
        add_result(job, {
            affected_rows = packet:affected_rows(),
            insert_id = packet:insert_id(),
            message = packet:message(),
        })
    end
    job.last.warning_count = packet:warning_count()
    job.last.server_status = packet:server_status()
    return dpm.DPM_NOPROXY
end

local function read_last_ending(packet, server_id)
    read_ending(packet, server_id)
    return finish_query(server_id)
end

local function read_error(packet, server_id)
    return finish_query(server_id, error_from_packet(packet))
end

-- The server asks for a file that nobody here has: there is no way on but to hang up.
local function refuse_file(_, _, server)
    dpm.close(server)
    return dpm.DPM_NOPROXY
end

local query_callbacks = dpm.new_callback()
dpml.register_callbacks(query_callbacks, {
    [dpm.MYS_SENT_RSET] = read_rset,
    [dpm.MYS_SENDING_FIELDS] = read_field,
    [dpm.MYS_SENT_FIELDS] = hold_back,
    [dpm.MYS_SENDING_ROWS] = read_row,
    [dpm.MYS_SENDING_EOF] = read_ending,
    [dpm.MYS_WAIT_CMD] = read_last_ending,
    [dpm.MYS_RECV_ERR] = read_error,
    [dpm.MYS_SENT_INFILE] = refuse_file,
})

local function lost_connection(reason)
    return new_error(2013, "HY000", "Lost connection to server during query (" .. reason .. ")")
end

local function fail_queries(server_id, server)
    local queue = jobs[server_id]
    jobs[server_id], watched[server_id] = nil, nil
    if not queue then
        return
    end
    local err = lost_connection(server and server:close_reason() or "closed")
    for _, job in ipairs(queue) do
        job.callback(server_id, job.query, job.first, err)
    end
end

local function new_query(sql)
    local command = dpm.new_cmd_pkt()
    command:command(dpm.COM_QUERY)
    command:argument(sql)
    return command
end

-- Runs `query` and calls callback(server_id, query, result, err) when the whole answer is there.
-- `result` is the table that send_resultset takes; each further result is the `next` of the one
-- before it. An OK reads { affected_rows, insert_id, message }. When `err` is given, `result` has
-- what came before the error, if anything did. Queries may be given without waiting for the one
-- before: the server answers them in order.
function dpml.execute_query_buffered(server, query, callback)
    local id = server:id()
    if server:close_reason() then
        callback(id, query, nil, new_error(2006, "HY000", "Server has gone away"))
        return
    end
    if not watched[id] then
        server:on_close(fail_queries)
        watched[id] = true
    end

    local queue = jobs[id]
    if not queue then
        queue = { package = server:package_register() }
        jobs[id] = queue
        server:package_register(query_callbacks)
    end
    -- The job holds the server, which must live as long as someone waits for its answer.
    queue[#queue + 1] = { server = server, query = query, callback = callback }

    local sent, problem = pcall(dpm.wire_packet, server, new_query(query))
    -- If sending closed the connection, the callback has already been told.
    if not sent and jobs[id] == queue then
        table.remove(queue)
        if #queue == 0 then
            jobs[id] = nil
            server:package_register(queue.package)
        end
        error(problem, 2)
    end
end

-- Logging in to a server ------------------------------------------------------------------------

-- Starts to connect; a host that begins with a slash is a unix socket.
local function connect(host, port)
    if host:sub(1, 1) == "/" then
        return dpm.connect_unix(host)
    end
    return dpm.connect(host, port or 3306)
end

local logins = {} -- server id -> what connect_mysql_server was given, while it is under way

local function finish_login(server_id, err)
    local login = logins[server_id]
    logins[server_id] = nil
    if err then
        dpm.close(login.server)
        login.callback(nil, err)
    else
        login.server:package_register(nil)
        login.callback(login.server)
    end
    return dpm.DPM_NOPROXY
end

local function answer_handshake(handshake, server_id, server)
    local login = logins[server_id]
    local auth = dpm.new_auth_pkt()
    auth:user(login.user or "")
    if login.db then
        auth:databasename(login.db)
    end
    dpm.crypt_pass(auth, handshake, login.pass or "")
    dpm.wire_packet(server, auth)
    return dpm.DPM_NOPROXY
end

local function login_accepted(_, server_id)
    return finish_login(server_id)
end

local function login_refused(packet, server_id)
    return finish_login(server_id, error_from_packet(packet))
end

-- The server wants the account to prove itself in a way that is not mysql_native_password.
local function login_switched(authdata, server_id)
    local plugin = authdata:data():match("^\254([^%z]+)") or "unknown"
    local message = ("Authentication plugin '%s' is not supported"):format(plugin)
    return finish_login(server_id, new_error(2059, "HY000", message))
end

local login_callbacks = dpm.new_callback()
dpml.register_callbacks(login_callbacks, {
    [dpm.MYS_WAIT_AUTH] = answer_handshake,
    [dpm.MYS_SENDING_AUTH] = login_switched,
    [dpm.MYS_WAIT_CMD] = login_accepted,
    [dpm.MYS_RECV_ERR] = login_refused,
})

local function fail_login(server_id, server)
    local login = logins[server_id]
    if not login then
        return
    end
    local reason = server and server:close_reason() or "closed"
    local message = ("Can't connect to server on '%s' (%s)"):format(login.address, reason)
    finish_login(server_id, new_error(2003, "HY000", message))
end

-- Connects and logs in: connect_mysql_server{ host =, port =, path =, user =, pass =, db =,
-- callback = } calls callback(server) or, if that fails, callback(nil, err). `path` is a unix
-- socket and stands for host and port. Hold on to the server from then on, or it is collected.
function dpml.connect_mysql_server(options)
    local host, port = options.path or options.host or "127.0.0.1", options.port or 3306
    local server = connect(host, port)
    logins[server:id()] = {
        server = server,
        address = host:sub(1, 1) == "/" and host or host .. ":" .. port,
        user = options.user,
        pass = options.pass,
        db = options.db,
        callback = options.callback,
    }
    server:on_close(fail_login)
    server:package_register(login_callbacks)
    return server
end

-- Serving clients -------------------------------------------------------------------------------

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
-- { socket path }, where it logs in by itself. The callbacks, each of them optional: new_client(client, server),
-- new_command(cmd, client_id, client), whose result is its verdict, finished_command(client_id,
-- client) and closing(client_id, client).
function dpml.passthrough_new_clients(listener, callbacks, address)
    listener:register(dpm.MYC_CONNECT, function(client)
        local client_id = client:id()
        local server = connect(address[1], address[2])
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
    dpml.send_error(client, "28000", 1045, message)
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
        dpml.send_resultset(client, {}) -- OK
    end
end

-- Logs the clients of `listener` in without any server, against accounts: { user = stored hash }.
-- The callbacks are those of passthrough_new_clients, but for new_client(client, auth): it is called
-- when the password was right, and may return DPM_NOPROXY if it has sent an error instead of the OK.
function dpml.authenticate_new_clients(listener, callbacks, accounts)
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

-- Debugging -------------------------------------------------------------------------------------

local function show_value(value)
    if type(value) == "string" then
        return (("%q"):format(value):gsub("\\\n", "\\n"):gsub("%c", function(c)
            return ("\\%03d"):format(c:byte())
        end))
    end
    return tostring(value)
end

-- Numbers first and in order, so that the output of two runs can be compared.
local function sorted_keys(t)
    local keys = {}
    for key in pairs(t) do
        keys[#keys + 1] = key
    end
    table.sort(keys, function(a, b)
        if type(a) == "number" and type(b) == "number" then
            return a < b
        end
        if type(a) ~= type(b) then
            return type(a) == "number" or (type(b) ~= "number" and type(a) < type(b))
        end
        return tostring(a) < tostring(b)
    end)
    return keys
end

local function append_table(lines, t, indent, open)
    open[t] = true
    for _, key in ipairs(sorted_keys(t)) do
        local value, label = t[key], indent .. "[" .. show_value(key) .. "] = "
        if type(value) ~= "table" then
            lines[#lines + 1] = label .. show_value(value)
        elseif open[value] then
            lines[#lines + 1] = label .. "<a table above>"
        elseif next(value) == nil then
            lines[#lines + 1] = label .. "{}"
        else
            lines[#lines + 1] = label .. "{"
            append_table(lines, value, indent .. "    ", open)
            lines[#lines + 1] = indent .. "}"
        end
    end
    open[t] = nil
end

-- Prints a value, tables with all that is in them.
function dpml.dump_table(t)
    if type(t) ~= "table" then
        print(show_value(t))
        return
    end
    local lines = { "{" }
    append_table(lines, t, "    ", {})
    lines[#lines + 1] = "}"
    print(table.concat(lines, "\n"))
end

-- Scripts that say `require "dpml"` and no more find it as a global, as they always have.
_G.dpml = dpml
return dpml
