-- R5 style: globals, raw callbacks, nothing from dpml.
arg = arg or {}
backend_host = arg[1] or "127.0.0.1"
backend_port = tonumber(arg[2]) or 3306

clients = {}
backends = {}

function client_closing(cid)
    print("client closing " .. cid)
    local backend = backends[cid]
    clients[cid] = nil
    backends[cid] = nil
    if backend then
        print("backend closed " .. tostring(dpm.close(backend)))
        -- a second close finds it closed
        print("backend closed again " .. tostring(dpm.close(backend)))
    end
end

function new_command(cmd_pkt, cid)
    print("command " .. cmd_pkt:command() .. " " .. cmd_pkt:argument())
    if cmd_pkt:argument() == "HELLO" then
        cmd_pkt:argument("SELECT 1 + 1")
        dpm.wire_packet(backends[cid], cmd_pkt)
        return dpm.DPM_NOPROXY
    end
end

function backend_ok(ok_pkt, sid)
    print("backend ready " .. sid)
end

function new_client(client, lid)
    local cid = client:id()
    local backend = dpm.connect(backend_host, backend_port)

    clients[cid] = client
    backends[cid] = backend
    dpm.proxy_connect(client, backend)
    assert(client:remote_id() == backend:id())
    assert(backend:remote_id() == cid)
    assert(lid == listen:id())

    client:register(dpm.MYC_SENT_CMD, new_command)
    client:register(dpm.MY_CLOSING, client_closing)
    backend:register(dpm.MYS_WAIT_CMD, backend_ok)
end

listen = dpm.listener("127.0.0.1", tonumber(arg[3]) or 5500)
listen:register(dpm.MYC_CONNECT, new_client)
print("dpm: r5-passthrough listening on 127.0.0.1:" .. listen:socket_port())
