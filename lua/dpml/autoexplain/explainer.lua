-- Explains statements one by one on its own connection, in a task that runs as long as there is something to
-- explain.
--
-- It never executes the explained statement: it uses EXPLAIN, never ANALYZE; it sends it as a prepared
-- statement, which cannot contain several; and the session is read-only, except in the transaction, rolled back
-- afterwards, in which statements that write are explained, because servers refuse to explain them otherwise.

local databases = require "dpml.databases"
local errors = require "dpml.support.errors"
local plans = require "dpml.autoexplain.plans"
local tasks = require "dpml.tasks"
local words = require "dpml.support.words"

local explainer = {}

local Explainer = {}
Explainer.__index = Explainer

local MAX_JOBS = 100
local FIRST_PAUSE, LONGEST_PAUSE = 1000, 60000 -- milliseconds between attempts to connect

-- Settings for the session: short waits for locks, and a limit on run time, so that it does not continue after
-- we have given up.
local function settings(is_mariadb, timeout_ms)
    return {
        "SET SESSION TRANSACTION READ ONLY",
        "SET SESSION lock_wait_timeout = 1",
        "SET SESSION innodb_lock_wait_timeout = 1",
        is_mariadb and ("SET SESSION max_statement_time = %g"):format(timeout_ms / 1000)
            or ("SET SESSION max_execution_time = %d"):format(timeout_ms),
    }
end

-- An error's text for the log. Servers' messages may quote values of the statement, so only messages are shown
-- that contain nothing but names of databases, tables and accounts.
local SHOWN = {
    [1044] = true, [1045] = true, [1046] = true, [1049] = true, [1130] = true, [1142] = true, [1143] = true,
    [1146] = true, [1205] = true, [1227] = true, [1290] = true, [1356] = true, [1370] = true, [1792] = true,
    [1969] = true, [2002] = true, [2003] = true, [2005] = true, [2006] = true, [2013] = true, [2059] = true, [3024] = true,
}

function explainer.describe(err)
    if errors.is_error(err) and not SHOWN[err.errnum] then
        return ("ERROR %d (%s)"):format(err.errnum, err.sqlstate)
    end
    return tostring(err)
end

-- Connecting -------------------------------------------------------------------------------------

local function connect(self)
    local db = databases.connect(self.side)
    self.db, self.database = db, self.side.database
    self.is_mariadb = db.version:find("MariaDB", 1, true) ~= nil
    for _, setting in ipairs(settings(self.is_mariadb, self.timeout_ms)) do
        db:query(setting, nil, { timeout_ms = self.timeout_ms })
    end
    if self.format == "json" and not self.is_mariadb then
        -- The newer of MySQL's two leaves out subqueries that it evaluates once, such as in ORDER BY, and statements that
        -- write. Servers without the variable have one only.
        pcall(db.query, db, "SET SESSION explain_json_format_version = 1", nil, { timeout_ms = self.timeout_ms })
    end
    local own = "SELECT @@SESSION.sql_mode, @@SESSION.character_set_client"
    local result = db:query(own, nil, { timeout_ms = self.timeout_ms })
    self.own_mode, self.own_charset = tostring(result.rows[1][1]), tostring(result.rows[1][2])
    self.mode, self.charset = self.own_mode, self.own_charset
end

-- Has the text read as the client's session has read it. What is not known of that session is as the side connection
-- found it at its login, but for what the text cannot be read without.
local function adopt(self, job)
    local mode, charset = job.sql_mode, job.charset or self.own_charset
    if not mode then
        mode = self.own_mode
        for _, needed in ipairs { job.mode.ansi_quotes and "ANSI_QUOTES", job.mode.no_backslash_escapes and "NO_BACKSLASH_ESCAPES" } do
            mode = needed and mode .. "," .. needed or mode
        end
    end
    local options = { timeout_ms = self.timeout_ms }
    if mode ~= self.mode then
        self.db:query("SET SESSION sql_mode = ?", { mode }, options)
        self.mode = mode
    end
    if charset ~= self.charset then
        self.db:query("SET SESSION character_set_client = ?, SESSION character_set_connection = ?", { charset, charset }, options)
        self.charset = charset
    end
end

