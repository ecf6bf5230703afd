-- A service's handler that forwards to a server, and sends identical SELECTs that run at the same time only
-- once: all clients that asked get the rows.
--
-- Only sessions that are alike share an answer, outside of transactions, and a client never gets an answer from
-- before a write that has passed here since. Sessions are alike if what is known of them and the variables they began
-- with are equal; a session of which something is not known is like no other.

local bit = require "bit"
local checks = require "dpml.support.checks"
local databases = require "dpml.databases"
local errors = require "dpml.support.errors"
local tasks = require "dpml.tasks"

local coalesce = {}

local NAME = "dpml.coalesce"

local MAX_SQL = 65536 -- bytes of a statement that is shared

local MAX_BYTES = 1048576 -- of a result that is kept for all waiting clients; a larger one is streamed to each
local MAX_BEGINNINGS = 100 -- that are told apart; they differ where global variables were set between logins

-- Options that the session sets, not the script.
local LOGIN_OPTIONS = checks.union(databases.CONNECT_OPTIONS)
for _, name in ipairs { "db", "database", "like", "charset", "track_session" } do
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

-- Functions that only read, but whose result differs from client to client, and schemas whose tables do.
local PERSONAL = set [[CONNECTION_ID PS_CURRENT_THREAD_ID LAST_INSERT_ID LASTVAL PREVIOUS ROW_COUNT FOUND_ROWS RAND
    RANDOM_BYTES UUID UUID_SHORT UUID_V4 UUID_V7 SYS_GUID WSREP_LAST_SEEN_GTID WSREP_LAST_WRITTEN_GTID ENCRYPT
    INFORMATION_SCHEMA PERFORMANCE_SCHEMA SYS]]
-- Session variables that are different in each session, and with each statement, and that no other answer depends on.
local MOVING = set [[error_count identity in_transaction insert_id last_gtid last_insert_id pseudo_thread_id rand_seed1
    rand_seed2 statement_id timestamp warning_count]]
-- What tells of the statement before.
local LOOKING_BACK = set [[WARNINGS ERRORS DIAGNOSTICS FOUND_ROWS ROW_COUNT STATUS PROFILE PROFILES PROFILING
    OPTIMIZER_TRACE SESSION_STATUS LAST_QUERY_COST INFORMATION_SCHEMA PERFORMANCE_SCHEMA SYS]]
local FOUND_ROWS = set "FOUND_ROWS"
-- What may do so out of sight.
local OPAQUE = set "CALL EXECUTE COMPOUND OTHER"

