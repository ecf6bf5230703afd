-- R5 style: server_status off eof packets; an eof is held back and a changed one sent.
clients = {}

function look(pkt, sid, server)
    print("in trans " .. tostring(pkt:server_status(dpm.SERVER_STATUS_IN_TRANS))
        .. " autocommit " .. tostring(pkt:server_status(dpm.SERVER_STATUS_AUTOCOMMIT)))
    local client = clients[server:remote_id()]
    if client then
        pkt:server_status(dpm.SERVER_QUERY_WAS_SLOW, true)
        pkt:warning_count(0)
        dpm.wire_packet(client, pkt)
        return dpm.DPM_NOPROXY
    end
end

function new_client(client)
    local server = dpm.connect(arg[1] or "127.0.0.1", tonumber(arg[2]) or 3306)
    clients[client:id()] = client
    client:register(dpm.MY_CLOSING, function(cid) clients[cid] = nil; dpm.close(server) end)
    server:register(dpm.MYS_WAIT_CMD, look)
    dpm.proxy_connect(client, server)
end

listen = dpm.listener("127.0.0.1", tonumber(arg[3]) or 5500)
listen:register(dpm.MYC_CONNECT, new_client)
print("dpm: r5-status listening on 127.0.0.1:" .. listen:socket_port())
