-- Auto-explain: a plug-in that has the server explain slow statements, and reports what is wrong with their
-- plans.
--
-- A *shape* is a digest within a database. Each shape is explained once in an interval, on a side connection,
-- so that no client waits and no client's session is used.
--
-- Only statements that are slow or have certain flags enter Lua, by server:on_answer.

local bit = require "bit"
local checks = require "dpml.support.checks"
local explainer = require "dpml.autoexplain.explainer"
local locking_clauses = require "dpml.autoexplain.locking_clauses"
local lru = require "dpml.support.lru"
local show_plans = require "dpml.autoexplain.show_plans"
local words = require "dpml.support.words"

local autoexplain = {}

local band, bor, monotonic, random = bit.band, bit.bor, dpm.monotonic, math.random

local MAX_SQL = 262144                   -- longer statements are not explained
local MAX_TEXTS, MAX_TEXT = 512, 4096    -- texts whose shape is cached, and their longest length
local LOGGED = 240                       -- bytes of a statement's text in a log line

-- The server's status flags about a statement.
local NO_INDEX, NO_GOOD_INDEX, WAS_SLOW =
    dpm.SERVER_QUERY_NO_INDEX_USED, dpm.SERVER_QUERY_NO_GOOD_INDEX_USED, dpm.SERVER_QUERY_WAS_SLOW
local ALL_FLAGS = bor(NO_INDEX, NO_GOOD_INDEX, WAS_SLOW)
local NO_ESCAPES = dpm.SERVER_STATUS_NO_BACKSLASH_ESCAPES

local QUERY, EXECUTE = dpm.COM_QUERY, dpm.COM_STMT_EXECUTE

local explained = { [QUERY] = true, [EXECUTE] = true }

-- Options ----------------------------------------------------------------------------------------

local function positive(value)
    return type(value) == "number" and value > 0
end

local function not_negative(value)
    return type(value) == "number" and value >= 0
end

local OPTIONS = {
    side = { wanted = "a table of dpml.connect's options", test = function(value) return type(value) == "table" end },
    threshold_ms = { default = 1000, wanted = "milliseconds", test = not_negative },
    sample = { default = 0, wanted = "a number from 0 to 1", test = function(value)
        return not_negative(value) and value <= 1
    end },
    interval = { default = 3600, wanted = "seconds", test = positive },
    format = { default = "traditional", wanted = "traditional, json or tree", test = function(value)
        return value == "traditional" or value == "json" or value == "tree"
    end },
    max_shapes = { default = 1000, wanted = "a number from 1 on", test = function(value)
        return positive(value) and value >= 1
    end },
    timeout_ms = { default = 5000, wanted = "milliseconds", test = positive },
    server_flags = { default = true, wanted = "true or false", test = function(value) return type(value) == "boolean" end },
    ansi_quotes = { default = false, wanted = "true or false", test = function(value) return type(value) == "boolean" end },
    report = { wanted = "a function", test = function(value) return value == nil or type(value) == "function" end },
}

local function check_options(options)
    if type(options) ~= "table" then
        checks.fail("dpml.autoexplain", "expected a table of options, got " .. type(options))
    end
    local given
    options, given = words.read("dpml.autoexplain", options)
    for name in pairs(options) do
        if not OPTIONS[name] then
            checks.fail("dpml.autoexplain", "there is no option " .. tostring(name))
        end
    end
    local checked = {}
    for name, option in pairs(OPTIONS) do
        local value = options[name]
        if value == nil then
            value = option.default
        end
        if not option.test(value) then
            checks.fail("dpml.autoexplain", ("%s: expected %s, got %s"):format(given[name] or name, option.wanted, tostring(value)))
        end
        checked[name] = value
    end
    return checked
end

-- Shapes -----------------------------------------------------------------------------------------

local AutoExplain = {}
AutoExplain.__index = AutoExplain

