-- coalesce.lua: identical SELECTs that are under way at once are sent once, and all who asked get the rows.
-- Run: dpm --startfile demos/coalesce.lua -- [backend host] [port] [listen port] [user] [password]
-- Look: SELECT SLEEP(5), 'x' in several terminals: SHOW PROCESSLIST has it once, and all get it together.

local dpml = require "dpml"
local host, port, listen_port = arg[1] or "127.0.0.1", tonumber(arg[2]) or 3306, tonumber(arg[3]) or 5500
local user, pass = arg[4] or "root", arg[5] or "" -- the account, here and at the server
local MAX_RESULT, MAX_HISTORY = 1048576, 4096 -- bytes; larger results are not held, but streamed to each

local function set(words)
    local result = {}
    for word in words:gmatch("%S+") do result[word] = true end
    return result
end
-- What only reads, and yet tells each who asks something else; what leaves a session as it was.
local PERSONAL = set [[CONNECTION_ID PS_CURRENT_THREAD_ID LAST_INSERT_ID LASTVAL PREVIOUS ROW_COUNT FOUND_ROWS RAND
    RANDOM_BYTES UUID UUID_SHORT UUID_V4 UUID_V7 SYS_GUID INFORMATION_SCHEMA PERFORMANCE_SCHEMA SYS]]
local NEUTRAL = set "SELECT INSERT REPLACE UPDATE DELETE"

local flights = {} -- history and SQL -> the task that asks; emptied by each write: who asks later shall see it

local function is_for_all(cmd)
    if cmd:command() ~= dpm.COM_QUERY then return false end
    local kind, info = dpm.statement_kind(cmd:argument())
    if kind ~= "SELECT" or not info.read_only or info.multi > 1 or cmd:attributes() then return false end
    for _, token in ipairs(dpm.tokenize(cmd:argument())) do
        if token.kind == "variable" or PERSONAL[token.text:gsub("`", ""):upper()] then return false end
    end
    return true
end

-- The history of a session behind this command. Those are alike that began alike and were told the same; one that
-- may have a transaction, locks or temporary tables is like no other, and has none from there on.
local function remember(history, cmd)
    local sql, is_query = cmd:argument(), cmd:command() == dpm.COM_QUERY
    local kind, info = dpm.statement_kind(sql)
    if cmd:command() == dpm.COM_PING or (is_query and NEUTRAL[kind] and info.multi == 1) then return history end
    local told = is_query and (kind == "SET" or kind == "USE") or cmd:command() == dpm.COM_INIT_DB
    return told and #history + #sql < MAX_HISTORY and history .. "\0" .. sql or nil
end

-- Asks, or waits for who asks already: a task, which goes on if the client that it began with leaves. Returns a
-- result, or nil and an error; neither if each must ask for itself, as of what is too large or not committed.
local function ask_together(db, sql, key)
    local flight = flights[key] or dpml.spawn(db.query, db, sql, nil, { max_bytes = MAX_RESULT })
    flights[key] = flight
    local ok, result = pcall(flight.wait, flight)
    if flights[key] == flight then flights[key] = nil end
    local lost = not ok and result.errnum == 2013 -- that connection, but not those of the others
    if not ok then return nil, not (lost or result.too_large) and result or nil end
    local transaction = bit.band(result.server_status, dpm.SERVER_STATUS_AUTOCOMMIT + dpm.SERVER_STATUS_IN_TRANS)
    return transaction == dpm.SERVER_STATUS_AUTOCOMMIT and result or nil
end

local function handler(session)
    local auth, db, history
    for cmd in session:commands() do
        if session.auth ~= auth then -- at first, and behind each COM_CHANGE_USER
            if db then db:close() end
            auth = session.auth
            db = dpml.connect { host = host, port = port, user = user, pass = pass, db = session.database,
                like = auth, charset = auth:charset_number() }
            local ignores_space = tostring(auth:client_flags(dpm.CLIENT_IGNORE_SPACE))
            history = table.concat({ auth:charset_number(), ignores_space, session.database or "" }, "\0")
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
            flights, history = {}, history and remember(history, cmd)
        end
    end
    if db then db:close() end
end

listener = dpm.listener("127.0.0.1", listen_port) -- a global, or it would be collected
dpml.accept_clients(listener, { users = { [user] = { password = pass } }, handler = handler, all_commands = true })
print("dpm: coalesce listening on 127.0.0.1:" .. listener:socket_port())
