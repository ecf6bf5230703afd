-- Nothing leaks: every connection's object is collected after it closed, closures that name it included.
require "dpml"
seen = setmetatable({}, { __mode = "v" })

listen = dpm.listener("127.0.0.1", tonumber(arg[3]) or 5500)
dpml.passthrough_new_clients(listen, {
    new_client = function(client, server)
        table.insert(seen, client)
        table.insert(seen, server)
        -- a closure over its own connection
        client:register(dpm.MY_DRAINED, function() return client:id() end)
        server:on_close(function() return server:id() end)
    end,
    new_command = function(cmd, cid, client)
        if cmd:argument() == "LEAKS" then
            collectgarbage() collectgarbage()
            local alive = 0
            for _ in pairs(seen) do alive = alive + 1 end
            -- this client and its server are alive: 2
            dpml.send_resultset(client, { fields = { "alive" }, rows = { { alive } } })
            return dpm.DPM_NOPROXY
        end
    end,
}, { arg[1] or "127.0.0.1", tonumber(arg[2]) or 3306 })
print("dpm: r5-collected listening on 127.0.0.1:" .. listen:socket_port())
