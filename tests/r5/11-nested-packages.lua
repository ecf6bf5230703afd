-- Libraries nest: a script's package is in place, it calls dpml from inside, and finds its package again.
-- No listener: logs in to the backend, prints, closes it, and the process exits 0.
require "dpml"

local mine = dpm.new_callback()
local rows = 0
mine:register(dpm.MYS_SENDING_ROWS, function() rows = rows + 1 return dpm.DPM_NOPROXY end)
mine:register(dpm.MYS_RECV_ERR, function(err) print("mine: " .. err:errnum()) end)

local function query(server, sql)
    local cmd = dpm.new_cmd_pkt()
    cmd:command(dpm.COM_QUERY)
    cmd:argument(sql)
    dpm.wire_packet(server, cmd)
end

local steps = {}

function steps.outer(server)
    mine:register(dpm.MYS_WAIT_CMD, function()
        print("mine rows " .. rows)
        mine:register(dpm.MYS_WAIT_CMD, nil)
        steps.inner(server)
        return dpm.DPM_NOPROXY
    end)
    server:package_register(mine)
    query(server, "SELECT 1 UNION SELECT 2")
end

function steps.inner(server)
    local got = 0
    local function results(sid, sql, result, err)
        got = got + 1
        if err then
            print("buffered " .. sql .. " " .. tostring(err))
        elseif result.fields then
            print("buffered " .. sql .. " " .. tostring(result.rows[1][1]) .. " next " .. tostring(result.next ~= nil))
        else
            print("buffered " .. sql .. " ok " .. result.affected_rows)
        end
        if got == 4 then
            print("package is mine again " .. tostring(server:package_register() == mine))
            steps.death(server)
        end
    end
    -- four at once, answered in order
    dpml.execute_query_buffered(server, "SELECT NULL, 1", results)
    dpml.execute_query_buffered(server, "DO 1", results)
    dpml.execute_query_buffered(server, "SELEKT", results)
    dpml.execute_query_buffered(server, "SELECT 'a''b'", results)
    assert(rows == 2)
end

function steps.death(server)
    local sid = server:id()
    dpml.execute_query_buffered(server, "SELECT SLEEP(30)", function(id, sql, result, err)
        print("death " .. tostring(id == sid) .. " " .. err.errnum)
    end)
    local t = dpm.new_timer()
    t:schedule(0, 100, function(self) self:cancel() dpm.close(server) end)
end

dpml.connect_mysql_server {
    host = arg[1] or "127.0.0.1", port = tonumber(arg[2]) or 3306, user = arg[4] or "root", pass = arg[5] or "",
    callback = function(server, err)
        if err then print(err) return end
        keep = server
        steps.outer(server)
    end,
}
print("dpm: r5-nested running")
