-- Learns what the servers behind a listener greet with, so that clients can be greeted likewise: by a login of its own
-- before the first client comes, and after a server has gone; all other logins keep it fresh.

local addresses = require "dpml.servers.addresses"
local greetings = require "dpml.logins.greetings"
local servers = require "dpml.servers"

local greeter = {}

local Greeter = {}
Greeter.__index = Greeter

local PATIENCE = 1000 -- milliseconds for which clients wait for an attempt to learn a greeting
local PAUSE = 1000    -- milliseconds between attempts to learn from a server that could not be reached
local MOST = 64       -- servers of a script's function that are remembered

local function key_of(backend)
    local address = addresses.named(backend)
    address.host = address.host or "127.0.0.1"
    return addresses.show(address)
end
greeter.key_of = key_of

-- For the servers of a list of options of connect_mysql_server, which may be empty and grow.
function greeter.new(backends)
    local self = setmetatable({
        keys = {},     -- the servers' addresses, in their order
        backends = {}, -- address -> options
        attempts = {}, -- address -> the last attempt to learn its greeting: { server =, at = when it began or ended }
        waiting = {},  -- the clients that wait for their greeting: a function that tells them -> its timer
    }, Greeter)
    for _, backend in ipairs(backends) do
        self:add(backend)
    end
    self:learn()
    return self
end

-- Clients may get this server, too.
function Greeter:add(backend)
    local key = key_of(backend)
    if not self.backends[key] then
        self.keys[#self.keys + 1] = key
        if #self.keys > MOST then
            local oldest = table.remove(self.keys, 1)
            self.backends[oldest], self.attempts[oldest] = nil, nil
        end
    end
    self.backends[key] = backend
end

-- Whether it is worth a client's while to wait: an attempt has just begun, and no other server's greeting is sure.
local function is_worth_waiting(self)
    local now, has_begun = dpm.monotonic(), false
    for _, key in ipairs(self.keys) do
        local attempt = self.attempts[key]
        if attempt and attempt.is_under_way then
            has_begun = has_begun or now - attempt.at < PATIENCE
        elseif greetings.is_fresh(key) then
            return false
        end
    end
    return has_begun
end

local function tell_all(self)
    local waiting = self.waiting
    self.waiting = {}
    for tell, timer in pairs(waiting) do
        timer:cancel()
        tell()
    end
end

local function end_attempt(self, attempt)
    attempt.is_under_way, attempt.server, attempt.at = false, nil, dpm.monotonic()
    if not is_worth_waiting(self) then
        tell_all(self)
    end
end

-- A whole login, since a connection that leaves before it has logged in counts at the server as an error of this host.
local function begin_attempt(self, key)
    local attempt = { is_under_way = true, at = dpm.monotonic() }
    self.attempts[key] = attempt
    local options = {}
    for name, value in pairs(self.backends[key]) do
        options[name] = value
    end
    function options.callback(server, err)
        if server then
            return servers.leave(server, function()
                end_attempt(self, attempt)
            end)
        end
        dpm.log("debug", ("%s: its greeting could not be learnt: %s"):format(key, tostring(err)))
        end_attempt(self, attempt)
    end
    local begun, server = pcall(servers.connect_mysql_server, options)
    if not begun then
        return end_attempt(self, attempt)
    end
    attempt.server = attempt.is_under_way and server or nil -- or it would be collected
end

-- Learns what is not known, or no longer sure.
function Greeter:learn()
    for _, key in ipairs(self.keys) do
        local before = self.attempts[key]
        local is_due = not before or not before.is_under_way and dpm.monotonic() - before.at >= PAUSE
        if is_due and not greetings.is_fresh(key) then
            begin_attempt(self, key)
        end
    end
end

-- Calls tell(greeting) with what the servers have in common, or nil; that may be a little later, if nothing is known yet.
function Greeter:greet(tell)
    self:learn()
    local function answer()
        tell(self:greeting())
    end
    if not is_worth_waiting(self) then
        return answer()
    end
    local timer = dpm.new_timer()
    self.waiting[answer] = timer
    timer:schedule(0, PATIENCE, function()
        timer:cancel()
        self.waiting[answer] = nil
        answer()
    end)
end

-- What is known now.
function Greeter:greeting()
    if self.edition ~= greetings.edition() or self.count ~= #self.keys then
        self.edition, self.count = greetings.edition(), #self.keys
        self.common = greetings.common(self.keys)
    end
    return self.common
end

return greeter
