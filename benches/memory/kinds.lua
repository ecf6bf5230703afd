-- Serves clients in one of the ways that benches/memory.sh measures. arg: the way, the server's port.
-- HUP has all garbage collected, which is then told.

local dpml = require "dpml"

local kind, server_port = arg[1], tonumber(arg[2])
local users = { bench = { password = "bench" } }

local function nothing() end

local function passthrough(plugin, options)
    return function(listener)
        local address = { "127.0.0.1", server_port }
        for name, value in pairs(options or {}) do
            address[name] = value
        end
        dpml.passthrough_new_clients(listener, plugin, address)
    end
end

local kinds = {
    ["passthrough"] = { serve = passthrough {} },
    ["five-states"] = {
        serve = passthrough {
            new_client = function(client, server)
                client:register(dpm.MYC_SENT_CMD, nothing)
                for _, state in ipairs { "MYS_SENT_RSET", "MYS_SENDING_ROWS", "MYS_WAIT_CMD", "MYS_RECV_ERR" } do
                    server:register(dpm[state], nothing)
                end
            end,
        },
    },
    ["five-callbacks"] = {
        serve = passthrough {
            new_command = nothing, new_result = nothing, finished_result = nothing, failed_command = nothing,
            finished_command = nothing,
        },
    },
    ["rows"] = { serve = passthrough { new_row = nothing } },
    ["chain"] = { serve = passthrough(dpml.chain { { new_command = nothing }, { new_command = nothing, new_result = nothing } }) },
    ["closures"] = {
        serve = passthrough(function()
            local commands = 0
            return { new_command = function() commands = commands + 1 end }
        end),
    },
    ["proxied"] = {
        serve = function(listener)
            dpml.proxy_new_clients(listener, {}, {
                users = users, auth_plugin = "mysql_native_password",
                backend = { host = "127.0.0.1", port = server_port, user = "bench", pass = "bench", tls = "disabled" },
            })
        end,
    },
    ["service"] = {
        serve = function(listener)
            dpml.accept_clients(listener, {
                users = users, auth_plugin = "mysql_native_password",
                new_command = function() return { fields = { "1" }, rows = { { 1 } } } end,
            })
        end,
    },
    ["tls-client"] = { serve = passthrough {}, listener = { tls = true } },
    ["tls-both"] = { serve = passthrough({}, { tls = "required" }), listener = { tls = true } },
    ["compressed"] = { serve = passthrough {} },
}

local listener = dpm.listener("127.0.0.1", 0, kinds[kind].listener)
kinds[kind].serve(listener)
dpm.on_signal("HUP", function()
    collectgarbage()
    collectgarbage()
    local stats = dpm.stats()
    print(("collected %d %d"):format(stats.clients, stats.lua_memory))
end)
print("port " .. listener:socket_port())
