-- Rounds: a query to several servers, and their answers.

local errors = require "dpml.support.errors"
local tasks = require "dpml.tasks"

local rounds = {}

local Rounds = {}
Rounds.__index = Rounds

-- `limits`: rows and bytes of a server's answer, bytes of a round, memory of all rounds that are kept, how
-- many rounds of a poll, and how many polls.
function rounds.new(limits)
    return setmetatable({ limits = limits, polls = {}, order = {}, last_number = 0 }, Rounds)
end

local function key_of(group, sql)
    return group:upper() .. "\0" .. sql
end

local function bytes_of(round)
    local bytes = 0
    for _, answer in ipairs(round.answers) do
        bytes = bytes + answer.rowset:bytes()
    end
    return bytes
end

local FORGOTTEN = errors.new(1317, "70100", "The round was forgotten before this server had answered")

local function drop_rows(round)
    for _, answer in ipairs(round.answers) do
        answer.rowset:clear()
    end
end

-- The round cannot be fetched from here on. Clients that wait for it get the answers so far. If its rows are
-- being sent, they are freed after that.
local function clear(round)
    for _, answer in ipairs(round.answers) do
        answer.job.over = true -- the rest of its answer is discarded
        if not answer.result then
            answer.err = answer.err or FORGOTTEN
        end
    end
    round.left, round.cleared = 0, true
    local waiting = round.waiting
    round.waiting = {}
    for _, resume in ipairs(waiting) do
        resume(true)
    end
    if round.users == 0 then
        drop_rows(round)
    end
end

