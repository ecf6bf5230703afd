-- A service's handler that forwards to a server, and has identical SELECTs that are under way at the same time
-- sent once: all who asked get the rows.
--
-- Only those of sessions that are alike share an answer, outside of transactions, and nobody gets one that was
-- asked for before a write that has passed here since.

local bit = require "bit"
local checks = require "dpml.checks"
local databases = require "dpml.databases"
local errors = require "dpml.errors"
local tasks = require "dpml.tasks"

local coalesce = {}

local NAME = "dpml.coalesce"

local MAX_BYTES = 1048576 -- of a result that is held for all who wait; a larger one is streamed to each
local MAX_HISTORY = 4096 -- bytes

-- What the session has for its connection is not for the script to say.
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

-- What only reads, and yet tells each who asks something else.
local PERSONAL = set [[CONNECTION_ID PS_CURRENT_THREAD_ID LAST_INSERT_ID LASTVAL PREVIOUS ROW_COUNT FOUND_ROWS RAND
    RANDOM_BYTES UUID UUID_SHORT UUID_V4 UUID_V7 SYS_GUID INFORMATION_SCHEMA PERFORMANCE_SCHEMA SYS]]
-- What leaves a session as it was.
local NEUTRAL = set "SELECT INSERT REPLACE UPDATE DELETE"

-- Whether the answer is the same for all whose sessions are alike.
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

-- The history of a session behind this command. Those are alike that began alike and were told the same; one that
-- may have a transaction, locks or temporary tables is like no other, and has none from there on.
local function next_history(history, cmd)
    local sql, is_query = cmd:argument(), cmd:command() == dpm.COM_QUERY
    local kind, info = dpm.statement_kind(sql)
    if cmd:command() == dpm.COM_PING or (is_query and NEUTRAL[kind] and info.multi == 1) then
        return history
    end
    local told = is_query and (kind == "SET" or kind == "USE") or cmd:command() == dpm.COM_INIT_DB
    return told and #history + #sql < MAX_HISTORY and history .. "\0" .. sql or nil
end

-- Whether a result is everybody's: it was not read within a transaction.
local function is_committed(result)
    local transaction = bit.band(result.server_status, dpm.SERVER_STATUS_AUTOCOMMIT + dpm.SERVER_STATUS_IN_TRANS)
    return transaction == dpm.SERVER_STATUS_AUTOCOMMIT
end

-- coalesce{ host =, port =, user =, password =, …, max_bytes = } -> a handler for accept_clients, with all_commands.
function coalesce.coalesce(options)
    checks.options(NAME, options, OPTIONS)
    local max_bytes = options.max_bytes or MAX_BYTES
    local flights = {} -- history and SQL -> the task that asks; emptied by each write: who asks later shall see it

    local function connect(session)
        local login = {}
        for name, value in pairs(options) do
            login[name] = value
        end
        login.max_bytes = nil
        login.database, login.like, login.charset = session.database, session.auth, session.auth:charset_number()
        return databases.connect(login)
    end

    -- Asks, or waits for who asks already: a task, which goes on if the client that it began with leaves. Returns a
    -- result, or nil and an error; neither if each must ask for itself, as of what is too large or not committed.
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
        local lost = result.errnum == 2013 -- that connection, but not those of the others
        return nil, not lost and not result.too_large and result or nil
    end

    return function(session)
        local auth, db, history
        for cmd in session:commands() do
            if session.auth ~= auth then -- at first, and behind each COM_CHANGE_USER
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
