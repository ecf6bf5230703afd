-- Answers to what clients send by themselves, about their session and the server's variables, for services without a
-- database. All of it is read by tokens: frameworks put comments before and behind, and anywhere in between.

local errors = require "dpml.support.errors"
local name_filters = require "dpml.text.name_filters"
local own_status = require "dpml.services.own_status"
local session_select = require "dpml.services.session_select"
local token_reader = require "dpml.text.token_reader"

local client_probes = {}

local VARIABLES = {
    auto_increment_increment = 1,
    autocommit = 1,
    big_tables = 0,
    character_set_client = "utf8mb4",
    character_set_connection = "utf8mb4",
    character_set_database = "utf8mb4",
    character_set_filesystem = "binary",
    character_set_results = "utf8mb4",
    character_set_server = "utf8mb4",
    character_set_system = "utf8mb3",
    collation_connection = "utf8mb4_general_ci",
    collation_database = "utf8mb4_general_ci",
    collation_server = "utf8mb4_general_ci",
    default_storage_engine = "InnoDB",
    error_count = 0,
    foreign_key_checks = 1,
    group_concat_max_len = 1048576,
    gtid_mode = "OFF",
    init_connect = "",
    interactive_timeout = 28800,
    license = "BSD-3-Clause",
    lower_case_table_names = 0,
    max_allowed_packet = 16777216,
    net_buffer_length = 16384,
    net_write_timeout = 60,
    performance_schema = 0,
    protocol_version = 10,
    query_cache_size = 0,
    query_cache_type = "OFF",
    read_only = 0,
    sql_auto_is_null = 0,
    sql_mode = "",
    sql_safe_updates = 0,
    system_time_zone = "UTC",
    time_zone = "SYSTEM",
    transaction_isolation = "REPEATABLE-READ",
    transaction_read_only = 0,
    tx_isolation = "REPEATABLE-READ",
    tx_read_only = 0,
    unique_checks = 1,
    version_compile_machine = "x86_64",
    version_compile_os = "Linux",
    wait_timeout = 28800,
}

