-- The character sets and the collation that a session begins with, which a client asks for by a collation's number. What a
-- server makes of that depends on its version, its options and variables, and on init_connect: a login tells, and nothing else does.

local errors = require "dpml.errors"
local greeter = require "dpml.greeter"
local lru = require "dpml.lru"
local queries = require "dpml.queries"
local servers = require "dpml.servers"
local tasks = require "dpml.tasks"

local charsets = {}

local NAME = "a login for its character set"
local MOST = 1000   -- sessions' beginnings that are remembered
local FRESH = 60000 -- milliseconds; the server's variables may have been changed since
local LIMIT = 10000 -- milliseconds for a login

local VARIABLES = { "character_set_client", "character_set_connection", "character_set_results", "collation_connection" }
local READ = "SELECT @@" .. table.concat(VARIABLES, ", @@")

-- The values of these variables by their names, of a session that has just begun; NULL is nil. Raises the server's error.
-- Only in a task.
function charsets.read(server)
    return tasks.await(NAME, function(resume)
        queries.execute_query_buffered(server, READ, function(_, _, result, err)
            if err then
                return resume(false, err)
            end
            local settings = {}
            for i, name in ipairs(VARIABLES) do
                settings[name] = result.rows[1][i]
            end
            resume(true, settings)
        end)
    end)
end

local Charsets = {}
Charsets.__index = Charsets

function charsets.new()
    return setmetatable({ known = lru.new(MOST), being_read = {} }, Charsets)
end

local function key_of(address, account, number)
    return ("%s\0%s\0%d"):format(address, account, number)
end

-- A session of this account has begun so, at the server of this address, with a collation of this number.
function Charsets:keep(address, account, number, settings)
    self.known:put(key_of(address, account, number), { settings = settings, at = dpm.monotonic() })
end

-- The server has gone: it may come back with other options.
function Charsets:forget()
    self.known:clear()
end

local function begin_session(options, number)
    local login = {}
    for name, value in pairs(options) do
        login[name] = value
    end
    login.charset = number
    return tasks.await(NAME, function(resume)
        function login.callback(server, err)
            resume(server ~= nil, server or err)
        end
        local begun, result = pcall(servers.connect_mysql_server, login)
        if not begun then
            return resume(false, errors.presentable(result))
        end
        return function()
            dpm.close(result)
        end
    end)
end

local function read_by_login(options, number)
    local server = begin_session(options, number)
    local ok, settings = pcall(charsets.read, server)
    servers.leave(server)
    if not ok then
        error(settings, 0)
    end
    return settings
end

-- How a session of `account` begins at the server of these options of connect_mysql_server, which have its user and password,
-- with a collation of this number. Raises the server's error. Only in a task; it waits if that is not known.
function Charsets:of(options, account, number)
    local address = greeter.key_of(options)
    local key = key_of(address, account, number)
    local known = self.known:get(key)
    if known and dpm.monotonic() - known.at < FRESH then
        return known.settings
    end
    local task = self.being_read[key]
    if not task then
        task = tasks.spawn(function()
            local ok, settings = pcall(tasks.with_timeout, LIMIT, read_by_login, options, number)
            self.being_read[key] = nil
            if ok then
                self:keep(address, account, number, settings)
            end
            return ok, settings
        end)
        self.being_read[key] = not task:is_over() and task or nil
    end
    local ok, settings = task:wait()
    if not ok then
        error(settings, 0)
    end
    return settings
end

return charsets
