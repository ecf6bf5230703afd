-- admin.lua: a port where queries are Lua code that runs inside the proxy, to inspect it and to change it.
-- Run: dpm --startfile demos/admin.lua -- [backend host] [port] [listen port] [user] [password] [admin port]
-- Look: mysql -h 127.0.0.1 -P 5501 with that account, then: return 1 + 1; forbidden = "DROP"; dpm.stats();

local dpml = require "dpml"
local host, port, listen_port = arg[1] or "127.0.0.1", tonumber(arg[2]) or 3306, tonumber(arg[3]) or 5500
local user, password, admin_port = arg[4] or "admin", arg[5] or "", tonumber(arg[6]) or 5501
assert(password ~= "", "who runs Lua here can do whatever this process can: give it a password")

-- Globals that the admin port can read and change while the script runs.
forbidden, queries = nil, 0

local function new_command(cmd, client_id, client)
    queries = queries + 1
    local has_sql = cmd:command() == dpm.COM_QUERY or cmd:command() == dpm.COM_STMT_PREPARE
    if forbidden and has_sql and dpm.statement_kind(cmd:argument()) == forbidden then
        dpml.send_error(client, "42000", 1142, forbidden .. " is forbidden for now")
        return dpm.DPM_NOPROXY
    end
end

-- A result, such as that of db:query, is sent as it is; any other table as a list of its entries; other values as one
-- row.
local function as_result(count, first, ...)
    if count == 0 then return {} end -- an OK
    if type(first) ~= "table" then
        local row, columns = { first, ... }, {}
        for i = 1, count do
            row[i] = row[i] ~= nil and tostring(row[i]) or dpm.NULL
            columns[i] = "result " .. i
        end
        return { columns = columns, rows = { row } }
    end
    if first.fields or first.affected_rows then return first end
    local rows = {}
    for key, value in pairs(first) do rows[#rows + 1] = { tostring(key), tostring(value) } end
    table.sort(rows, function(a, b) return a[1] < b[1] end)
    return { columns = { "key", "value" }, rows = rows }
end

-- A task: what it calls may wait (dpml.sleep_ms, a query). An endless loop stops the proxy.
local function run(cmd)
    local code = cmd:command() == dpm.COM_QUERY and cmd:argument() or "error('Lua wanted')"
    local chunk, problem = loadstring("return " .. code, "=query")
    if not chunk then chunk, problem = loadstring(code, "=query") end
    if not chunk then error(dpml.new_error("42000", 1064, problem)) end
    local function collect(ok, ...)
        if not ok then error(dpml.new_error("HY000", 1105, tostring((...)))) end
        return as_result(select("#", ...), ...)
    end
    return collect(pcall(chunk))
end

local listener = dpm.listener("127.0.0.1", listen_port)
dpml.passthrough_new_clients(listener, { new_command = new_command }, { host, port })
local admin_listener = dpm.listener("127.0.0.1", admin_port, { max_clients = 8 }) -- reachable from this machine only
dpml.accept_clients(admin_listener, { users = { [user] = { password = password } }, new_command = run })
print("dpm: admin listening on 127.0.0.1:" .. listener:socket_port())
print("dpm: admin: Lua on port " .. admin_listener:socket_port())