-- Forgets the oldest rounds until the rest is small enough, except rounds that are waited for or being sent.
local function make_room(self)
    while #self.order > self.limits.polls do
        self:forget(self.order[1])
    end
    local bytes, all = 0, {}
    for _, poll in ipairs(self.order) do
        for _, round in ipairs(poll.rounds) do
            bytes = bytes + bytes_of(round)
            all[#all + 1] = { poll = poll, round = round }
        end
    end
    table.sort(all, function(a, b) return a.round.number < b.round.number end)
    for _, each in ipairs(all) do
        if bytes <= self.limits.memory then
            break
        end
        if each.round.left == 0 and each.round.users == 0 then
            bytes = bytes - bytes_of(each.round)
            clear(each.round)
            for i, round in ipairs(each.poll.rounds) do
                if round == each.round then
                    table.remove(each.poll.rounds, i)
                    break
                end
            end
        end
    end
end

local function note_answer(self, round, answer, err, result)
    answer.err, answer.result = err, result
    if err then
        answer.rowset:clear() -- an incomplete answer is not used
    end
    round.left = round.left - 1
    if round.left == 0 then
        round.took = dpm.monotonic() - round.begun
        for _, resume in ipairs(round.waiting) do
            resume(true)
        end
        round.waiting = {}
        make_room(self)
    end
end

-- Sends `sql` to the servers and returns the round at once; timeout in seconds, 0 for none.
function Rounds:start(group, servers, timeout, sql)
    local key = key_of(group, sql)
    local poll = self.polls[key]
    if not poll then
        poll = { key = key, group = group, sql = sql, rounds = {} }
        self.polls[key] = poll
        self.order[#self.order + 1] = poll
    end
    self.last_number = self.last_number + 1
    poll.count = (poll.count or 0) + 1
    local begun = dpm.monotonic()
    local round = {
        number = self.last_number, of_poll = poll.count, begun = begun, at = dpm.time(),
        deadline = timeout > 0 and begun + timeout * 1000 or nil,
        answers = {}, left = #servers, waiting = {}, users = 0, timeout = timeout,
    }
    table.insert(poll.rounds, round)
    while #poll.rounds > self.limits.rounds do
        clear(table.remove(poll.rounds, 1))
    end
    local limits = self.limits
    local first = dpm.new_rowset { rows = limits.server_rows, bytes = limits.server_bytes, total = limits.round_bytes }
    for i, server in ipairs(servers) do
        local answer = { label = server.label, rowset = i == 1 and first or first:sibling() }
        round.answers[i] = answer
    end
    for i, server in ipairs(servers) do
        local answer = round.answers[i]
        answer.job = {
            sql = sql, rowset = answer.rowset, deadline = round.deadline, timeout = timeout * 1000,
            done = function(_, err, result)
                note_answer(self, round, answer, err, result)
            end,
        }
        server:ask(answer.job)
    end
    if #servers == 0 then
        round.took = 0
    end
    make_room(self)
    return round, poll
end

-- The latest round of this query, or the one of that number; nil if there is none.
function Rounds:find(group, sql, number)
    local poll = self.polls[key_of(group, sql)]
    if not poll then
        return nil
    elseif not number then
        return poll.rounds[#poll.rounds]
    end
    for _, round in ipairs(poll.rounds) do
        if round.of_poll == number then
            return round
        end
    end
end

local function wait_for_all(round)
    tasks.await("multiplexer", function(resume)
        local waiting = round.waiting
        waiting[#waiting + 1] = resume
        return function()
            for i, each in ipairs(waiting) do
                if each == resume then
                    table.remove(waiting, i)
                end
            end
        end
    end)
end

local GRACE = 20 -- milliseconds in which queries that time out still report that themselves

-- Waits until all servers of a round have answered, or its time is up, since a server may still be busy with an
-- earlier query.
function rounds.wait(round)
    if round.left == 0 then
        return
    end
    local left = round.deadline and math.max(0, round.deadline - dpm.monotonic()) + GRACE
    local ok, err = pcall(tasks.within, left, wait_for_all, round)
    if not ok and not (errors.is_error(err) and err.timed_out) then
        error(err, 0)
    end
end

-- Runs `fn(round)`, and keeps the round from being forgotten meanwhile.
function rounds.use(round, fn)
    round.users = round.users + 1
    local ok, err = pcall(fn, round)
    round.users = round.users - 1
    if round.cleared and round.users == 0 then
        drop_rows(round)
    end
    if not ok then
        error(err, 0)
    end
end

-- Repeats a query every so many seconds; `resolve` returns the servers at that time.
function Rounds:repeat_every(seconds, group, resolve, timeout, sql)
    local servers, err = resolve(group)
    if not servers then
        return nil, err
    end
    local _, poll = self:start(group, servers, timeout, sql)
    if poll.timer then
        poll.timer:cancel()
    end
    local milliseconds = math.max(10, math.floor(seconds * 1000))
    poll.every, poll.timer = seconds, dpm.new_timer()
    poll.timer:schedule(0, milliseconds, function()
        local latest = poll.rounds[#poll.rounds]
        local now = resolve(group)
        -- No new round is started while one still runs.
        if now and (not latest or latest.left == 0) then
            self:start(group, now, timeout, sql)
        end
    end)
    return poll
end

-- Forgets a poll and all its rounds, and stops repeating it.
function Rounds:forget(poll)
    if poll.timer then
        poll.timer:cancel()
    end
    for _, round in ipairs(poll.rounds) do
        clear(round)
    end
    self.polls[poll.key] = nil
    for i, each in ipairs(self.order) do
        if each == poll then
            table.remove(self.order, i)
            break
        end
    end
end

-- The poll of this query; nil if there is none.
function Rounds:poll(group, sql)
    return self.polls[key_of(group, sql)]
end

-- The warnings of a round: { level, code, message }, one for each server whose rows are missing or incomplete, and a
-- note for each that has answered without rows: so every server is in the rows, or here.
function rounds.warnings(round)
    local warnings = {}
    for _, answer in ipairs(round.answers) do
        local err, cut = answer.err, answer.rowset:cut()
        if not err and not answer.result then
            err = errors.timed_out(round.timeout * 1000)
        end
        if err then
            warnings[#warnings + 1] = { "Error", err.errnum, answer.label .. ": " .. tostring(err) }
        elseif cut > 0 then
            warnings[#warnings + 1] = { "Warning", 1105, ("%s: %d rows were cut off: %d rows and %d bytes are kept"):format(
                answer.label, cut, answer.rowset:count(), answer.rowset:bytes()) }
        elseif answer.result.fields and answer.rowset:count() == 0 then
            warnings[#warnings + 1] = { "Note", 1105, answer.label .. ": it has answered, without rows" }
        end
    end
    return warnings
end

-- How many servers' rows are missing or incomplete.
function rounds.missing(round)
    local missing = 0
    for _, warning in ipairs(rounds.warnings(round)) do
        missing = missing + (warning[1] == "Note" and 0 or 1)
    end
    return missing
end

return rounds
