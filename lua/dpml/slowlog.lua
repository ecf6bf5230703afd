-- A plug-in that reports slow statements, and counts all statements by digest.

local checks = require "dpml.support.checks"
local times = require "dpml.support.times"
local words = require "dpml.support.words"

local slowlog = {}

local Slowlog = {}
Slowlog.__index = Slowlog

local NAME = "dpml.slowlog"
local OPTIONS = { threshold_ms = "a number", threshold = "a number", max_digests = "an integer", report = "a function" }

local THRESHOLD_MS = 1000
local MAX_DIGESTS = 1000
local MAX_LENGTH = 1000 -- bytes of a digest
local OTHERS = "(other digests)" -- counts statements beyond the limit

-- The histogram's limits in milliseconds, and the columns of the table.
local STEPS = { 1, 10, 100, 1000, math.huge }
local COLUMNS = { "digest", "count", "total_ms", "max_ms", "<1ms", "<10ms", "<100ms", "<1s", "more" }

local function digest_of(sql)
    return (dpm.digest(sql, { max_length = MAX_LENGTH }))
end

local function log_slow(digest, milliseconds, client_id)
    dpm.log("warn", ("client %d: %s: %s"):format(client_id, times.duration(milliseconds), digest))
end

local function add(self, text, milliseconds)
    if not self.by_text[text] and self.count >= self.max_digests then
        text = OTHERS
    end
    local digest = self.by_text[text]
    if not digest then
        digest = { count = 0, total = 0, max = 0, 0, 0, 0, 0, 0 }
        self.by_text[text], self.count = digest, self.count + 1
    end
    digest.count, digest.total = digest.count + 1, digest.total + milliseconds
    digest.max = math.max(digest.max, milliseconds)
    local step = 1
    while milliseconds >= STEPS[step] do
        step = step + 1
    end
    digest[step] = digest[step] + 1
end

-- The digests as a result, by total time, the largest first.
function Slowlog:digests()
    local rows = {}
    for text, digest in pairs(self.by_text) do
        rows[#rows + 1] = { text, digest.count, digest.total, digest.max, unpack(digest) }
    end
    table.sort(rows, function(a, b)
        return a[3] > b[3]
    end)
    return { fields = { unpack(COLUMNS) }, rows = rows }
end

-- The digest of the statement that a command is about.
local function noted(self, client, cmd)
    local statement = client:track_statements() and client:statement(cmd:statement_id())
    local notes = statement and statement:notes()
    return notes and notes[self]
end

function Slowlog:for_client(client, server)
    local coming -- the digest of the statement that is being prepared
    local running, elapsed -- the current command's digest, and its clock

    local function finished(client_id)
        local digest = running
        if not digest then
            return
        end
        running = nil
        local milliseconds = elapsed()
        add(self, digest, milliseconds)
        if milliseconds >= self.threshold_ms then
            self.report(digest, milliseconds, client_id)
        end
    end

    -- One that is not answered any more, since its connection was killed or its server has died, has ended, too. (Of one
    -- whose client has left it is not known how long it takes.)
    server:listen(dpm.MY_CLOSING, function()
        if not client:close_reason() then
            finished(client:id())
        end
    end)

    return {
        new_command = function(cmd)
            local command = cmd:command()
            running = nil
            if command == dpm.COM_QUERY then
                running = digest_of(cmd:argument())
            elseif command == dpm.COM_STMT_PREPARE then
                coming = digest_of(cmd:argument())
                if not client:track_statements() then
                    client:track_statements(true)
                end
            elseif command == dpm.COM_STMT_EXECUTE or command == dpm.COM_STMT_BULK_EXECUTE then
                running = noted(self, client, cmd) or OTHERS
            end
            elapsed = times.elapsed()
        end,
        new_statement = function(prepared)
            local notes = prepared:notes()
            if notes then
                notes[self] = coming
            end
        end,
        finished_command = finished,
        save = function() -- between two commands there is nothing to keep
            return ""
        end,
        restore = function() end,
    }
end

-- slowlog{ threshold_ms =, max_digests =, report = fn(digest, milliseconds, client_id) } -> a plug-in that
-- can be asked for its digests().
function slowlog.slowlog(options)
    checks.options(NAME, options or {}, OPTIONS)
    options = words.read(NAME, options or {})
    return setmetatable({
        threshold_ms = options.threshold_ms or THRESHOLD_MS,
        max_digests = options.max_digests or MAX_DIGESTS,
        report = options.report or log_slow,
        by_text = {}, -- digest -> { count =, total =, max =, [step] = how many }
        count = 0,
    }, Slowlog)
end

return slowlog