-- Connects if necessary; returns whether there is a connection. A failure is logged once, and retried after
-- increasing pauses.
local function ensure_connected(self)
    if self.db and self.db:is_open() then
        return true
    end
    local ok, err = pcall(connect, self)
    if ok then
        if self.pause then
            dpm.log("info", "autoexplain: the side connection is there again")
        end
        self.pause, self.problem = nil, nil
        return true
    end
    if self.db then
        self.db:close()
        self.db = nil
    end
    self.problem = explainer.describe(err)
    if not self.pause then
        dpm.log("warn", "autoexplain: nothing can be explained: " .. self.problem)
    end
    self.pause = math.min(self.pause and self.pause * 2 or FIRST_PAUSE, LONGEST_PAUSE)
    return false
end

-- Explaining -------------------------------------------------------------------------------------

local function raw_rows(result)
    local lines = {}
    for i, row in ipairs(result.rows) do
        local values = {}
        for j = 1, #result.columns do
            values[j] = row[j] == nil and "NULL" or tostring(row[j])
        end
        lines[i] = table.concat(values, "\t")
    end
    return table.concat(lines, "\n")
end

local function explain_as(self, job, format)
    local sql = ("EXPLAIN FORMAT=%s %s"):format(format:upper(), job.sql)
    local result = self.db:query(sql, job.params or {}, { timeout_ms = self.timeout_ms })
    if format == "traditional" then
        return plans.of_rows(result.rows), nil, raw_rows(result)
    end
    local text = result.rows[1] and result.rows[1][1] or ""
    local plan, problem = (format == "json" and plans.of_json or plans.of_tree)(text)
    return plan, problem, text
end

local function explain(self, job)
    if job.database and job.database ~= self.database then
        self.db:use(job.database, { timeout_ms = self.timeout_ms })
        self.database = job.database
    end
    adopt(self, job)
    local format = self.format
    if format == "tree" and self.is_mariadb then
        format = "traditional"
    end
    local plan, problem, raw = explain_as(self, job, format)
    if not plan and format ~= "traditional" then
        plan, problem, raw = explain_as(self, job, "traditional")
    end
    if not plan then
        error("its plan cannot be read: " .. problem, 0)
    end
    return plans.judge(plan, job.kind), raw
end

local function explain_one(self, job)
    if job.kind == "SELECT" then
        return explain(self, job)
    end
    self.db:query("START TRANSACTION READ WRITE", nil, { timeout_ms = self.timeout_ms })
    local ok, plan, raw = pcall(explain, self, job)
    pcall(self.db.rollback, self.db, { timeout_ms = self.timeout_ms })
    if not ok then
        error(plan, 0)
    end
    return plan, raw
end

local function run(self)
    while self.queue[1] do
        if not ensure_connected(self) then
            tasks.sleep(self.pause)
        else
            local job = table.remove(self.queue, 1)
            local ok, plan, raw = pcall(explain_one, self, job)
            if ok then
                self.explained = self.explained + 1
                job.done(plan, nil, raw)
            elseif not self.db:is_open() and not job.again then
                -- Once, since this statement may not be the cause.
                job.again = true
                table.insert(self.queue, 1, job)
            else
                self.failed = self.failed + 1
                job.done(nil, explainer.describe(plan))
            end
        end
    end
    self.task = nil
end

-- Queues { sql =, params =, kind =, database =, mode =, sql_mode =, charset =, done = fn(plan, problem, raw) } for being
-- explained: `mode` is how dpm.tokenize reads it, the two after it are its session's, if known. False if too many wait
-- already.
function Explainer:submit(job)
    if #self.queue >= MAX_JOBS then
        self.dropped = self.dropped + 1
        return false
    end
    self.queue[#self.queue + 1] = job
    if not self.task or self.task:is_over() then
        self.task = tasks.spawn(run, self)
    end
    return true
end

-- `side` are options of dpml.connect; `timeout_ms` is for each EXPLAIN.
function explainer.new(side, format, timeout_ms)
    local options = words.read("dpml.autoexplain: side", side)
    options.timeout_ms = options.timeout_ms or timeout_ms
    return setmetatable({
        side = options, format = format, timeout_ms = timeout_ms, queue = {},
        explained = 0, failed = 0, dropped = 0,
    }, Explainer)
end

return explainer
