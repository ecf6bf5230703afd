-- R5/R6 style: everything through the global dpml.
require "dpml"
assert(type(dpml) == "table")

clients = {}

function results(sid, query, result, err)
    local client = clients[by_query[query]]
    if not client then return end
    if err then
        dpml.send_error(client, err.sqlstate, err.errnum, err.message)
    else
        dpml.send_resultset(client, result)
    end
end

by_query = {}

function new_command(cmd, cid)
    if cmd:command() == dpm.COM_QUIT then
        dpm.close(clients[cid])
    elseif cmd:command() ~= dpm.COM_QUERY then
        dpml.send_error(clients[cid], "08S01", 1047, "only queries")
    elseif not backend then
        dpml.send_error(clients[cid], "HY000", 2006, "no backend")
    else
        by_query[cmd:argument()] = cid
        dpml.execute_query_buffered(backend, cmd:argument(), results)
    end
    return dpm.DPM_NOPROXY
end

function client_auth(auth, cid)
    clients[cid]:register(dpm.MYC_WAITING, nil)
    dpm.wire_packet(clients[cid], dpm.new_ok_pkt())
    return dpm.DPM_NOPROXY
end

function new_client(client)
    clients[client:id()] = client
    dpml.register_callbacks(client, {
        [dpm.MYC_WAITING] = client_auth,
        [dpm.MYC_SENT_CMD] = new_command,
        [dpm.MY_CLOSING] = function(cid) clients[cid] = nil end,
    })
    dpm.wire_packet(client, dpm.new_handshake_pkt())
end

dpml.connect_mysql_server({
    host = arg[1] or "127.0.0.1", port = tonumber(arg[2]) or 3306, user = arg[4] or "root", pass = arg[5] or "",
    callback = function(server, err)
        if not server then
            print("no server: " .. err.errnum .. " " .. err.message)
            return
        end
        backend = server
        print("backend " .. server:id())
        dpml.dump_table({ backend = server:id(), list = { "a", "b" } })
    end,
})

listen = dpm.listener("127.0.0.1", tonumber(arg[3]) or 5500)
listen:register(dpm.MYC_CONNECT, new_client)
print("dpm: r5-buffered listening on 127.0.0.1:" .. listen:socket_port())
