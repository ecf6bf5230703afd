-- The servers of a pool: which there are, what part each has in the cluster, and which of them can be used. The cluster
-- belongs to its users: the pool follows it, and decides nothing about it.

local checks = require "dpml.support.checks"
local errors = require "dpml.support.errors"
local health = require "dpml.pool.health"
local roles = require "dpml.pool.roles"
local server_list = require "dpml.pool.server_list"
local servers = require "dpml.servers"
local tasks = require "dpml.tasks"
local warnings = require "dpml.support.warnings"

local topology = {}

local Topology = {}
Topology.__index = Topology

local NAME = "dpml.pool"

local OPTIONS = {
    servers = true, account = "a table, a function or nil", on_change = "a function",
    interval = "a number", timeout = "a number", max_delay = "a number", refresh = "a number",
}
local DEFAULTS = { interval = 1, timeout = 2, max_delay = 5, refresh = 10 }

-- What of a server's entry is not for connecting to it.
local OWN = { name = true, role = true, weight = true }

-- `options`: `servers` as for dpml.pool; `account` = the options of dpml.connect that say how to log in, or a function
-- of a server that returns them, or nil: then servers are not asked, and one whose role is not declared is a primary;
-- `on_change(name, view)`, called when something has changed, with nil when the server is no longer there; `interval`
-- between looks, `timeout` of one, `max_delay` of the back-off and `refresh`, after which the list of servers is asked for
-- again, in seconds.
function topology.new(options)
    checks.options(NAME, options, OPTIONS)
    local self = setmetatable({ watched = {}, order = {}, views = {} }, Topology)
    for name, value in pairs(DEFAULTS) do
        self[name] = options[name] or value
    end
    self.on_change, self.account = options.on_change, options.account
    self.list, self.is_list_asked_again = server_list.source(NAME, options.servers)
    return self
end

-- What of a server's entry is for connecting to it.
function topology.address_of(server)
    local address = {}
    for name, value in pairs(server) do
        if not OWN[name] then
            address[name] = value
        end
    end
    return address
end

-- How to log in at a server.
function Topology:login_at(server)
    local login = topology.address_of(server)
    local account = self.account
    for name, value in pairs(type(account) == "function" and account(server) or account) do
        login[name] = value
    end
    return login
end

-- How late a replica is. While it does not know (its source is silent, or it applies nothing) it gets later with the
-- time since it knew.
local function note_lag(entry, replication)
    local now = dpm.monotonic() / 1000
    if not replication then
        entry.behind, entry.behind_at = nil, nil
    elseif replication.lag then
        entry.behind, entry.behind_at = replication.lag, now
    elseif entry.behind_at then
        entry.behind, entry.behind_at = entry.behind + now - entry.behind_at, now
    else
        entry.behind = math.huge
    end
end

local function is_same(a, b)
    return a ~= nil and a.role == b.role and a.usable == b.usable and a.why == b.why and a.lag == b.lag
end

local function log_change(name, before, view)
    if view.usable and not (before and before.usable and before.role == view.role) then
        dpm.log("info", ("pool: server %s is usable, as %s"):format(name, view.role))
    elseif not view.usable and not (before and before.why == view.why) then
        warnings.warn("pool: a server is out", ("pool: server %s is out: %s"):format(name, view.why))
    end
end

-- Judges all servers, as what one of them says may change the part of another.
function Topology:review()
    local seen = {}
    for _, name in ipairs(self.order) do
        local entry = self.watched[name]
        if not entry.is_looked_at then
            return -- the first judgement is about all of them
        end
        seen[#seen + 1] = entry
    end
    local judgements, primary = roles.assign(seen, self.primary)
    local is_moved = primary ~= self.primary
    self.primary = primary or self.primary
    for _, entry in ipairs(seen) do
        local name, view = entry.name, judgements[entry.name]
        view.lag = view.lag and math.floor(view.lag)
        view.server = entry.server
        local before = self.views[name]
        self.views[name] = view
        if not is_same(before, view) then
            log_change(name, before, view)
            self.on_change(name, view)
        end
    end
    if is_moved then
        self:look_again()
    end
end

-- Whether no server can be written to: then the change that everybody waits for must not be missed.
function Topology:has_no_primary()
    for _, view in pairs(self.views) do
        if view.usable and view.role == "primary" then
            return false
        end
    end
    return true
end

function Topology:begin(server)
    local entry = { name = server.name, server = server, declared = server.role }
    self.watched[server.name] = entry
    self.order[#self.order + 1] = server.name
    if not self.account then
        entry.declared = server.role or "primary"
    end
    entry.watch = (self.account and health.watch or health.assume) {
        account = function()
            return self:login_at(server)
        end,
        interval = self.interval, timeout = self.timeout, max_delay = self.max_delay,
        is_urgent = function()
            return self:has_no_primary()
        end,
        on_look = function(observation, why)
            entry.is_looked_at = true
            entry.failure = why
            if observation then
                entry.observation = observation
                note_lag(entry, observation.replication)
            end
            self:review()
        end,
    }
end

function Topology:forget(name)
    local entry = self.watched[name]
    self.watched[name], self.views[name] = nil, nil
    for place, each in ipairs(self.order) do
        if each == name then
            table.remove(self.order, place)
            break
        end
    end
    entry.watch:stop()
    self.on_change(name, nil)
end

local function is_same_server(a, b)
    for name, value in pairs(a) do
        if b[name] ~= value then
            return false
        end
    end
    for name in pairs(b) do
        if a[name] == nil then
            return false
        end
    end
    return true
end

-- Takes over a list of servers: what is in it as before stays as it is.
function Topology:take(list)
    local named = {}
    for _, server in ipairs(list) do
        named[server.name] = server
    end
    for _, name in ipairs { unpack(self.order) } do
        if not named[name] or not is_same_server(named[name], self.watched[name].server) then
            self:forget(name)
        end
    end
    for _, server in ipairs(list) do
        if not self.watched[server.name] then
            self:begin(server)
        end
    end
    self:review()
end

local function follow_list(self)
    repeat
        local ok, list = pcall(self.list)
        if self.stopped then
            return
        elseif ok then
            self:take(list)
        else
            warnings.warn("pool: no list of servers",
                "pool: the list of servers could not be had, and stays as it was: " .. errors.text(list))
        end
        if self.is_list_asked_again then
            tasks.sleep((ok and self.refresh or math.min(1, self.refresh)) * 1000)
        end
    until ok and not self.is_list_asked_again or self.stopped
end

function Topology:start()
    self.task = tasks.spawn(follow_list, self)
end

function Topology:stop()
    self.stopped = true
    if self.task then
        self.task:cancel("the pool has ended")
    end
    for _, name in ipairs { unpack(self.order) } do
        self:forget(name)
    end
end

-- Has a server looked at at once, or all: after an error that shows that it is not what it was thought to be.
function Topology:look_again(name)
    for each, entry in pairs(self.watched) do
        if self.account and name == nil or name == each then
            entry.watch:look_again()
        end
    end
end

-- What is known of a server, { role =, usable =, lag =, why =, server = its entry of the list }; nil if it is not, or
-- not yet.
function Topology:view(name)
    return self.views[name]
end

-- The names of all servers, in the order of the list.
function Topology:names()
    return { unpack(self.order) }
end

return topology