-- The variables of a session. `service` has server_version and version_comment.
local function variables_of(session, service)
    local its = { version = service.server_version, version_comment = service.version_comment,
        warning_count = #(session.warnings or {}), autocommit = own_status.has_autocommit(session) and 1 or 0 }
    return setmetatable(its, { __index = VARIABLES })
end

local function clock(format)
    return function()
        return os.date(format)
    end
end

-- How far local time is ahead of UTC, as a TIME.
local function time_zone()
    local utc = os.date("!*t")
    utc.isdst = false
    local seconds = os.difftime(os.time(), os.time(utc)) + (os.date("*t").isdst and 3600 or 0)
    local minutes = math.floor(math.abs(seconds) / 60 + 0.5)
    return ("%s%02d:%02d:00"):format(seconds < 0 and "-" or "", math.floor(minutes / 60), minutes % 60)
end

local function functions_of(session, service)
    local function user()
        return session.user .. "@" .. session.client:socket_address()
    end
    local function database()
        return session.database
    end
    local now = clock "%Y-%m-%d %H:%M:%S"
    return {
        CONNECTION_ID = function() return session.client:id() end,
        CURRENT_USER = function() return session.user .. "@%" end,
        VERSION = function() return service.server_version end,
        DATABASE = database, SCHEMA = database,
        USER = user, SESSION_USER = user, SYSTEM_USER = user,
        NOW = now, SYSDATE = now, CURRENT_TIMESTAMP = now, LOCALTIME = now, LOCALTIMESTAMP = now,
        CURDATE = clock "%Y-%m-%d", CURRENT_DATE = clock "%Y-%m-%d",
        CURTIME = clock "%H:%M:%S", CURRENT_TIME = clock "%H:%M:%S",
        UTC_TIMESTAMP = clock "!%Y-%m-%d %H:%M:%S", UTC_DATE = clock "!%Y-%m-%d", UTC_TIME = clock "!%H:%M:%S",
        UNIX_TIMESTAMP = os.time,
        TIMEDIFF = time_zone,
        CONVERT_TZ = function() return 0 end,
        LAST_INSERT_ID = function() return 0 end,
    }
end

-- The result of SHOW VARIABLES, SHOW STATUS and their like, of those names that `sql` asks for with LIKE or WHERE.
function client_probes.name_value_result(values, sql)
    local rows, reader = {}, token_reader.statement(sql)
    for name, value in pairs(values) do
        rows[#rows + 1] = { name, tostring(value) }
    end
    table.sort(rows, function(a, b) return a[1] < b[1] end)
    if reader then
        reader:skip_to("LIKE", "WHERE")
    end
    local result = reader and name_filters.result(reader, { "Variable_name", "Value" }, rows)
    return result or error(errors.new(1064, "42000", "Only LIKE and simple conditions on the columns are understood here"))
end

-- Each of the following reads one kind of statement, behind its first word, and returns its result; or nil if it is
-- not one of those that clients send by themselves.

local function show_variables(reader, session, service)
    local rows, its = {}, variables_of(session, service)
    for name, value in pairs(its) do
        rows[#rows + 1] = { name, tostring(value) }
    end
    for name, value in pairs(VARIABLES) do
        if rawget(its, name) == nil then
            rows[#rows + 1] = { name, tostring(value) }
        end
    end
    table.sort(rows, function(a, b) return a[1] < b[1] end)
    return name_filters.result(reader, { "Variable_name", "Value" }, rows)
end

-- The last command's warnings: session.warnings, an array of { level, code, message }.
local function show_warnings(levels)
    return function(reader, session)
        local rows = {}
        for _, warning in ipairs(session.warnings or {}) do
            if levels[warning[1]] then
                rows[#rows + 1] = warning
            end
        end
        if reader:take("LIMIT") then
            local first = reader:take_kind("number")
            local second = first and reader:take(",") and reader:take_kind("number")
            local from, count = second and tonumber(first.text) or 0, second or first
            rows = count and { unpack(rows, from + 1, math.min(#rows, from + (tonumber(count.text) or 0))) }
        end
        return rows and reader:at_end() and { fields = { "Level", "Code", "Message" }, rows = rows } or nil
    end
end

local function count_warnings(levels)
    local show = show_warnings(levels)
    return function(reader, session, service)
        local result = show(reader, session, service)
        return result and { fields = { "@@session.warning_count" }, rows = { { #result.rows } } }
    end
end

local WARNINGS, ERRORS = { Warning = true, Error = true, Note = true }, { Error = true }

local COLLATIONS = {
    { "binary", "binary", 63, "Yes", "Yes", 1 },
    { "latin1_swedish_ci", "latin1", 8, "Yes", "Yes", 1 },
    { "utf8mb3_general_ci", "utf8mb3", 33, "Yes", "Yes", 1 },
    { "utf8mb4_0900_ai_ci", "utf8mb4", 255, "", "Yes", 0 },
    { "utf8mb4_bin", "utf8mb4", 46, "", "Yes", 1 },
    { "utf8mb4_general_ci", "utf8mb4", 45, "Yes", "Yes", 1 },
    { "utf8mb4_unicode_ci", "utf8mb4", 224, "", "Yes", 8 },
}

local CHARSETS = {
    { "binary", "Binary pseudo charset", "binary", 1 },
    { "latin1", "cp1252 West European", "latin1_swedish_ci", 1 },
    { "utf8mb3", "UTF-8 Unicode", "utf8mb3_general_ci", 3 },
    { "utf8mb4", "UTF-8 Unicode", "utf8mb4_general_ci", 4 },
}

local function show_table(names, rows)
    return function(reader)
        return name_filters.result(reader, names, rows)
    end
end

local show_charsets = show_table({ "Charset", "Description", "Default collation", "Maxlen" }, CHARSETS)
local shows = {
    { { "VARIABLES" }, show_variables },
    { { "WARNINGS" }, show_warnings(WARNINGS) },
    { { "ERRORS" }, show_warnings(ERRORS) },
    { { "COUNT", "(", "*", ")", "WARNINGS" }, count_warnings(WARNINGS) },
    { { "COUNT", "(", "*", ")", "ERRORS" }, count_warnings(ERRORS) },
    { { "COLLATION" }, show_table({ "Collation", "Charset", "Id", "Default", "Compiled", "Sortlen" }, COLLATIONS) },
    { { "CHARACTER", "SET" }, show_charsets },
    { { "CHARSET" }, show_charsets },
    { { "ENGINES" }, show_table({ "Engine", "Support", "Comment", "Transactions", "XA", "Savepoints" }, {}) },
    { { "STORAGE", "ENGINES" }, show_table({ "Engine", "Support", "Comment", "Transactions", "XA", "Savepoints" }, {}) },
}

-- Takes the scope behind SHOW: the answer is the same for all of them.
function client_probes.take_scope(reader)
    return reader:take("SESSION") or reader:take("LOCAL") or reader:take("GLOBAL")
end

-- Whether a statement is SHOW STATUS, which services answer in their own way.
function client_probes.asks_for_status(sql)
    local reader = token_reader.first_word(sql) == "SHOW" and token_reader.statement(sql)
    if not reader or not reader:take("SHOW") then
        return false
    end
    client_probes.take_scope(reader)
    return reader:take("STATUS") ~= nil
end

local function show(reader, session, service)
    client_probes.take_scope(reader)
    for _, each in ipairs(shows) do
        if reader:take_all(unpack(each[1])) then
            return each[2](reader, session, service)
        end
    end
end

local function select_from_session(reader, session, service, is_part)
    reader.at = 1
    if reader:take_all("SELECT", "$$") and reader:at_end() then
        -- MySQL's client finds out by it whether a server knows dollar-quoted strings.
        return errors.new(1054, "42S22", "Unknown column '$$' in 'field list'")
    end
    reader.at = 1
    local result, is_sessions = session_select.answer(reader, variables_of(session, service), functions_of(session, service))
    -- SELECT 1 asks whether the connection works, if it is all of the command.
    local is_check = result and #result.fields == 1 and not is_part
    return (is_sessions or is_check) and result or nil
end

local function use(reader, session, service)
    local name = reader:name()
    if name and reader:at_end() then
        return service.change_database(session, name)
    end
end

local function succeed()
    return {}
end

-- The rest are words, and a name at most: AND NO CHAIN, TO SAVEPOINT a, WITH CONSISTENT SNAPSHOT, READ ONLY.
local function succeed_if_short(reader)
    local count = 0
    while reader:take_kind("word") or reader:take_kind("quoted") or reader:take(",") do
        count = count + 1
    end
    return reader:at_end() and count <= 8 and {} or nil
end

local probes = {
    SELECT = select_from_session, SHOW = show, USE = use,
    -- Clients set their character set, autocommit and the like before they do anything else, and some end a
    -- transaction in any case.
    SET = succeed,
    BEGIN = function(reader)
        reader:take("WORK")
        return reader:at_end() and {} or nil
    end,
    START = function(reader)
        return reader:take("TRANSACTION") and succeed_if_short(reader)
    end,
    COMMIT = succeed_if_short, ROLLBACK = succeed_if_short, SAVEPOINT = succeed_if_short,
    RELEASE = function(reader)
        return reader:take("SAVEPOINT") and succeed_if_short(reader)
    end,
}

-- `is_part` if there is more to the command than what the client has written there: values, or other statements.
local function answer_one(reader, session, service, is_part)
    local word = reader:take_kind("word")
    local probe = word and probes[word.text:upper()]
    return probe and probe(reader, session, service, is_part)
end

-- Several statements in one command: some clients set all that they need at once.
local function answer_all(readers, session, service)
    local first, last
    if not session.auth:client_flags(dpm.CLIENT_MULTI_RESULTS) then
        return nil
    end
    for _, reader in ipairs(readers) do
        local is_use = reader:take("USE") -- may be refused, in the middle of it
        local result = not is_use and answer_one(reader, session, service, true)
        if not result or errors.is_error(result) then
            return nil
        elseif first then
            last.next, last = result, result
        else
            first, last = result, result
        end
    end
    return first
end

-- The answer to what a client sends by itself: a result, or an error; nil for all else. The second value is the first
-- word of the statement, or "SEVERAL". `is_inserted` if the text has the values of parameters in it. `service` has
-- server_version, version_comment and change_database(session, name).
function client_probes.answer(sql, session, service, is_inserted)
    local word = token_reader.first_word(sql)
    local readers = probes[word] and token_reader.statements(sql)
    if not readers or not readers[1] then
        return nil
    elseif readers[2] then
        return answer_all(readers, session, service), "SEVERAL"
    end
    return answer_one(readers[1], session, service, is_inserted), word
end

return client_probes
