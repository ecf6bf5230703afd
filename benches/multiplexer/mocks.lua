-- Simulates arg[1] servers, each on a port of its own, with 500 rows of status.
local dpml = require "dpml"

local function status(number)
    local rows = {}
    for n = 1, 500 do
        rows[n] = { ("Some_status_variable_%03d"):format(n), number * 1000000 + n }
    end
    return { fields = { { name = "Variable_name", length = 256 }, { name = "Value", type = dpm.MYSQL_TYPE_VAR_STRING, length = 4096 } },
        rows = rows }
end

listeners = {}
local ports = {}
for number = 1, tonumber(arg[1]) do
    local listener, answer = dpm.listener("127.0.0.1", 0), status(number)
    listeners[number] = listener
    ports[number] = listener:socket_port()
    dpml.accept_clients(listener, {
        users = { bench = dpm.hash_pass("bench") }, -- one packet is enough for a login
        auth_plugin = "mysql_native_password",
        new_command = function(cmd)
            if cmd:argument():upper():find("^SHOW GLOBAL STATUS") then
                return answer
            end
            return {}
        end,
    })
end
print("ports " .. table.concat(ports, " "))
