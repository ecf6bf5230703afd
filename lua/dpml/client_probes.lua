-- Answers to queries that clients send by themselves, about their session and the server's variables, for
-- services without a database.

local like = require "dpml.like"
local session_select = require "dpml.session_select"

local client_probes = {}

local VARIABLES = {
    auto_increment_increment = 1,
    autocommit = 1,
    character_set_client = "utf8mb4",
    character_set_connection = "utf8mb4",
    character_set_database = "utf8mb4",
    character_set_results = "utf8mb4",
    character_set_server = "utf8mb4",
    collation_connection = "utf8mb4_general_ci",
    collation_database = "utf8mb4_general_ci",
    collation_server = "utf8mb4_general_ci",
    init_connect = "",
    interactive_timeout = 28800,
    license = "BSD-3-Clause",
    lower_case_table_names = 0,
    max_allowed_packet = 16777216,
    net_buffer_length = 16384,
    net_write_timeout = 60,
    performance_schema = 0,
    query_cache_size = 0,
    query_cache_type = "OFF",
    sql_mode = "",
    system_time_zone = "UTC",
    time_zone = "SYSTEM",
    transaction_isolation = "REPEATABLE-READ",
    transaction_read_only = 0,
    tx_isolation = "REPEATABLE-READ",
    tx_read_only = 0,
    wait_timeout = 28800,
}

-- The variables of a session. `service` has server_version and version_comment.
local function variables_of(service)
    return setmetatable({ version = service.server_version, version_comment = service.version_comment }, { __index = VARIABLES })
end

local function functions_of(session, service)
    local function user()
        return session.user .. "@" .. session.client:socket_address()
    end
    local function database()
        return session.database
    end
    return {
        CONNECTION_ID = function() return session.client:id() end,
        CURRENT_USER = function() return session.user .. "@%" end,
        NOW = function() return os.date("%Y-%m-%d %H:%M:%S") end,
        VERSION = function() return service.server_version end,
        DATABASE = database, SCHEMA = database,
        USER = user, SESSION_USER = user, SYSTEM_USER = user,
    }
end

-- Clients may send texts of any length and form, so everything here must take linear time. A Lua pattern does
-- not if two of its repetitions can match the same characters, or if a repetition that is tried at every
-- position runs to the end of the text.

-- The quoted pattern of the LIKE at the end of a query.
local function like_of(sql)
    local _, quote = sql:find("[Ll][Ii][Kk][Ee]%s+['\"]")
    return quote and sql:sub(quote + 1):match("^(.*)['\"]%s*$")
end

-- The result of SHOW VARIABLES, SHOW STATUS and their like, of those names that `sql` asks for with LIKE.
function client_probes.name_value_result(values, sql)
    local is_wanted, rows = like.matcher(like_of(sql)), {}
    for name, value in pairs(values) do
        if is_wanted(name) then
            rows[#rows + 1] = { name, tostring(value) }
        end
    end
    table.sort(rows, function(a, b) return a[1] < b[1] end)
    return { fields = { "Variable_name", "Value" }, rows = rows }
end

local function show_variables(sql, _, service)
    local all = { version = service.server_version, version_comment = service.version_comment }
    for name, value in pairs(VARIABLES) do
        all[name] = value
    end
    return client_probes.name_value_result(all, sql)
end

local function succeed()
    return {}
end

-- The last command's warnings: session.warnings, an array of { level, code, message }.
local function show_warnings(levels)
    return function(_, session)
        local rows = {}
        for _, warning in ipairs(session.warnings or {}) do
            if levels[warning[1]] then
                rows[#rows + 1] = warning
            end
        end
        return { fields = { "Level", "Code", "Message" }, rows = rows }
    end
end

-- Patterns for queries after simplify(); the first match counts.
local answers = {
    { "^SHOW%s+VARIABLES%f[%W]", show_variables },
    { "^SHOW%s+WARNINGS%f[%W]", show_warnings { Warning = true, Error = true, Note = true } },
    { "^SHOW%s+ERRORS%f[%W]", show_warnings { Error = true } },
    -- Clients set their character set, autocommit and the like before they do anything else, and
    -- some end a transaction in any case.
    { "^SET%s", succeed },
    { "^BEGIN$", succeed },
    { "^START%s+TRANSACTION%f[%W]", succeed },
    { "^COMMIT$", succeed },
    { "^ROLLBACK$", succeed },
    { "^SELECT%f[%W]", function(sql, session, service)
        local result, is_sessions = session_select.answer(sql, variables_of(service), functions_of(session, service))
        return is_sessions and result or nil
    end },
}

-- The contents of comments that only some servers execute.
local function open_comments(sql)
    local parts, at = {}, 1
    while true do
        local from = sql:find("/*!", at, true)
        local to = from and sql:find("*/", from + 3, true)
        if not to then
            parts[#parts + 1] = sql:sub(at)
            return table.concat(parts)
        end
        parts[#parts + 1] = sql:sub(at, from - 1)
        parts[#parts + 1] = sql:sub(from + 3, to - 1):match("^%d*(.*)$")
        at = to + 2
    end
end

-- Session or global, the answer is the same.
local scopes = { SESSION = true, LOCAL = true, GLOBAL = true }

-- In upper case, with the contents of comments that only some servers execute, as in SHOW /*!50002 GLOBAL */
-- STATUS.
function client_probes.simplify(sql)
    return (open_comments(sql:upper()):gsub("^(SHOW%s+)(%a+)%s+", function(show, word)
        return scopes[word] and show or nil
    end))
end

-- The answer to a query about the session; nil for other queries.
function client_probes.answer(sql, session, service)
    local simple = client_probes.simplify(sql)
    for _, answer in ipairs(answers) do
        if simple:find(answer[1]) then
            return answer[2](sql, session, service)
        end
    end
end

return client_probes
