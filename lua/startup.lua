-- startup.lua: what `dpm` runs without a startfile. A server with no database behind it, for a first
-- look: it logs in user "dpm" with password "dpm" and answers a few queries by itself.
--
-- dpm [-- PORT] listens on 127.0.0.1, port 5500 unless told otherwise; 0 takes a free port.

local dpml = require "dpml"

local USER, PASSWORD, DATABASE = "dpm", "dpm", "dpm"
local COMMENT = "dpm without a database"

local VERSION = dpm.new_handshake_pkt():server_version()
local STARTED = dpm.monotonic()

local sessions = {} -- client id -> { conn, user, database }

-- Expressions -----------------------------------------------------------------------------------

-- The values that a query may ask for by name. Those that begin with @@ stand for system variables.
local variables = {
    character_set_client = "utf8mb4",
    character_set_connection = "utf8mb4",
    character_set_database = "utf8mb4",
    character_set_results = "utf8mb4",
    character_set_server = "utf8mb4",
    collation_connection = "utf8mb4_general_ci",
    collation_server = "utf8mb4_general_ci",
    autocommit = 1,
    interactive_timeout = 28800,
    lower_case_table_names = 0,
    max_allowed_packet = 16777216,
    net_write_timeout = 60,
    sql_mode = "",
    system_time_zone = "UTC",
    time_zone = "SYSTEM",
    tx_isolation = "REPEATABLE-READ",
    transaction_isolation = "REPEATABLE-READ",
    version = VERSION,
    version_comment = COMMENT,
    wait_timeout = 28800,
}

local functions = {
    CONNECTION_ID = function(session)
        return session.conn:id()
    end,
    CURRENT_USER = function(session)
        return session.user .. "@localhost"
    end,
    DATABASE = function(session)
        return session.database
    end,
    NOW = function()
        return os.date("%Y-%m-%d %H:%M:%S")
    end,
    VERSION = function()
        return VERSION
    end,
}
functions.USER = function(session)
    return session.user .. "@" .. session.conn:socket_address()
end
functions.SCHEMA = functions.DATABASE

-- Raised by the parser, and told to the client as MySQL's syntax error.
local function syntax_error(scanner)
    error({ near = scanner.text:sub(scanner.at) }, 0)
end

-- Goes on behind a place in the text, and behind the blanks there.
local function go_on_behind(scanner, place)
    scanner.at = scanner.text:find("%S", place + 1) or #scanner.text + 1
end

-- Takes what the pattern matches at the scanner's place.
local function take(scanner, pattern)
    local from, to, capture = scanner.text:find("^" .. pattern, scanner.at)
    if not from then
        return nil
    end
    go_on_behind(scanner, to)
    return capture or scanner.text:sub(from, to)
end

-- A word that is not the beginning of a longer one.
local function take_word(scanner, word)
    local before = scanner.at
    local taken = take(scanner, "([%a_][%w_]*)")
    if taken and taken:upper() == word then
        return true
    end
    scanner.at = before
    return false
end

-- What is not itself behind a backslash.
local escapes = { ["0"] = "\0", b = "\b", n = "\n", r = "\r", t = "\t", Z = "\26" }

