-- service.lua: a server without any database: its tables show what the proxy knows about itself.
-- Run: dpm --startfile demos/service.lua -- [ignored] [ignored] [listen port] [user] [password]
-- Look: mysql -h 127.0.0.1 -P 5500 -u dpm -pdpm, then SHOW TABLES; SELECT * FROM proxy.connections; KILL 3;

local dpml = require "dpml"
local listen_port, user, password = tonumber(arg[3]) or 5500, arg[4] or "dpm", arg[5] or "dpm"

local sessions = {} -- client id -> its session
local tables = {
    connections = function()
        local rows = {}
        for id, each in pairs(sessions) do
            rows[#rows + 1] = { id, each.user, each.client:socket_address(), each.queries, each.since() / 1000 }
        end
        table.sort(rows, function(a, b) return a[1] < b[1] end)
        return { columns = { "id", "user", "address", "queries", "seconds" }, rows = rows }
    end,
    stats = function()
        local rows = {}
        for name, value in pairs(dpm.stats()) do rows[#rows + 1] = { name, value } end
        table.sort(rows, function(a, b) return a[1] < b[1] end)
        return { columns = { "name", "value" }, rows = rows }
    end,
}

local function show_tables()
    local rows = {}
    for name in pairs(tables) do rows[#rows + 1] = { name } end
    table.sort(rows, function(a, b) return a[1] < b[1] end)
    return { columns = { "Tables_in_proxy" }, rows = rows }
end

-- The return value is the answer; an error that is raised is sent as an error.
local function new_command(cmd, _, session)
    session.queries = session.queries + 1
    local sql = cmd:command() == dpm.COM_QUERY and cmd:argument():upper():gsub("%s+", " ") or ""
    local name, id = sql:match("^SELECT %* FROM ([%w_.]+)$"), sql:match("^KILL (%d+)$")
    local rows_of = name and tables[name:lower():gsub("^proxy%.", "")]
    if sql == "SHOW TABLES" then return show_tables() end
    if sql == "SHOW DATABASES" then return { columns = { "Database" }, rows = { { "proxy" } } } end
    if rows_of then return rows_of() end
    if name then error(dpml.new_error("42S02", 1146, "Table '" .. name:lower() .. "' doesn't exist")) end
    if not id then error(dpml.new_error("42000", 1064, "All I know is SHOW TABLES, SELECT * FROM …, and KILL")) end
    local victim = sessions[tonumber(id)]
    if not victim then error(dpml.new_error("HY000", 1094, "Unknown thread id: " .. id)) end
    dpm.close(victim.client)
    return {} -- an OK
end

local listener = dpm.listener("127.0.0.1", listen_port)
dpml.accept_clients(listener, {
    users = { [user] = { password = password } },
    new_command = new_command,
    new_client = function(client, session)
        session.queries, session.since, sessions[client:id()] = 0, dpml.elapsed_ms(), session
    end,
    closing = function(client) sessions[client:id()] = nil end,
})
print("dpm: service listening on 127.0.0.1:" .. listener:socket_port())
