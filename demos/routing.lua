-- routing.lua: chooses each login's server by user and time of day.
-- Run: dpm --startfile demos/routing.lua -- [host] [port] [listen port] [user] [password] [host 2] [port 2] [from-to]
-- Look: log in as app, report and batch (the password is the name): SELECT @@port; batch works from 22 to 6 only.

local dpml = require "dpml"
local user, password = arg[4] or "root", arg[5] or "" -- the account at both servers; clients have accounts here
local primary = { host = arg[1] or "127.0.0.1", port = tonumber(arg[2]) or 3306, user = user, password = password }
local replica = { host = arg[6] or "127.0.0.1", port = tonumber(arg[7]) or 3307, user = user, password = password }
local from, to = (arg[8] or "22-6"):match("^(%d+)-(%d+)$")
from, to = tonumber(from), tonumber(to)

local function is_night()
    local hour = tonumber(os.date("%H"))
    if from <= to then return from <= hour and hour < to end
    return hour >= from or hour < to
end

-- Called for each login. Of a list the first server that can be reached is used.
local routes = {
    app = function() return primary end,
    report = function() return { replica, primary } end,
    batch = function() return is_night() and replica or nil end, -- nil: no server for this user now
}

local listener = dpm.listener("127.0.0.1", tonumber(arg[3]) or 5500, { tls = true })
dpml.proxy_new_clients(listener, {}, {
    users = { app = { password = "app" }, report = { password = "report" }, batch = { password = "batch" } },
    backend = function(client, auth)
        local route = routes[auth:user()]()
        print(("client %d: %s"):format(client:id(), auth:user() .. (route and " has a server" or " has none now")))
        return route
    end,
})
print("dpm: routing listening on 127.0.0.1:" .. listener:socket_port())
