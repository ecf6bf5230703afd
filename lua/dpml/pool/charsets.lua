-- The character sets and the collation that a session begins with, which a client asks for by a collation's number. What a
-- server makes of that depends on its version, its options and variables, and on init_connect: a login tells, and nothing else does.

local errors = require "dpml.support.errors"
local greeter = require "dpml.logins.greeter"
local lru = require "dpml.support.lru"
local queries = require "dpml.servers.queries"
local refusals = require "dpml.pool.refusals"
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

local function begin_session(options, number)
    local login = {}
    for name, value in pairs(options) do
        login[name] = value
    end
    login.charset = number
    return tasks.await(NAME, function(resume)
        function login.callback(server, err, _, ok)
            resume(server ~= nil, server and { server = server, ok = ok } or err)
        end
        local begun, result = pcall(servers.connect_mysql_server, login)
        if not begun then
            return resume(false, errors.of_connecting(errors.presentable(result), "failed"))
        end
        return function()
            dpm.close(result)
        end
    end)
end

local function read_by_login(options, number)
    local session = begin_session(options, number)
    local ok, settings = pcall(charsets.read, session.server)
    servers.leave(session.server)
    if not ok then
        error(settings, 0)
    end
    return { settings = settings, ok = session.ok }
end

-- How a session of `account` begins at the server of these options of connect_mysql_server, which have its user and password,
-- and the database, if it begins with one, for a client that asks for a collation of this number: { settings = the variables by
-- their names, ok = the OK of the login }. Raises the server's error. Only in a task; it waits if that is not known.
function Charsets:of(options, account, number)
    local address = greeter.key_of(options)
    local key = table.concat({ address, account, options.database or "", number }, "\0")
    local known = self.known:get(key)
    if known and dpm.monotonic() - known.at < FRESH then
        return known
    end
    local task = self.being_read[key]
    if not task then
        task = tasks.spawn(function()
            local ok, beginning = pcall(tasks.with_timeout, LIMIT, read_by_login, options, number)
            self.being_read[key] = nil
            if ok then
                beginning.at = dpm.monotonic()
                self.known:put(key, beginning)
            end
            return ok, beginning
        end)
        self.being_read[key] = not task:is_over() and task or nil
    end
    local ok, beginning = task:wait()
    if ok then
        return beginning
    elseif known and (errors.is_of_connecting(beginning) and not errors.is_refused_login(beginning)
        or refusals.is_about_room(beginning)) then
        return known -- the server cannot be asked at the moment
    end
    error(beginning, 0)
end

return charsets