-- SQL modes in which double quotes quote names, also those that include ANSI_QUOTES.
local QUOTING = { ANSI_QUOTES = true, ANSI = true, ORACLE = true, MSSQL = true, DB2 = true, POSTGRESQL = true, MAXDB = true }

-- How the text of a session is read. `sql_mode` is nil if it is not known.
local function mode_of(self, sql_mode, status)
    local ansi_quotes = self.options.ansi_quotes
    if sql_mode then
        ansi_quotes = false
        for word in sql_mode:upper():gmatch("[%w_]+") do
            ansi_quotes = ansi_quotes or QUOTING[word] == true
        end
    end
    return self.modes[band(status, NO_ESCAPES) ~= 0][ansi_quotes]
end

-- The shape of a statement that can be explained; nil for all others.
local function find_shape(self, sql, database, mode)
    local kind, info = dpm.statement_kind(sql, mode)
    if not kind or not info.explainable or (kind == "INSERT" or kind == "REPLACE") and not info.has_select then
        return nil
    end
    local text, hash, ambiguous = dpm.digest(sql, mode)
    local key = hash .. (database or "")
    local shape = self.shapes:get(key)
    if not shape then
        shape = {
            digest = hash, database = database, kind = kind, from = info.main_from,
            query = ambiguous and "(not shown: it can be read in more than one way)" or text,
            seen = 0, longest = 0, first_seen = dpm.time(), due = 0,
        }
        self.shapes:put(key, shape)
    end
    return shape
end

-- The same with a cache for recent texts.
local function shape_of(self, sql, database, mode)
    if #sql > MAX_TEXT then
        return find_shape(self, sql, database, mode)
    end
    local known = self.texts:get(sql)
    if known and known.database == database and known.mode == mode and not (known.shape and known.shape.forgotten) then
        if known.shape then
            self.shapes:get(known.shape.digest .. (database or "")) -- marks it as used
        end
        return known.shape
    end
    local shape = find_shape(self, sql, database, mode)
    self.texts:put(sql, { database = database, mode = mode, shape = shape })
    return shape
end

-- Reports ----------------------------------------------------------------------------------------

-- The findings that are warnings, in the order of the report.
local FINDINGS = { "full_scan", "full_index_scan", "filesort", "temporary", "no_index", "no_good_index", "server_slow" }
local WARNED_OF = { full_scan = true, filesort = true, temporary = true, no_index = true, no_good_index = true }

