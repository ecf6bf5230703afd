-- Tasks: sequential code that can wait. Each is a coroutine; what it waits for is a callback.
--
-- One task runs at a time, until it waits. A task that becomes ready meanwhile is resumed afterwards, so that
-- no task is ever resumed inside another, however callbacks nest.

local checks = require "dpml.support.checks"
local errors = require "dpml.support.errors"
local words = require "dpml.support.words"

local tasks = {}

local Task = {}
Task.__index = Task

local running                        -- the running task
local queue, first, last = {}, 1, 0  -- the tasks that are ready
local in_turn = false

-- Those that are not over, so that they can be listed.
local all = setmetatable({}, { __mode = "k" })
local count = 0

local function pack(...)
    return { n = select("#", ...), ... }
end

-- A task is `state`: "ready", "running", "waiting", "done" or "failed".
local function settle(task, ok, ...)
    local waiters = task.waiters
    task.waiters, task.fn, task.arguments = nil, nil, nil
    if ok then
        task.state, task.results = "done", pack(...)
    else
        task.state, task.err = "failed", (...)
        if not waiters and not task.cancelled then
            dpm.log("error", ("a task has failed, and nobody waits for it: %s\n%s"):format(
                errors.text(task.err), debug.traceback(task.coroutine)))
        end
    end
    task.coroutine, all[task] = nil, nil
    for _, tell in ipairs(waiters or {}) do
        tell()
    end
    for _, leave in pairs(task.at_end or {}) do
        leave()
    end
end

-- Sets a function to call when the task ends. Each caller has its own `key`; nil removes the function.
function tasks.at_end(task, key, leave)
    task.at_end = task.at_end or {}
    task.at_end[key] = leave
end

local function after_step(task, ok, ...)
    running = nil
    if coroutine.status(task.coroutine) == "dead" then
        settle(task, ok, ...)
    elseif task.state ~= "waiting" then
        settle(task, false, "a task has yielded by itself: only what dpml has to wait for may yield in it")
    end
end

local function step(task)
    running = task
    if task.arguments then
        local arguments = task.arguments
        task.arguments, task.state = nil, "running"
        after_step(task, coroutine.resume(task.coroutine, unpack(arguments, 1, arguments.n)))
    else
        local ok, value = task.ok, task.value
        task.ok, task.value, task.state = nil, nil, "running"
        after_step(task, coroutine.resume(task.coroutine, ok, value))
    end
end

local function make_ready(task)
    last = last + 1
    queue[last] = task
    if in_turn then
        return
    end
    in_turn = true
    while first <= last do
        local next_task = queue[first]
        queue[first] = nil
        first = first + 1
        if next_task.state == "ready" then -- unless it was cancelled before it began
            local ok, problem = pcall(step, next_task)
            if not ok then -- the other tasks are resumed nevertheless
                dpm.log("error", "a task has ended badly: " .. errors.text(problem))
            end
        end
    end
    first, last, in_turn = 1, 0, false
end

local function wake(task, ok, value)
    task.interrupt, task.state = nil, "ready"
    task.ok, task.value = ok, value
    make_ready(task)
end

-- Runs fn(...) as a task, at once, or when the task that is running waits. Returns the task.
function tasks.spawn(fn, ...)
    checks.argument("dpml.spawn", "fn", fn, "a function")
    count = count + 1
    local task = setmetatable({ state = "ready", coroutine = coroutine.create(fn), arguments = pack(...), number = count,
        fn = fn, since = dpm.monotonic() }, Task)
    all[task] = true
    make_ready(task)
    return task
end

local function place_of(fn)
    local info = debug.getinfo(fn, "S")
    return ("%s:%d"):format(info.short_src, info.linedefined)
end

-- The tasks that are not over: { number =, state =, waits_for =, place =, since = } for each.
function tasks.all()
    local list = {}
    for task in pairs(all) do
        list[#list + 1] = { number = task.number, state = task.state, since = task.since, place = place_of(task.fn),
            waits_for = task.state == "waiting" and task.waits_for or nil }
    end
    return list
end

-- Whether the caller is a task that can wait here. It cannot inside a callback that fires while the task calls
-- something, or inside a function that it has passed to string.gsub or table.sort.
function tasks.in_task()
    return running ~= nil and coroutine.running() == running.coroutine and coroutine.isyieldable()
end

-- The task that calls this.
function tasks.current(what)
    if not tasks.in_task() then
        if running ~= nil and coroutine.running() == running.coroutine then
            checks.fail(what, "it waits, and cannot do so in a callback, nor in what string.gsub and their like call")
        end
        checks.fail(what, "it waits, and so must be called inside of dpml.spawn")
    end
    return running
end

-- Calls start(resume), and waits until resume(true, value) or resume(false, err) is called; returns the value
-- or raises the error. The function that `start` returns is called as give_up(err) if the task is interrupted
-- meanwhile.
function tasks.await(what, start)
    local task = tasks.current(what)
    local doomed = task.doomed
    if doomed then
        task.doomed = nil
        error(doomed, 0)
    end
    local state, ok, value = "starting", nil, nil
    local give_up = start(function(success, result)
        if state == "starting" then
            state, ok, value = "over", success, result
        elseif state == "waiting" then
            state = "over"
            wake(task, success, result)
        end
    end)
    if state == "starting" then
        state = "waiting"
        task.state, task.waits_for = "waiting", what
        task.interrupt = function(err)
            state = "over"
            local ok, problem = pcall(give_up or tostring, err)
            if not ok then
                dpm.log("error", what .. " could not be given up: " .. errors.text(problem))
            end
            wake(task, false, err)
        end
        ok, value = coroutine.yield()
    end
    if not ok then
        error(value, 0)
    end
    return value