local READINGS = {} -- in which SQL modes a text may be read
for _, no_backslash_escapes in ipairs { false, true } do
    for _, ansi_quotes in ipairs { false, true } do
        READINGS[#READINGS + 1] = { no_backslash_escapes = no_backslash_escapes, ansi_quotes = ansi_quotes }
    end
end

-- Whether found(reading) is true of a text, however it is read.
local function in_any_reading(sql, found)
    local several = sql:find('[\\"]') ~= nil
    for i = 1, several and #READINGS or 1 do
        if found(READINGS[i]) then
            return true
        end
    end
    return false
end

-- Whether a text has one of these words, or a variable.
local function has(sql, words)
    return in_any_reading(sql, function(reading)
        local variables = { kind = "variable", limit = 1, ansi_quotes = reading.ansi_quotes,
            no_backslash_escapes = reading.no_backslash_escapes }
        return dpm.find_word(sql, words, reading) or dpm.tokenize(sql, variables)[1]
    end)
end

-- Whether the answer is the same for all sessions that are alike.
local function is_for_all(cmd)
    if cmd:command() ~= dpm.COM_QUERY or #cmd:argument() > MAX_SQL then
        return false
    end
    local sql = cmd:argument()
    local kind, info = dpm.statement_kind(sql)
    if kind ~= "SELECT" or not info.read_only or info.multi > 1 or cmd:attributes() then
        return false
    end
    return not has(sql, PERSONAL)
end

-- Whether a command may ask what the statement before has left behind. `words` are those that do.
local function looks_back(cmd, words)
    local command = cmd:command()
    if command == dpm.COM_STMT_EXECUTE or command == dpm.COM_STMT_BULK_EXECUTE then
        return true -- whatever was prepared
    elseif command ~= dpm.COM_QUERY then
        return false
    end
    local sql = cmd:argument()
    local kind, info = dpm.statement_kind(sql)
    return #sql > MAX_SQL or OPAQUE[kind] or kind == "SELECT" and not info.read_only or has(sql, words)
end

local beginnings, count = {}, 0 -- the variables that sessions began with -> a number

-- What a session began with, as a number; nil if the server does not say.
local function beginning_of(db)
    local ok, result = pcall(db.query, db, "SHOW SESSION VARIABLES")
    if not ok then
        return errors.is_error(result) and nil or error(result, 0)
    end
    local lines = {}
    for i, row in ipairs(result.rows) do
        local name = row.Variable_name:lower()
        -- Positions move with each write, whoever it is by.
        lines[i] = (MOVING[name] or name:find("^gtid_")) and "" or name .. "=" .. tostring(row.Value)
    end
    local text = table.concat(lines, "\n")
    if not beginnings[text] then
        count = count + 1
        if count % MAX_BEGINNINGS == 0 then
            beginnings = {}
        end
        beginnings[text] = count
    end
    return beginnings[text]
end

-- What is common to all sessions that read the same as this one; nil if it is like no other.
local function likeness_of(session, db, beginning)
    local tracked = db.server:session()
    if not tracked then
        return nil -- the connection has just closed
    end
    local likeness = tracked:likeness()
    if likeness and PERSONAL[tracked:schema():upper()] then
        return nil -- its tables need not be named with their schema
    end
    local ignores_space = tostring(session.auth:client_flags(dpm.CLIENT_IGNORE_SPACE))
    return likeness and table.concat({ beginning, ignores_space, likeness }, "\0")
end

-- Whether a result is everybody's: it was not read within a transaction, and has no warnings, which are in one session.
local function is_for_others(result)
    local transaction = bit.band(result.server_status, dpm.SERVER_STATUS_AUTOCOMMIT + dpm.SERVER_STATUS_IN_TRANS)
    return transaction == dpm.SERVER_STATUS_AUTOCOMMIT and result.warning_count == 0
end

-- coalesce{ host =, port =, user =, password =, …, max_bytes = } -> a handler for accept_clients, with all_commands.
function coalesce.coalesce(options)
    checks.options(NAME, options, OPTIONS)
    local max_bytes = options.max_bytes or MAX_BYTES
    local flights = {} -- likeness and SQL -> the task that asks; emptied by each write: who asks later shall see it

    local function connect(session)
        local login = {}
        for name, value in pairs(options) do
            login[name] = value
        end
        login.max_bytes = nil
        login.database, login.like, login.charset = session.database, session.auth, session.auth:charset_number()
        login.track_session = { hidden = "trusted" }
        return databases.connect(login)
    end

    -- Asks, or waits for who asks already: a task, which goes on if the client that it began with leaves. Returns a
    -- result, no error, and whether it is of the client's own connection; or nil and an error; or nil. Only rows are shared, and warnings and
    -- errors are not: who gets neither a result nor an error asks for itself.
    local function ask_together(db, sql, key)
        local flight = flights[key]
        local is_own = flight == nil
        if is_own then
            flight = tasks.spawn(db.query, db, sql, nil, { max_bytes = max_bytes })
            flights[key] = flight
        end
        local ok, result = pcall(flight.wait, flight)
        if flights[key] == flight then
            flights[key] = nil
        end
        if ok then
            return (is_own or is_for_others(result)) and result or nil, nil, is_own
        elseif not errors.is_error(result) then
            error(result, 0)
        end
        -- The connection may be lost: then forwarding says so.
        local is_answer = is_own and result.errnum ~= 2013 and not result.too_large
        return nil, (is_answer or result.cancelled) and result or nil
    end

    -- Has the client's own connection execute what it has had the shared answer of, before it is asked about that.
    -- Others may have written meanwhile, but the answer would be the same if the client had asked a little later.
    local function catch_up(db, sql)
        db:try_query(sql, nil, { max_bytes = max_bytes })
    end

    return function(session)
        local auth, db, beginning
        local had -- the SQL that the client has had the answer of, but that its own connection has not executed
        local is_latest -- whether it was the client's last statement
        for cmd in session:commands() do
            if session.auth ~= auth then -- at first, and behind each COM_CHANGE_USER
                if db then
                    db:close()
                end
                auth, db, beginning, had = session.auth, connect(session), nil, nil
            end
            local result, err, is_own
            if is_for_all(cmd) and likeness_of(session, db, 0) then
                beginning = beginning or beginning_of(db)
                local likeness = beginning and likeness_of(session, db, beginning)
                if likeness then
                    result, err, is_own = ask_together(db, cmd:argument(), likeness .. "\0" .. cmd:argument())
                end
            end
            if result then
                had, is_latest = not is_own and cmd:argument() or nil, true
                session:send_resultset(result)
            elseif err then
                had = nil
                session:send_error(err.sqlstate, err.errnum, err.message)
            else
                if had and looks_back(cmd, is_latest and LOOKING_BACK or FOUND_ROWS) then
                    catch_up(db, had)
                    had = nil
                end
                session:forward(cmd, db)
                is_latest = is_latest and cmd:command() ~= dpm.COM_QUERY
                flights = {}
            end
        end
        if db then
            db:close()
        end
    end
end

return coalesce