-- The findings of a plan, and whether there is reason to warn.
function autoexplain.findings(plan)
    local found, warns = {}, false
    for _, name in ipairs(FINDINGS) do
        if plan[name] then
            found[#found + 1] = name
            warns = warns or WARNED_OF[name] or false
        end
    end
    return found, warns
end

-- A value of key=value.
local function quote(value)
    value = tostring(value):gsub("%c", "?")
    if value ~= "" and not value:find('[%s"=\\]') then
        return value
    end
    return '"' .. value:gsub('[\\"]', "\\%0") .. '"'
end

-- The first bytes of a text, without half a character at the end.
local function shorten(text, max)
    if #text <= max then
        return text
    end
    while max > 0 and band(text:byte(max + 1), 0xC0) == 0x80 do
        max = max - 1
    end
    return text:sub(1, max) .. "…"
end

local function write_line(plan)
    local found, warns = autoexplain.findings(plan)
    local parts = { "autoexplain: digest=" .. plan.digest }
    local function add(name, value)
        if value ~= nil then
            parts[#parts + 1] = name .. "=" .. quote(value)
        end
    end
    add("reason", plan.reason)
    add("duration_ms", ("%.1f"):format(plan.duration))
    add("flags", #found > 0 and table.concat(found, ",") or "none")
    add("rows", plan.rows)
    add("tables", plan.tables and #plan.tables > 0 and table.concat(plan.tables, ",") or nil)
    add("error", plan.error)
    add("user", plan.user)
    add("database", plan.database)
    add("query", shorten(plan.query, LOGGED))
    dpm.log(warns and "warn" or "info", table.concat(parts, " "))
end

-- The result of explaining one statement of a shape.
local function record(self, shape, cause, found, problem, raw)
    local plan = {
        digest = shape.digest, query = shape.query, kind = shape.kind, database = shape.database,
        user = cause.user, reason = cause.reason, duration = cause.duration, explained_at = dpm.time(), error = problem,
    }
    for name, value in pairs(found or {}) do
        plan[name] = value
    end
    plan.no_index = plan.no_index or band(cause.status, NO_INDEX) ~= 0
    plan.no_good_index = band(cause.status, NO_GOOD_INDEX) ~= 0
    plan.server_slow = band(cause.status, WAS_SLOW) ~= 0
    shape.plan, shape.waits, shape.due = plan, false, monotonic() + self.options.interval * 1000
    write_line(plan)
    if self.options.report then
        local ok, err = xpcall(self.options.report, debug.traceback, plan, raw)
        if not ok then
            dpm.log("error", "autoexplain: its report function has failed: " .. tostring(err))
        end
    end
end

-- A system variable's value, if it is known.
local function known_variable(session, name)
    local value = session:variable(name)
    return type(value) == "string" and value or nil
end

-- A statement that may be explained has ended.
local function consider(self, sql, database, cause, params_of)
    local mode = mode_of(self, cause.sql_mode, cause.status)
    local shape = #sql <= MAX_SQL and shape_of(self, sql, database, mode)
    if not shape then
        return
    end
    shape.seen, shape.last_seen = shape.seen + 1, dpm.time()
    shape.longest = math.max(shape.longest, cause.duration)
    if shape.waits or monotonic() < shape.due then
        return
    end
    sql = sql:sub(shape.from)
    shape.waits = self.explainer:submit {
        sql = shape.kind == "SELECT" and locking_clauses.remove(sql, mode) or sql,
        params = params_of and params_of(), kind = shape.kind, database = database,
        mode = mode, sql_mode = cause.sql_mode, charset = cause.charset,
        done = function(...)
            record(self, shape, cause, ...)
        end,
    }
end

-- Clients ----------------------------------------------------------------------------------------

-- The values of an execute of this statement, as far as they are known.
local function values_of(command, statement)
    local ok, values = pcall(statement.decode, statement, command, dpm.NULL)
    if not ok then
        return {}
    end
    for i, value in ipairs(values) do
        if value == dpm.LONG_DATA then
            values[i] = dpm.NULL
        end
    end
    return values
end

-- The plug-in of one client.
function AutoExplain:for_client(client, server, auth)
    local threshold, sample = self.options.threshold_ms, self.options.sample
    local wanted_flags = self.options.server_flags and ALL_FLAGS or 0
    client:track_statements(true)
    -- Where the proxy has logged the client in, so it has the server: what came of that is known.
    if not server:track_session() then -- with a client that comes from the startfile before, it is followed already
        server:track_session(true, { schema = auth and (auth:databasename() or "") })
    end
    local user = auth and auth:user()
    -- As they were when last known: whether a view or a trigger has changed them since then does not matter here.
    local sql_mode, charset

    local function note_session(command, failed)
        if not failed and (command == dpm.COM_CHANGE_USER or command == dpm.COM_RESET_CONNECTION) then
            sql_mode, charset = nil, nil
        end
        local session = server:session()
        if session then
            sql_mode = known_variable(session, "sql_mode") or sql_mode
            charset = known_variable(session, "character_set_client") or charset
        end
    end

    local function look_into(cmd, cause, its_client)
        local session = server:session()
        local database = session and session:schema()
        if not database then
            return -- a plan within another database would be another statement's
        end
        database = database ~= "" and database or nil
        if cmd:command() == QUERY then
            return consider(self, cmd:argument(), database, cause)
        end
        local statement = its_client:statement(cmd:statement_id())
        local sql = statement and statement:sql()
        if sql then
            consider(self, sql, database, cause, function()
                return values_of(cmd, statement)
            end)
        end
    end

    local function answered(cmd, ending, duration, status, its_client)
        if not cmd then
            return -- it was too long to keep
        end
        local failed = ending and ending.errnum
        if cmd:command() == dpm.COM_CHANGE_USER and not failed then
            user = cmd:change_user():user()
        end
        note_session(cmd:command(), failed)
        if not explained[cmd:command()] then
            return
        end
        local reason = duration >= threshold and "slow"
            or not failed and band(status, wanted_flags) ~= 0 and "server"
            or not failed and sample > 0 and random() < sample and "sample"
        if reason then
            look_into(cmd, {
                duration = duration, reason = reason, status = status, user = user, sql_mode = sql_mode, charset = charset,
            }, its_client)
        end
    end
    -- Callbacks are only set where they are needed.
    server:on_answer(answered, { slower = sample > 0 and 0 or threshold, status = wanted_flags })

    return {
        logged_in = function(its_auth)
            user = its_auth:user()
        end,
        save = function()
            return user or ""
        end,
        restore = function(_, saved)
            user = saved ~= "" and saved or nil
        end,
    }
end

-- Asking ------------------------------------------------------------------------------------------

-- All shapes, the most recently seen first: { digest, query, kind, database, seen, longest, first_seen,
-- last_seen, plan }, where plan is nil until one has been asked for, and what `report` gets then.
function AutoExplain:shapes_seen()
    return self.shapes:values()
end

-- Forgets all shapes.
function AutoExplain:reset()
    for _, shape in ipairs(self.shapes:values()) do
        shape.forgotten = true
    end
    self.shapes:clear()
    self.texts:clear()
end

-- Counters.
function AutoExplain:status()
    local side = self.explainer
    return {
        shapes = self.shapes.count, shapes_forgotten = self.forgotten, explained = side.explained, failed = side.failed,
        dropped = side.dropped, waiting = #side.queue,
        side_connection = side.problem or side.db and side.db:is_open() and "connected" or "not needed yet",
    }
end

-- Lets the clients of `listener` query plans in SQL. `options` are those of accept_clients, including `users`
-- or `authenticate`.
function AutoExplain:admin(listener, options)
    show_plans.serve(self, autoexplain.findings, listener, options)
end

-- A plug-in, which may serve any number of listeners: dpml.autoexplain{ side = { host =, port =, user =,
-- password = } } explains on that connection. The other options, with their defaults:
--   threshold_ms = 1000      what a statement may take
--   sample = 0               how much of the others is explained, too: 0.01 is one in a hundred
--   server_flags = true      so are those of which the server says that they found no index, or were slow
--   interval = 3600          seconds until a shape is explained again
--   max_shapes = 1000        how many are remembered
--   format = "traditional"   or "json" or "tree", the format of EXPLAIN
--   timeout_ms = 5000        for an EXPLAIN
--   ansi_quotes = false      whether sessions have the SQL mode of this name, where theirs is not known
--   report(plan, raw)        called with each plan, and with EXPLAIN's own words, in which there may be values
function autoexplain.autoexplain(options)
    options = check_options(options)
    local self = setmetatable({ options = options, forgotten = 0 }, AutoExplain)
    self.explainer = explainer.new(options.side, options.format, options.timeout_ms)
    self.shapes = lru.new(options.max_shapes, function(shape)
        shape.forgotten = true
        self.forgotten = self.forgotten + 1
    end)
    self.texts = lru.new(MAX_TEXTS)
    self.modes = {}
    for _, no_escapes in ipairs { true, false } do
        self.modes[no_escapes] = {}
        for _, ansi_quotes in ipairs { true, false } do
            self.modes[no_escapes][ansi_quotes] = { no_backslash_escapes = no_escapes, ansi_quotes = ansi_quotes }
        end
    end
    show_plans.add(self, autoexplain.findings)
    return self
end

return autoexplain
