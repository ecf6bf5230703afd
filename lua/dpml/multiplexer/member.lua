-- One server of the fleet: a connection that is re-established when it is lost, and the queue of its queries.

local databases = require "dpml.databases"
local errors = require "dpml.support.errors"
local tasks = require "dpml.tasks"
local warnings = require "dpml.support.warnings"

local member = {}

local Member = {}
Member.__index = Member

local CONNECT_TIMEOUT = 10000 -- milliseconds
local FIRST_PAUSE, LONGEST_PAUSE = 250, 30000 -- between attempts to connect
local KEPT_LATENCIES = 512
local LONGEST_QUEUE = 1000

-- Latencies ---------------------------------------------------------------------------------------

local function note_latency(self, milliseconds)
    self.latency_count = self.latency_count + 1
    self.latencies[(self.latency_count - 1) % KEPT_LATENCIES + 1] = milliseconds
end

-- The percentile of the last queries' latencies in milliseconds; nil if there were none.
function Member:percentile(share)
    if self.latency_count == 0 then
        return nil
    end
    local sorted = {}
    for i, latency in ipairs(self.latencies) do
        sorted[i] = latency
    end
    table.sort(sorted)
    return sorted[math.max(1, math.ceil(#sorted * share))]
end

-- Work --------------------------------------------------------------------------------------------

local function note_error(self, err)
    self.last_error, self.last_error_at = err, dpm.time()
end

-- Errors that are not the library's own contain a script's line, which belongs in the log.
local function as_error(problem)
    if errors.is_error(problem) then
        return problem
    end
    dpm.log("error", "multiplexer: " .. tostring(problem))
    return errors.presentable(problem)
end

local function wake(self)
    local resume = self.resume
    self.resume = nil
    if resume then
        resume(true)
    end
end

local function wait_for_work(self)
    tasks.await("multiplexer", function(resume)
        self.resume = resume
    end)
end

local function too_late(job)
    return job.deadline and dpm.monotonic() >= job.deadline
end

local REMOVED = errors.new(1105, "HY000", "The server was removed")

-- Runs one query; its result is reported once.
local function run(self, job)
    if job.over then
        return
    elseif too_late(job) then
        return job:done(errors.timed_out(job.timeout))
    end
    self.in_flight = 1
    local begun = dpm.monotonic()
    local ok, result = pcall(self.db.collect, self.db, job.sql, job.rowset, {
        timeout_ms = job.deadline and math.max(1, job.deadline - begun),
    })
    self.in_flight = 0
    self.queries = self.queries + 1
    self.bytes = self.bytes + job.rowset:bytes()
    note_latency(self, dpm.monotonic() - begun)
    if ok then
        return job:done(nil, result)
    end
    local err = self.removed and REMOVED or as_error(result)
    note_error(self, err)
    job:done(err.timed_out and errors.timed_out(job.timeout) or err)
end

local function refuse_all(self, err)
    local queue = self.queue
    self.queue = {}
    for _, job in ipairs(queue) do
        if not job.over then
            job:done(err)
        end
    end
end

local function connect(self)
    local dsn = self.dsn
    return databases.connect {
        host = dsn.host, port = dsn.port, path = dsn.path, user = dsn.user, password = dsn.password,
        database = dsn.database, tls = dsn.tls, timeout_ms = CONNECT_TIMEOUT,
    }
end

-- With jitter, so that a fleet that was cut off does not reconnect all at once.
local function pause_after(failures)
    local pause = math.min(FIRST_PAUSE * 2 ^ math.min(failures - 1, 20), LONGEST_PAUSE)
    return pause * (0.5 + math.random() / 2)
end

-- Runs queries until the connection is lost.
local function serve(self)
    while self.db:is_open() and not self.removed do
        local job = table.remove(self.queue, 1)
        if job then
            run(self, job)
        else
            wait_for_work(self)
        end
    end
end

local function keep_up(self)
    local failures = 0
    while not self.removed do
        local connected, db = pcall(connect, self)
        if connected then
            if failures > 0 then
                dpm.log("info", ("multiplexer: %s: connected"):format(self.label))
            end
            failures = 0
            self.db, self.version, self.active = db, db.version, true
            db.server:on_close(function()
                wake(self)
            end)
            serve(self)
            self.active = false
            if not self.removed then
                self.disconnects = self.disconnects + 1
                note_error(self, errors.new(2013, "HY000", "Lost connection: " .. (db.server:close_reason() or "")))
            end
            db:close()
            self.db = nil
        else
            failures = failures + 1
            note_error(self, as_error(db))
            if failures == 1 then -- the attempts that follow are not worth a line each
                warnings.warn("multiplexer", ("multiplexer: %s: %s"):format(self.label, tostring(self.last_error)))
            end
        end
        if not self.removed then
            -- Waiting queries fail at once, so that a server that is down delays no answer.
            refuse_all(self, self.last_error)
            if failures > 0 then
                local ok = pcall(tasks.sleep, pause_after(failures))
                if not ok then
                    break
                end
            end
            self.retries = self.retries + 1
        end
    end
end

-- Drops queries whose round was forgotten.
local function drop_what_is_over(self)
    local queue = {}
    for _, job in ipairs(self.queue) do
        if not job.over then
            queue[#queue + 1] = job
        end
    end
    self.queue = queue
end

-- Queues a query: job has sql, rowset, deadline and timeout, and done(self, err, result), which is called once.
function Member:ask(job)
    local done = job.done
    function job:done(err, result)
        if not self.over then
            self.over = true
            done(self, err, result)
        end
    end
    if not self.active and self.last_error then
        return job:done(self.last_error)
    end
    if #self.queue >= LONGEST_QUEUE then
        drop_what_is_over(self)
    end
    if #self.queue >= LONGEST_QUEUE then
        return job:done(errors.new(1105, "HY000", ("%d queries wait for this server already"):format(LONGEST_QUEUE)))
    end
    self.queue[#self.queue + 1] = job
    wake(self)
end

-- Closes its connection for good.
function Member:remove()
    self.removed = true
    refuse_all(self, REMOVED)
    if self.db then
        dpm.close(self.db.server)
    end
    wake(self)
    self.task:cancel()
end

-- A server that is connected to at once, and again whenever the connection is lost.
function member.new(label, dsn)
    local self = setmetatable({
        label = label, dsn = dsn, queue = {}, active = false, in_flight = 0,
        disconnects = 0, retries = 0, queries = 0, bytes = 0, latencies = {}, latency_count = 0,
    }, Member)
    self.task = tasks.spawn(keep_up, self)
    return self
end

return member
