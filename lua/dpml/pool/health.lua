-- Looking after one server: a task that asks it every so often what it says of itself, on a connection that it keeps.

local databases = require "dpml.databases"
local errors = require "dpml.support.errors"
local observations = require "dpml.pool.observations"
local tasks = require "dpml.tasks"

local health = {}

local Watch = {}
Watch.__index = Watch

-- ER_CON_COUNT_ERROR, ER_TOO_MANY_USER_CONNECTIONS: the server is well, and has no room for us.
local FULL = { [1040] = true, [1203] = true }

local FIRST_DELAY = 0.25 -- of the back-off, which doubles
local MIN_PAUSE = 0.1    -- between two looks, however many ask for one

local function after(seconds, fn)
    local timer = dpm.new_timer()
    timer:schedule(0, math.max(1, math.ceil(seconds * 1000)), function()
        timer:cancel()
        fn()
    end)
    return timer
end

-- Waits, but not if somebody asks to look again.
function Watch:pause(seconds)
    tasks.await("dpml.pool", function(resume)
        local timer = after(seconds, function()
            resume(true)
        end)
        self.wake = function()
            timer:cancel()
            resume(true)
        end
        return function()
            timer:cancel()
        end
    end)
    self.wake = nil
end

local function connect(self)
    local options = { timeout_ms = self.timeout * 1000 }
    for name, value in pairs(self.account()) do
        options[name] = value
    end
    return databases.connect(options)
end

-- One look: what the server says, or nil and an error. A connection that is late with its answer is closed, which ends
-- the wait for it.
function Watch:look()
    local late = false
    local ok, result = pcall(function()
        if not self.db or not self.db:is_open() then
            self.db = connect(self)
        end
        local timer = after(self.timeout, function()
            late = true
            self.db:close()
        end)
        local asked, observation = pcall(observations.ask, self.db)
        timer:cancel()
        if not asked then
            error(observation, 0)
        end
        return observation
    end)
    if ok then
        return result
    end
    if self.db then
        self.db:close()
        self.db = nil
    end
    if late or errors.is_error(result) and result.timed_out then
        return nil, errors.new(1105, "08S01", ("it has not answered within %g s"):format(self.timeout))
    end
    return nil, result
end

-- How long to wait before the next look.
function Watch:delay()
    local interval = self.is_urgent() and math.min(self.interval, FIRST_DELAY) or self.interval
    if self.failures == 0 then
        return interval
    end
    local delay = FIRST_DELAY * 2 ^ math.min(self.failures - 1, 10)
    return math.min(delay, self.is_urgent() and self.interval or self.max_delay)
end

local function run(self)
    while not self.stopped do
        self.again = false
        local observation, err = self:look()
        if self.stopped then
            break
        end
        local is_full = err and errors.is_error(err) and FULL[err.errnum]
        if observation then
            self.failures = 0
            self.on_look(observation)
        elseif not is_full then
            self.failures = self.failures + 1
            self.on_look(nil, errors.is_error(err) and err.message or errors.text(err))
        end
        if self.again then
            self:pause(MIN_PAUSE)
        else
            self:pause(is_full and self.max_delay or self:delay())
            if self.again then
                self:pause(MIN_PAUSE)
            end
        end
    end
    if self.db then
        self.db:close()
    end
end

-- Begins to look after a server. `options` has `account` = a function that returns how to log in at it, `interval`,
-- `timeout` and `max_delay` in seconds, `on_look(observation, why_there_is_none)`, and `is_urgent()`: whether to look
-- more often.
function health.watch(options)
    local watch = setmetatable({ failures = 0, stopped = false, again = false }, Watch)
    for name, value in pairs(options) do
        watch[name] = value
    end
    watch.task = tasks.spawn(run, watch)
    return watch
end

-- Has it look at once: whoever asks has found something that the last look did not show.
function Watch:look_again()
    self.again = true
    if self.wake then
        self.wake()
    end
end

function Watch:stop()
    self.stopped = true
    self.task:cancel("the server is no longer looked after")
    if self.db then
        self.db:close()
    end
end

-- A server that cannot be asked, as there is no account for it ------------------------------------

local Assumed = {}
Assumed.__index = Assumed

-- Takes a server for usable, but not for a while after a connection to it has failed. The options are those of
-- health.watch.
function health.assume(options)
    local assumed = setmetatable({ failures = 0, failed_at = -math.huge }, Assumed)
    assumed.on_look, assumed.max_delay = options.on_look, options.max_delay
    assumed.on_look({ id = "", writable = true })
    return assumed
end

-- A connection to it has failed.
function Assumed:look_again()
    if self.timer then
        return
    end
    local now = dpm.monotonic() / 1000
    local is_long_ago = now - self.failed_at > 2 * self.max_delay
    self.failures, self.failed_at = is_long_ago and 1 or self.failures + 1, now
    self.timer = after(math.min(self.max_delay, FIRST_DELAY * 2 ^ math.min(self.failures - 1, 10)), function()
        self.timer = nil
        self.on_look({ id = "", writable = true })
    end)
    self.on_look(nil, "a connection to it has failed")
end

function Assumed:stop()
    if self.timer then
        self.timer:cancel()
        self.timer = nil
    end
end

return health
