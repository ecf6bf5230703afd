-- What the live page is told, once a second while anybody looks: the figures as they are, as server-sent events. The page
-- computes rates and percentiles from what changes between two of them, so that looking costs little here.

local everywhere = require "dpml.metrics.everywhere"
local figures = require "dpml.figures"
local merging = require "dpml.metrics.merging"

local snapshots = {}

local QUESTION = "dpml.metrics.snapshot"

-- The tables that the page knows, and how many rows of each it is told at most.
local TABLES = {
    stats = 1, queries = 1, workers = 64, listeners = 50, servers = 100, users = 50, pools = 50, pool_servers = 100,
    pool_counters = 20,
}
local LONGEST_TEXT = 300 -- characters
local MOST_WATCHERS = 32
local HEADERS = {
    ["Content-Type"] = "text/event-stream",
    ["Cache-Control"] = "no-store",
    ["X-Content-Type-Options"] = "nosniff",
}

local function shown(value)
    if type(value) ~= "string" then
        return value
    end
    value = dpm.to_utf8(value)
    if #value > LONGEST_TEXT then
        -- (Not within a character.)
        value = value:sub(1, LONGEST_TEXT):gsub("[\192-\255]?[\128-\191]*$", "", 1) .. "…"
    end
    return value
end

-- A number is finite, as JSON's are.
local function number(value)
    if value ~= value or value == math.huge or value == -math.huge then
        return nil
    end
    return value
end

local function plain(record)
    local copy = {}
    for name, value in pairs(record) do
        if type(value) == "number" then
            copy[name] = number(value)
        elseif type(value) ~= "table" then
            copy[name] = shown(value)
        end
    end
    return copy
end

-- A distribution: its limits without the last, which is infinite, and how many were at most that.
local function distribution(histogram)
    local limits, counts = {}, {}
    for i, bucket in ipairs(histogram) do
        limits[i], counts[i] = number(bucket[1]), bucket[2]
    end
    return { limits = limits, counts = counts }
end

local function told(of, most)
    if of.list then
        local record = of:records()
        local copy = plain(record)
        if type(record.time) == "table" then
            copy.time = distribution(record.time)
        end
        return copy
    end
    local rows = {}
    for row in of:each() do
        if #rows >= most then
            break
        end
        local record = {}
        for i, column in ipairs(of.all) do
            record[column.name] = row[i]
        end
        rows[#rows + 1] = plain(record)
    end
    return rows
end

-- The digests that took the most time.
local function top_digests(of, count)
    local names, list = {}, {}
    for i, column in ipairs(of.all) do
        names[i] = column.name
    end
    for _, row in ipairs(dpm.top_digests(count, "total_us")) do
        local record = {}
        for i, name in ipairs(names) do
            record[name] = row[i]
        end
        list[#list + 1] = plain(record)
    end
    return list
end

-- What this worker has to tell.
local function own_tables(question)
    local tables = {}
    for _, of in ipairs(figures.all()) do
        if TABLES[of.name] then
            tables[of.name] = told(of, TABLES[of.name])
        elseif of.name == "digests" and question.digests > 0 then
            tables.digests = top_digests(of, question.digests)
        end
    end
    return tables
end

-- What this worker is, among the others.
local function worker_row(worker, stats)
    return {
        worker = worker, clients = stats.clients, commands = stats.commands, loop_lag_us = stats.loop_lag_us,
        lua_memory = stats.lua_memory, callback_errors = stats.callback_errors,
    }
end

-- Calls done(snapshot) with the figures of all workers as one line of JSON.
function snapshots.take(digests, done)
    local _, count = dpm.worker()
    everywhere.ask(QUESTION, { digests = digests }, own_tables, function(answers)
        local tables, rows = nil, {}
        for worker = 1, count do
            local of = answers[worker]
            if of then
                rows[#rows + 1] = worker_row(worker, of.stats)
                tables = tables and merging.merge(tables, of) or of
            end
        end
        if count > 1 and not tables.workers then
            tables.workers = rows
        end
        done(dpm.json_encode { time = dpm.monotonic(), stopping = dpm.is_stopping(), tables = tables })
    end)
end

-- This worker answers others.
function snapshots.answer()
    everywhere.answer(QUESTION, own_tables)
end

-- A function that answers requests with a stream of snapshots.
function snapshots.watcher(digests)
    local watchers, watching, timer = {}, 0, dpm.new_timer()
    local is_asking = false

    local function tell()
        if is_asking then
            -- A worker takes its time.
            return
        end
        is_asking = true
        snapshots.take(digests, function(snapshot)
            is_asking = false
            for watcher in pairs(watchers) do
                -- One that does not keep up misses this one.
                watcher:send(("data: %s\n\n"):format(snapshot))
            end
        end)
    end

    return function(request, exchange)
        if watching >= MOST_WATCHERS then
            return 503, nil, "too many are watching\n"
        end
        if request.method == "HEAD" then
            return 200, HEADERS
        end
        exchange:start(200, HEADERS)
        exchange:send("retry: 2000\n\n")
        snapshots.take(digests, function(snapshot)
            exchange:send(("data: %s\n\n"):format(snapshot))
        end)
        watchers[exchange] = true
        watching = watching + 1
        if watching == 1 then
            timer:schedule(1, 0, tell)
        end
        exchange:on_close(function()
            watchers[exchange] = nil
            watching = watching - 1
            if watching == 0 then
                timer:cancel()
            end
        end)
    end
end

return snapshots