local function take_string(scanner)
    local text = scanner.text
    local quote = text:match("^['\"]", scanner.at)
    if not quote then
        return nil
    end
    local parts, at = {}, scanner.at + 1
    while true do
        local plain, stop = text:match("^([^\\" .. quote .. "]*)()", at)
        local here, behind = text:sub(stop, stop), text:sub(stop + 1, stop + 1)
        parts[#parts + 1] = plain
        if here == quote and behind == quote then
            parts[#parts + 1] = quote -- two in a row stand for one: 'it''s'
        elseif here == quote then
            go_on_behind(scanner, stop)
            return table.concat(parts)
        elseif behind == "" then
            syntax_error(scanner) -- it has no end
        else
            parts[#parts + 1] = escapes[behind] or behind
        end
        at = stop + 2
    end
end

local expression -- below: an expression in parentheses is one again

local function take_call(scanner)
    local before = scanner.at
    local name = take(scanner, "([%a_][%w_]*)%s*%(%s*%)")
    local call = name and functions[name:upper()]
    if not call then
        scanner.at = before
        syntax_error(scanner)
    end
    return call(scanner.session)
end

local function take_variable(scanner)
    local before = scanner.at
    local name = take(scanner, "@@([%w_%.]+)")
    if not name then
        return nil
    end
    name = name:lower():gsub("^session%.", ""):gsub("^global%.", "")
    if variables[name] == nil then
        scanner.at = before
        syntax_error(scanner)
    end
    return variables[name]
end

-- A string that is no number counts as 0, NULL makes everything NULL, and so does division by 0.
local function calculate(left, operator, right)
    if left == nil or right == nil then
        return nil
    end
    left, right = tonumber(left) or 0, tonumber(right) or 0
    if operator == "+" then
        return left + right
    elseif operator == "-" then
        return left - right
    elseif operator == "*" then
        return left * right
    elseif right ~= 0 then
        return operator == "/" and left / right or math.fmod(left, right)
    end
end

local function operand(scanner)
    if take(scanner, "%(") then
        local value = expression(scanner)
        if not take(scanner, "%)") then
            syntax_error(scanner)
        end
        return value
    end
    if take(scanner, "%-") then
        return calculate(0, "-", operand(scanner))
    end
    if take_word(scanner, "NULL") then
        return nil
    end
    local number = take(scanner, "(%d+%.?%d*)") or take(scanner, "(%.%d+)")
    if number then
        return tonumber(number)
    end
    return take_string(scanner) or take_variable(scanner) or take_call(scanner)
end

local function left_associative(operators, operand_of)
    return function(scanner)
        local value = operand_of(scanner)
        local operator = take(scanner, operators)
        while operator do
            value = calculate(value, operator, operand_of(scanner))
            operator = take(scanner, operators)
        end
        return value
    end
end

expression = left_associative("[%+%-]", left_associative("[%*/%%]", operand))

local function type_of(value)
    if type(value) ~= "number" then
        return dpm.MYSQL_TYPE_VAR_STRING
    end
    return value == math.floor(value) and dpm.MYSQL_TYPE_LONGLONG or dpm.MYSQL_TYPE_DOUBLE
end

local function select_item(scanner)
    local from = scanner.at
    local value = expression(scanner)
    local name = scanner.text:sub(from, scanner.at - 1):match("^(.-)%s*$")
    if take_word(scanner, "AS") then
        name = take(scanner, "`([^`]+)`") or take_string(scanner) or take(scanner, "([%a_][%w_]*)")
    end
    return { name = name or syntax_error(scanner), type = type_of(value) }, value
end

-- SELECT <expression> [AS name], ... [FROM DUAL] [LIMIT n]
local function select_values(scanner)
    local fields, row = {}, {}
    repeat
        fields[#fields + 1], row[#fields + 1] = select_item(scanner)
    until not take(scanner, ",")
    if take_word(scanner, "FROM") and not take_word(scanner, "DUAL") then
        syntax_error(scanner)
    end
    if take_word(scanner, "LIMIT") and not take(scanner, "%d+") then
        syntax_error(scanner)
    end
    if scanner.at <= #scanner.text then
        syntax_error(scanner)
    end
    return { fields = fields, rows = { row } }
end

-- Queries ---------------------------------------------------------------------------------------

local function column(name)
    return { name = name, type = dpm.MYSQL_TYPE_VAR_STRING }
end

-- LIKE's pattern as Lua's; without LIKE everything matches.
local function like_pattern(sql)
    local pattern = sql:match("[Ll][Ii][Kk][Ee]%s+['\"](.-)['\"]%s*$")
    if not pattern then
        return "^.*$"
    end
    local escaped = pattern:lower():gsub("\\([_%%])", "%1"):gsub("[%^%$%(%)%%%.%[%]%*%+%-%?]", function(c)
        return c == "%" and ".*" or "%" .. c
    end)
    return "^" .. escaped:gsub("_", ".") .. "$"
end

local function name_value_result(values, sql)
    local pattern, rows = like_pattern(sql), {}
    for name, value in pairs(values) do
        if name:lower():find(pattern) then
            rows[#rows + 1] = { name, tostring(value) }
        end
    end
    table.sort(rows, function(a, b)
        return a[1] < b[1]
    end)
    return { fields = { column "Variable_name", column "Value" }, rows = rows }
end

local function status_values()
    local values = {}
    for name, value in pairs(dpm.stats()) do
        values["dpm_" .. name] = value
    end
    return values
end

local greeting = {
    "Hello from dpm, a proxy for MySQL that runs your Lua.",
    "There is no database behind this port: give dpm a startfile to get one.",
    "Until then: SELECT 1 + 1; SHOW STATUS LIKE 'dpm%'; SELECT USER(); \\s",
}

local function hello()
    local rows = {}
    for i, line in ipairs(greeting) do
        rows[i] = { line }
    end
    return { fields = { column "Hello" }, rows = rows }
end

local ok = {}

local function succeed()
    return ok
end

-- The first pattern that matches the query, as simplify() leaves it, has it.
local queries = {
    { "^HELLO$", hello },
    { "^SHOW%s+STATUS%f[%W]", function(sql)
        return name_value_result(status_values(), sql)
    end },
    { "^SHOW%s+VARIABLES%f[%W]", function(sql)
        return name_value_result(variables, sql)
    end },
    { "^SHOW%s+DATABASES%f[%W]", function()
        return { fields = { column "Database" }, rows = { { DATABASE } } }
    end },
    { "^SHOW%s+TABLES%f[%W]", function()
        return { fields = { column("Tables_in_" .. DATABASE) }, rows = {} }
    end },
    { "^SHOW%s+WARNINGS%f[%W]", function()
        return { fields = { column "Level", column "Code", column "Message" }, rows = {} }
    end },
    -- Clients set their character set, autocommit and the like before they do anything else, and
    -- some end a transaction in any case.
    { "^SET%s", succeed },
    { "^BEGIN$", succeed },
    { "^COMMIT$", succeed },
    { "^ROLLBACK$", succeed },
    { "^SELECT%f[%W]", function(sql, session)
        return select_values({ text = sql:match("^%a+%s*(.*)$"), at = 1, session = session })
    end },
}

-- Some clients and frameworks begin with a comment that says who asks.
local function trim(sql)
    return sql:gsub("^%s*/%*.-%*/", ""):match("^%s*(.-)[%s;]*$")
end

-- Session or global, the answer is the same.
local scopes = { SESSION = true, LOCAL = true, GLOBAL = true }

-- In capitals, with the comments opened that only some servers obey, as in SHOW /*!50002 GLOBAL */ STATUS.
local function simplify(sql)
    local simple = sql:upper():gsub("/%*!%d*(.-)%*/", "%1")
    return (simple:gsub("^(SHOW%s+)(%a+)%s+", function(show, word)
        return scopes[word] and show or nil
    end))
end

-- The answer to a query: a result, or nil and what the parser could make nothing of.
local function answer(sql, session)
    local simple = simplify(sql)
    for _, query in ipairs(queries) do
        if simple:find(query[1]) then
            local understood, result = pcall(query[2], sql, session)
            if understood then
                return result
            elseif type(result) ~= "table" then
                error(result, 0)
            end
            return nil, result.near
        end
    end
    return nil, sql
end

-- Commands --------------------------------------------------------------------------------------

local function unknown_database(client, name)
    dpml.send_error(client, "42000", 1049, ("Unknown database '%s': there is only '%s'"):format(name, DATABASE))
end

local commands = {
    [dpm.COM_QUERY] = function(client, session, sql)
        local result, near = answer(trim(sql), session)
        if result then
            dpml.send_resultset(client, result)
        else
            local message = "dpm runs without a database and answers HELLO, SELECT of simple expressions, "
                .. "and SHOW STATUS LIKE 'dpm%%'. It does not understand this near '%s'"
            dpml.send_error(client, "42000", 1064, message:format(near:sub(1, 80)))
        end
    end,

    [dpm.COM_INIT_DB] = function(client, session, name)
        if name ~= DATABASE then
            return unknown_database(client, name)
        end
        session.database = name
        dpml.send_resultset(client, ok)
    end,

    [dpm.COM_FIELD_LIST] = function(client, _, argument)
        local message = ("Table '%s.%s' doesn't exist"):format(DATABASE, argument:match("^%Z*"))
        dpml.send_error(client, "42S02", 1146, message)
    end,

    [dpm.COM_PING] = function(client)
        dpml.send_resultset(client, ok)
    end,

    [dpm.COM_SET_OPTION] = function(client)
        dpm.wire_packet(client, dpm.new_eof_pkt())
    end,

    [dpm.COM_RESET_CONNECTION] = function(client)
        dpml.send_resultset(client, ok)
    end,

    -- Worded as a server's, of which clients cut the uptime.
    [dpm.COM_STATISTICS] = function(client)
        local counters, packet = dpm.stats(), dpm.new_stats_pkt()
        local uptime = math.floor((dpm.monotonic() - STARTED) / 1000)
        local text = "Uptime: %d  Threads: %d  Questions: %d"
        packet:message(text:format(uptime, counters.clients, counters.commands))
        dpm.wire_packet(client, packet)
    end,

    [dpm.COM_QUIT] = function(client)
        dpm.close(client)
    end,

    -- These expect no answer, not even that there are no statements here.
    [dpm.COM_STMT_CLOSE] = function() end,
    [dpm.COM_STMT_SEND_LONG_DATA] = function() end,
}

local function new_command(cmd, client_id, client)
    local command = commands[cmd:command()]
    if command then
        command(client, sessions[client_id], cmd:argument())
    else
        dpml.send_error(client, "08S01", 1047, "dpm runs without a database and does not know this command")
    end
    return dpm.DPM_NOPROXY
end

-- Clients ---------------------------------------------------------------------------------------

local function new_client(client, auth)
    local database = auth:databasename()
    if database == "" then
        database = nil
    end
    if database and database ~= DATABASE then
        unknown_database(client, database)
        return dpm.DPM_NOPROXY
    end
    sessions[client:id()] = { conn = client, user = auth:user(), database = database }
end

local function client_closing(client_id)
    sessions[client_id] = nil
end

local port = tonumber(arg and arg[1]) or 5500
local listening, listener_or_problem = pcall(dpm.listener, "127.0.0.1", port, { tls = true })
if not listening then
    io.stderr:write(("dpm: cannot listen on 127.0.0.1:%d: %s\n"):format(port, tostring(listener_or_problem)))
    io.stderr:write("dpm: another port can be given: dpm -- PORT\n")
    dpm.exit(1)
    return
end

-- A global, because a listener that nobody holds is collected, and closed with it.
listener = listener_or_problem
dpml.authenticate_new_clients(listener, {
    new_client = new_client,
    new_command = new_command,
    closing = client_closing,
}, { [USER] = { password = PASSWORD } })
print(("dpm: startup listening on 127.0.0.1:%d"):format(listener:socket_port()))
print(("dpm: try  mysql -h 127.0.0.1 -P %d -u %s -p%s"):format(listener:socket_port(), USER, PASSWORD))
