-- The servers of a pool, as its option `servers` names them: a list, a function that returns one, or a name whose
-- addresses are the servers.

local addresses = require "dpml.servers.addresses"
local checks = require "dpml.support.checks"
local servers = require "dpml.servers"
local tasks = require "dpml.tasks"

local server_list = {}

local KEYS = checks.union(servers.ADDRESS_OPTIONS, {
    name = "a string", role = "a string", weight = "a number",
})

local ROLES = { primary = true, replica = true }

local function read_server(what, entry)
    if type(entry) == "string" then
        entry = { entry }
    end
    local server = addresses.read(what, entry, KEYS)
    if server.role ~= nil and not ROLES[server.role] then
        checks.fail(what, 'role: expected "primary", "replica" or nil, to have it found out')
    end
    server.weight = server.weight or 1
    if server.weight < 0 then
        checks.fail(what, "weight: expected a number that is not negative")
    end
    server.name = server.name or addresses.show(server)
    return server
end

-- A list of servers, checked, each with its name and its weight; the names are unique.
function server_list.read(what, list)
    checks.argument(what, "servers", list, "an array")
    local read, names = {}, {}
    for i, entry in ipairs(list) do
        local server = read_server(what, entry)
        if names[server.name] then
            checks.fail(what, ("servers: there are two of the name %s"):format(server.name))
        end
        names[server.name], read[i] = true, server
    end
    if #read == 0 then
        checks.fail(what, "servers: the list is empty")
    end
    return read
end

-- The host and the port of "db.example.com", "db.example.com:3307" or "[2001:db8::1]:3307".
local function split(name)
    local host, port = name:match("^%[(.+)%]:(%d+)$")
    if not host then
        host, port = name:match("^([^:]+):(%d+)$")
    end
    return host or name:match("^%[(.+)%]$") or name, tonumber(port)
end

local function look_up(host)
    return tasks.await("dpml.pool", function(resume)
        dpm.resolve(host, function(found, problem)
            resume(found ~= nil, found or problem)
        end)
    end)
end

-- A function that returns the servers, read anew each time, and has to be called by a task; and whether it has to be
-- called again from time to time.
function server_list.source(what, option)
    checks.argument(what, "servers", option, "an array, a function or a string")
    if type(option) == "function" then
        return function()
            return server_list.read(what, option())
        end, true
    elseif type(option) == "string" then
        local host, port = split(option)
        return function()
            local list = {}
            for i, address in ipairs(look_up(host)) do
                list[i] = { host = address, port = port }
            end
            table.sort(list, function(a, b)
                return a.host < b.host
            end)
            return server_list.read(what, list)
        end, true
    end
    local list = server_list.read(what, option)
    return function()
        return list
    end, false
end

return server_list