end

-- Raises `err` in the task, where it waits or where it will wait next.
local function interrupt(task, err)
    if task.interrupt then
        task.interrupt(err)
    else
        task.doomed = err
    end
end

-- Ends the task with an error, which it may catch to clean up. False if it was over already.
function Task:cancel(reason)
    if self:is_over() then
        return false
    end
    self.cancelled = true
    local err = errors.cancelled(reason)
    if self.state == "ready" and self.arguments then
        settle(self, false, err) -- it has not started
    else
        interrupt(self, err)
    end
    return true
end

-- Whether it has returned or failed.
function Task:is_over()
    return self.state == "done" or self.state == "failed"
end

-- Calls fn() when the task is over, which may be at once.
local function when_over(task, fn)
    if task:is_over() then
        return fn()
    end
    task.waiters = task.waiters or {}
    table.insert(task.waiters, fn)
end

-- Waits for the end of the task, and returns what it returned or raises the error that it ended with.
function Task:wait()
    if not self:is_over() then
        if running == self then
            checks.fail("task:wait", "a task cannot wait for its own end")
        end
        tasks.await("task:wait", function(resume)
            when_over(self, function()
                resume(true)
            end)
        end)
    end
    if self.state == "failed" then
        error(self.err, 0)
    end
    return unpack(self.results, 1, self.results.n)
end

local function after(milliseconds, fn)
    local timer = dpm.new_timer()
    timer:schedule(0, math.max(1, math.ceil(milliseconds)), function()
        timer:cancel()
        fn()
    end)
    return timer
end

-- Waits so many milliseconds.
function tasks.sleep(milliseconds)
    checks.argument("dpml.sleep", "milliseconds", milliseconds, "a number")
    tasks.await("dpml.sleep", function(resume)
        local timer = after(milliseconds, function()
            resume(true)
        end)
        return function()
            timer:cancel()
        end
    end)
end

local function end_of_scope(task, scope, ok, ...)
    scope.timer:cancel()
    if scope.expired and task.doomed == scope.expired then
        task.doomed = nil
    end
    if not ok then
        error((...), 0)
    end
    return ...
end

-- Returns what fn(...) returns. If it still waits after `milliseconds`, that wait is abandoned, and an error is
-- raised there.
function tasks.with_timeout(milliseconds, fn, ...)
    checks.argument("dpml.with_timeout", "milliseconds", milliseconds, "a number")
    checks.argument("dpml.with_timeout", "fn", fn, "a function")
    local task = tasks.current("dpml.with_timeout")
    local scope = {}
    scope.timer = after(milliseconds, function()
        scope.expired = errors.timed_out(milliseconds)
        interrupt(task, scope.expired)
    end)
    return end_of_scope(task, scope, pcall(fn, ...))
end

-- The same with an optional time-out.
function tasks.within(milliseconds, fn, ...)
    if milliseconds then
        return tasks.with_timeout(milliseconds, fn, ...)
    end
    return fn(...)
end

-- Runs functions (and waits for tasks) side by side, and returns the first result of each, in their
-- order. If one of them fails, or the time is up, the others are cancelled and the error is raised.
-- `timeout_ms` may stand beside them.
function tasks.wait_all(list)
    checks.argument("dpml.wait_all", "list", list, "a table")
    for key in pairs(list) do
        if key == "timeout_ms" or key == "timeout" then
            checks.argument("dpml.wait_all", key, list[key], "a number")
        elseif type(key) ~= "number" then
            checks.fail("dpml.wait_all", ("there is no option %s, only timeout_ms"):format(tostring(key)))
        end
    end
    local count = table.maxn(list)
    for i = 1, count do
        local item = list[i]
        if type(item) ~= "function" and getmetatable(item) ~= Task then
            checks.fail("dpml.wait_all", ("%d: expected a function or a task, got %s"):format(i, type(item)))
        elseif item == running then
            checks.fail("dpml.wait_all", "a task cannot wait for its own end")
        end
    end
    tasks.current("dpml.wait_all")
    local values, left, group = { n = count }, count, {}
    if left == 0 then
        return
    end
    local function run_each(resume)
        for i, item in ipairs(list) do
            local task = type(item) == "function" and tasks.spawn(item) or item
            group[i] = task
            when_over(task, function()
                if task.state == "failed" then
                    return resume(false, task.err)
                end
                values[i], left = task.results[1], left - 1
                if left == 0 then
                    resume(true)
                end
            end)
        end
    end
    local ok, err = pcall(tasks.within, words.timeout_ms(list), tasks.await, "dpml.wait_all", run_each)
    if ok then
        return unpack(values, 1, values.n)
    end
    for _, task in ipairs(group) do
        task:cancel()
    end
    error(err, 0)
end

return tasks
