-- A service's handler that forwards to a server, and sends identical SELECTs that run at the same time only
-- once: all clients that asked get the rows.
--
-- Only sessions that are alike share an answer, outside of transactions, and a client never gets an answer from
-- before a write that has passed here since.

local bit = require "bit"
local checks = require "dpml.checks"
local databases = require "dpml.databases"
local errors = require "dpml.errors"
local tasks = require "dpml.tasks"

local coalesce = {}

local NAME = "dpml.coalesce"

local MAX_BYTES = 1048576 -- of a result that is kept for all waiting clients; a larger one is streamed to each
local MAX_HISTORY = 4096 -- bytes

-- Options that the session sets, not the script.
local LOGIN_OPTIONS = checks.union(databases.CONNECT_OPTIONS)
for _, name in ipairs { "db", "database", "like", "charset" } do
    LOGIN_OPTIONS[name] = nil
end
local OPTIONS = checks.union(LOGIN_OPTIONS, { max_bytes = "a number" })

local function set(words)
    local result = {}
    for word in words:gmatch("%S+") do
        result[word] = true
    end
    return result
end

-- Functions that only read, but whose result differs from client to client.
local PERSONAL = set [[CONNECTION_ID PS_CURRENT_THREAD_ID LAST_INSERT_ID LASTVAL PREVIOUS ROW_COUNT FOUND_ROWS RAND
    RANDOM_BYTES UUID UUID_SHORT UUID_V4 UUID_V7 SYS_GUID INFORMATION_SCHEMA PERFORMANCE_SCHEMA SYS]]
-- Statements that do not change a session.
local NEUTRAL = set "SELECT INSERT REPLACE UPDATE DELETE"

-- Whether the answer is the same for all sessions that are alike.
local function is_for_all(cmd)
    if cmd:command() ~= dpm.COM_QUERY then
        return false
    end
    local kind, info = dpm.statement_kind(cmd:argument())
    if kind ~= "SELECT" or not info.read_only or info.multi > 1 or cmd:attributes() then
        return false
    end
    for _, token in ipairs(dpm.tokenize(cmd:argument())) do
        if token.kind == "variable" or PERSONAL[token.text:gsub("`", ""):upper()] then
            return false
        end
    end
    return true
end

-- The history of a session that has just logged in.
local function first_history(session)
    local auth = session.auth
    local ignores_space = tostring(auth:client_flags(dpm.CLIENT_IGNORE_SPACE))
    return table.concat({ auth:charset_number(), ignores_space, session.database or "" }, "\0")
end

-- The history of a session after this command. Sessions are alike if they began alike and got the same
-- commands. A session that may have a transaction, locks or temporary tables is like no other, and has no
-- history from then on.
local function next_history(history, cmd)
    local sql, is_query = cmd:argument(), cmd:command() == dpm.COM_QUERY
    local kind, info = dpm.statement_kind(sql)
    if cmd:command() == dpm.COM_PING or (is_query and NEUTRAL[kind] and info.multi == 1) then
        return history
    end
    local told = is_query and (kind == "SET" or kind == "USE") or cmd:command() == dpm.COM_INIT_DB
    return told and #history + #sql < MAX_HISTORY and history .. "\0" .. sql or nil
end

-- Whether a result may be shared: it was not read within a transaction.
local function is_committed(result)
    local transaction = bit.band(result.server_status, dpm.SERVER_STATUS_AUTOCOMMIT + dpm.SERVER_STATUS_IN_TRANS)
    return transaction == dpm.SERVER_STATUS_AUTOCOMMIT
end

-- coalesce{ host =, port =, user =, password =, …, max_bytes = } -> a handler for accept_clients, with all_commands.
function coalesce.coalesce(options)
    checks.options(NAME, options, OPTIONS)
    local max_bytes = options.max_bytes or MAX_BYTES
    local flights = {} -- history and SQL -> the task that asks; emptied by each write, so that later queries see the write

    local function connect(session)
        local login = {}
        for name, value in pairs(options) do
            login[name] = value
        end
        login.max_bytes = nil
        login.database, login.like, login.charset = session.database, session.auth, session.auth:charset_number()
        return databases.connect(login)
    end

    -- Runs the query, or waits for the task that already runs it; that task continues even if its first client
    -- leaves. Returns a result, or nil and an error; neither if each client has to ask for itself, because the
    -- result is too large or not committed.
    local function ask_together(db, sql, key)
        local flight = flights[key] or tasks.spawn(db.query, db, sql, nil, { max_bytes = max_bytes })
        flights[key] = flight
        local ok, result = pcall(flight.wait, flight)
        if flights[key] == flight then
            flights[key] = nil
        end
        if ok then
            return is_committed(result) and result or nil
        elseif not errors.is_error(result) then
            error(result, 0)
        end
        local lost = result.errnum == 2013 -- only this connection is lost, not the other clients'
        return nil, not lost and not result.too_large and result or nil
    end

    return function(session)
        local auth, db, history
        for cmd in session:commands() do
            if session.auth ~= auth then -- for the first command, and after each COM_CHANGE_USER
                if db then
                    db:close()
                end
                auth, db, history = session.auth, connect(session), first_history(session)
            end
            local result, err
            if history and is_for_all(cmd) then
                result, err = ask_together(db, cmd:argument(), history .. "\0" .. cmd:argument())
            end
            if session.client:close_reason() then
                break
            elseif result then
                session:send_resultset(result)
            elseif err then
                session:send_error(err.sqlstate, err.errnum, err.message)
            else
                session:forward(cmd, db)
                flights, history = {}, history and next_history(history, cmd)
            end
        end
        if db then
            db:close()
        end
    end
end

return coalesce
