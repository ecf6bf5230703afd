-- Plug-ins from a file that is reloaded when it changes.

local checks = require "dpml.support.checks"
local errors = require "dpml.support.errors"
local plugins = require "dpml.plugins"

local reload = {}

local SECONDS = 2
local LONGEST = 5000 -- milliseconds that a file, and its selftest, may run for: clients wait meanwhile

local reloadables = {} -- all of them, for HUP

-- The file as it is now: its bytes, or nil and why not.
local function read(path)
    local file, problem = io.open(path, "rb")
    if not file then
        return nil, problem
    end
    local source
    source, problem = file:read("*a") -- opening a folder succeeds, but reading fails
    file:close()
    return source, problem and path .. ": " .. problem
end

-- Calls a function that may not return by itself: true and what it returns, or false and its error.
local function call(fn)
    local finished, ok, first, second = dpm.limit(LONGEST, xpcall, fn, debug.traceback)
    if not finished then
        return false, ok
    end
    return ok, first, second
end

-- Loads a plug-in from the source and runs its selftest; or nil and the error.
local function load_plugin(source, path)
    local chunk, problem = loadstring(source, "@" .. path)
    if not chunk then
        return nil, problem
    end
    local ok, plugin, selftest = call(chunk)
    if not ok then
        return nil, plugin
    end
    if type(plugin) ~= "table" and type(plugin) ~= "function" then
        return nil, path .. ": expected a plug-in to be returned, got " .. type(plugin)
    end
    ok, problem = pcall(plugins.check, path, plugin)
    if not ok then
        return nil, (problem:gsub("^[^\n]-%.lua:%d+: ", "")) -- without the startfile's line
    end
    selftest = selftest or type(plugin) == "table" and plugin.selftest
    if selftest then
        local passed, result, why = call(selftest)
        if not passed or result == false then
            return nil, path .. ": its selftest has failed: " .. tostring(why or result)
        end
    end
    return plugin
end

-- Reads the file if it has changed, and uses it if it loads and passes its selftest.
local function refresh(self)
    local source, problem = read(self.path)
    if source == self.source and problem == self.problem then
        return
    end
    self.source, self.problem = source, problem
    local plugin
    if source then
        plugin, problem = load_plugin(source, self.path)
    end
    if plugin then
        self.plugin, self.version, self.rejected = plugin, self.version + 1, nil
        dpm.log("info", ("%s: version %d is in use for new clients"):format(self.path, self.version))
    else
        self.rejected = errors.text(problem)
        dpm.log("error", ("%s cannot be used, and version %d stays: %s"):format(
            self.path, self.version, errors.text(problem)))
    end
end

-- Reads all files again that have changed. Returns how many there are, and the first one's problem, if any has one.
function reload.refresh_all()
    local failed
    for _, each in ipairs(reloadables) do
        refresh(each)
        failed = failed or each.rejected and ("%s cannot be used"):format(each.path)
    end
    return #reloadables, failed
end

-- The files: { path =, version =, problem = }.
function reload.list()
    local list = {}
    for i, each in ipairs(reloadables) do
        list[i] = { path = each.path, version = each.version, problem = each.rejected }
    end
    return list
end

local hup_taken = false

-- A script's own function for HUP, if it was registered before, is still called.
local function take_hup()
    if hup_taken then
        return
    end
    hup_taken = true
    local before = dpm.on_signal("HUP")
    dpm.on_signal("HUP", function()
        reload.refresh_all()
        if before then
            before()
        end
    end)
end

-- The plug-in that the file at `path` returns. The file is checked every `interval` seconds (default 2), and at
-- once on HUP. New clients get the new version, connected clients keep the version that they began with. A file
-- that cannot be loaded, or whose `selftest` (in the table that it returns, or its second result) fails or
-- returns false, is an error in the log, and the version before it stays. At the start it is an error.
function reload.reloadable(path, interval)
    checks.argument("dpml.reloadable", "path", path, "a string")
    checks.argument("dpml.reloadable", "interval", interval, "a number or nil")
    local self = { path = path, version = 0 }
    local source, problem = read(path)
    if source then
        self.source = source
        self.plugin, problem = load_plugin(source, path)
    end
    if not self.plugin then
        error(problem, 2)
    end
    self.version = 1
    reloadables[#reloadables + 1] = self
    take_hup()
    local milliseconds = math.max(1, math.ceil((interval or SECONDS) * 1000))
    dpm.new_timer():schedule(math.floor(milliseconds / 1000), milliseconds % 1000, function()
        refresh(self)
    end)
    return function(client, server, auth)
        return plugins.of_client(self.plugin, client, server, auth)
    end
end

return reload
