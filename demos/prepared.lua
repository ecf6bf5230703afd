-- prepared.lua: logs prepared statements with the values that they are executed with.
-- Run: dpm --startfile demos/prepared.lua -- [backend host] [backend port] [listen port]
-- Look: any client that prepares, such as a Python or Rust program; each execute is a line here.

local dpml = require "dpml"
local host, port, listen_port = arg[1] or "127.0.0.1", tonumber(arg[2]) or 3306, tonumber(arg[3]) or 5500

-- Strings in quotes, numbers without: decode returns them as different types.
local function literal(value)
    if value == dpm.NULL then return "NULL" end
    if value == dpm.LONG_DATA then return "<long data>" end
    if type(value) == "number" then return ("%.16g"):format(value) end
    return "'" .. value:gsub("[%c'\\]", function(c) return ("\\x%02x"):format(c:byte()) end) .. "'"
end

-- A plug-in that is a function is called for each client.
local function plugin(client, server)
    local sql, waiting = {}, nil -- the texts by statement id, and the one that is being prepared

    -- Without this the proxy does not remember statements.
    client:track_statements(true)

    server:register(dpm.MYS_STMT_PREPARED, function(prepared)
        sql[prepared:statement_id()] = waiting
    end)

    return { new_command = function(cmd)
        local command, id = cmd:command(), cmd:statement_id()
        if command == dpm.COM_STMT_PREPARE then
            waiting = cmd:argument()
        elseif command == dpm.COM_STMT_CLOSE then
            sql[id] = nil
        elseif command == dpm.COM_STMT_EXECUTE then
            local statement = client:statement(id)
            local values, count = statement:decode(cmd, dpm.NULL)
            for i = 1, count do values[i] = literal(values[i]) end
            id = statement:statement_id() -- rather than the command's, which may be 0xFFFFFFFF (MariaDB: the last one)
            print(("client %d: %s <- %s"):format(client:id(), sql[id], table.concat(values, ", ")))
        end
    end }
end

local listener = dpm.listener("127.0.0.1", listen_port)
dpml.passthrough_new_clients(listener, plugin, { host, port })
print("dpm: prepared listening on 127.0.0.1:" .. listener:socket_port())
