-- What an administrator asks for beside figures: workers, tasks, plug-ins, and the clients in the form of a server's SHOW
-- PROCESSLIST. They are declared with the other figures, when the first administrative service begins.

local errors = require "dpml.support.errors"
local figures = require "dpml.figures"
local reload = require "dpml.plugins.reload"
local tasks = require "dpml.tasks"
local workers = require "dpml.tasks.workers"

local inventory = {}

local STARTED = dpm.monotonic()
local WORKER = "dpml.admin.worker" -- the question to another worker

local function note(name, help)
    return { name = name, kind = "note", help = help }
end

local function number(name, help, unit)
    return { name = name, kind = "note", type = unit == "seconds" and "number" or "integer", unit = unit, help = help }
end

local function seconds_since(milliseconds)
    return math.floor(dpm.monotonic() - milliseconds + 0.5) / 1000
end

-- What there is to tell of this worker.
local function this_worker()
    local stats = dpm.stats()
    return {
        worker = (dpm.worker()), state = "running", clients = stats.clients, servers = stats.servers, commands = stats.commands,
        lua_memory = stats.lua_memory, loop_lag_us = stats.loop_lag_us, loop_lag_max_us = stats.loop_lag_max_us,
        uptime_seconds = seconds_since(STARTED),
    }
end

-- All workers, if this is a task and can wait for their answers; else this one. One that does not answer is stuck.
local function all_workers()
    local own, count = dpm.worker()
    local list = {}
    for number = 1, tasks.in_task() and count or 0 do
        if number == own then
            list[number] = this_worker()
        else
            local answered, answer = pcall(workers.ask, number, WORKER, {})
            list[number] = answered and answer or { worker = number, state = errors.text(answer) }
        end
    end
    return list[1] and list or { this_worker() }
end

local function running_tasks()
    local list = {}
    for _, task in ipairs(tasks.all()) do
        list[#list + 1] = { task = task.number, state = task.state, waits_for = task.waits_for, started_at = task.place,
            seconds = seconds_since(task.since) }
    end
    return list
end

-- The next of the clients, as a server's process list has them.
local function processes()
    local next_row = figures.find("clients"):each()
    return function()
        local row = next_row()
        return row and { id = row[1], user = row[2], host = row[3], command = row[6], time = row[9], state = row[5] }
    end
end

local TABLES = {
    {
        name = "workers", help = "the threads that serve clients", metrics = false, entries = all_workers,
        columns = {
            number("worker", "its number"), note("state", "what it does"),
            number("clients", "its clients"), number("servers", "its connections to servers"),
            number("commands", "commands so far"), number("lua_memory", "bytes that its Lua has in use", "bytes"),
            number("loop_lag_us", "how long the last pass of its loop took", "microseconds"),
            number("loop_lag_max_us", "how long the longest took", "microseconds"),
            number("uptime_seconds", "since when", "seconds"),
        },
    },
    {
        name = "tasks", help = "tasks that are not over", metrics = false, order = "seconds", entries = running_tasks,
        columns = {
            number("task", "its number"), note("state", "ready, running or waiting"),
            note("waits_for", "the function that it waits in"), note("started_at", "the function that it runs, by its place"),
            number("seconds", "for how long it has been there", "seconds"),
        },
    },
    {
        name = "plugins", help = "files of plug-ins that are read again when they change", metrics = false, entries = reload.list,
        columns = {
            note("path", "the file"), number("version", "how often it was read and used"),
            note("problem", "why the last change is not used"),
        },
    },
    {
        name = "processlist", help = "the clients, in the form of a server's", metrics = false, entries = processes,
        columns = {
            number("id", "the client's number"), note("user", "its name"), note("host", "where it comes from"),
            note("db", "its schema; not known here"), note("command", "what is being answered"),
            number("time", "for how long it has been connected", "seconds"), note("state", "its last event"),
            note("info", "its statement; not known here"),
        },
    },
}

local is_declared = false

function inventory.declare()
    if is_declared then
        return
    end
    is_declared = true
    local _, count = dpm.worker()
    if count > 1 then
        workers.answer(WORKER, this_worker)
    end
    for _, declaration in ipairs(TABLES) do
        figures.declare(declaration)
    end
end

return inventory
