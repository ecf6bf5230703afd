-- R5 style: the proxy authenticates the client, logs in to the backend, then joins the two.
arg = arg or {}
host = arg[1] or "127.0.0.1"
port = tonumber(arg[2]) or 3306
user = arg[4] or "root"
pass = arg[5] or ""

storage = {}   -- cid -> the handshake that was sent to the client
clients = {}   -- cid -> client
backends = {}  -- sid -> backend
joined = {}    -- cid -> sid, sid -> cid
ready = {}     -- backends that are logged in and free
waiting = {}   -- clients that wait for one

-- A client may talk when it is authenticated and has a backend.
function join()
    if #ready == 0 or #waiting == 0 then return end
    local backend = table.remove(ready, 1)
    local client = table.remove(waiting, 1)
    joined[client:id()] = backend:id()
    joined[backend:id()] = client:id()
    -- Only now is the client told that it may go on.
    client:register(dpm.MYC_WAITING, client_ok)
    print("before ok")
    dpm.wire_packet(client, dpm.new_ok_pkt())
    print("after ok")
end

function client_ok(cid)
    assert(type(cid) == "number")
    print("client_ok " .. cid)
    storage[cid] = nil
    clients[cid]:register(dpm.MYC_WAITING, nil)
    dpm.proxy_connect(clients[cid], backends[joined[cid]])
end

function client_auth(auth_pkt, cid)
    print("auth " .. auth_pkt:user())
    local hs_pkt = storage[cid]
    if auth_pkt:user() ~= user or dpm.check_pass(auth_pkt, hs_pkt, STORED) ~= 0 then
        local err = dpm.new_err_pkt()
        err:errnum(1045)
        err:sqlstate("28000")
        err:message("Access denied for user '" .. auth_pkt:user() .. "'")
        dpm.wire_packet(clients[cid], err)
        return dpm.DPM_NOPROXY
    end
    table.insert(waiting, clients[cid])
    join()
    return dpm.DPM_NOPROXY
end

function client_closing(cid)
    clients[cid] = nil
    storage[cid] = nil
    local sid = joined[cid]
    if sid and backends[sid] then
        dpm.close(backends[sid])
    end
    joined[cid] = nil
end

function backend_handshake(hs_pkt, sid)
    print("server " .. hs_pkt:protocol_version() .. " " .. hs_pkt:server_version())
    local auth = dpm.new_auth_pkt()
    auth:user(user)
    dpm.crypt_pass(auth, hs_pkt, pass)
    dpm.wire_packet(backends[sid], auth)
    return dpm.DPM_NOPROXY
end

function backend_ready(ok_pkt, sid)
    backends[sid]:register(dpm.MYS_WAIT_CMD, nil)
    table.insert(ready, backends[sid])
    join()
    return dpm.DPM_NOPROXY
end

function backend_error(err_pkt, sid)
    print("backend error " .. err_pkt:errnum() .. " " .. err_pkt:message())
end

function backend_closing(sid)
    print("backend closing " .. sid)
    backends[sid] = nil
    local cid = joined[sid]
    if cid and clients[cid] then
        dpm.close(clients[cid])
    end
    joined[sid] = nil
end

function new_client(client)
    local cid = client:id()
    clients[cid] = client

    local backend = dpm.connect(host, port)
    backends[backend:id()] = backend
    backend:register(dpm.MYS_WAIT_AUTH, backend_handshake)
    backend:register(dpm.MYS_WAIT_CMD, backend_ready)
    backend:register(dpm.MYS_RECV_ERR, backend_error)
    backend:register(dpm.MY_CLOSING, backend_closing)

    local hs_pkt = dpm.new_handshake_pkt()
    storage[cid] = hs_pkt
    client:register(dpm.MYC_WAITING, client_auth)
    client:register(dpm.MY_CLOSING, client_closing)
    dpm.wire_packet(client, hs_pkt)
end

STORED = arg[6] or (pass == "" and "") or error("arg[6]: SELECT PASSWORD('...') of the password")
listen = dpm.listener("127.0.0.1", tonumber(arg[3]) or 5500)
listen:register(dpm.MYC_CONNECT, new_client)
print("dpm: r5-auth listening on 127.0.0.1:" .. listen:socket_port())
