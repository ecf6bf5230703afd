-- R5 style: no database. TCP on all addresses and a unix socket (arg[6]) run the same code.
storage = {}
clients = {}

function client_ok(cid, client)
    print("client_ok " .. cid .. " " .. client:my_type() .. " " .. dpm.MY_CLIENT)
    client:register(dpm.MYC_WAITING, client_again)
end

function client_again(cid)
    print("again " .. cid)
end

function client_auth(auth_pkt, cid)
    -- SELECT PASSWORD('dpm'), here without its asterisk
    if auth_pkt:user() ~= "dpm"
        or dpm.check_pass(auth_pkt, storage[cid], "8CE64ABA0405493B2F72B576CD63737B2524F631") ~= 0 then
        local err = dpm.new_err_pkt()
        err:errnum(1045)
        err:sqlstate("28000")
        err:message("No")
        dpm.wire_packet(clients[cid], err)
    else
        clients[cid]:register(dpm.MYC_WAITING, client_ok)
        dpm.wire_packet(clients[cid], dpm.new_ok_pkt())
    end
    return dpm.DPM_NOPROXY
end

function send_one_row(conn, names, values)
    local rset = dpm.new_rset_pkt()
    local fields = {}
    for i, name in ipairs(names) do
        fields[i] = dpm.new_field_pkt()
        fields[i]:name(name, dpm.MYSQL_TYPE_VAR_STRING)
        rset:add_field(fields[i])
    end
    assert(rset:field_count() == #names)
    dpm.wire_packet(conn, rset)
    for _, field in ipairs(fields) do dpm.wire_packet(conn, field) end
    dpm.wire_packet(conn, dpm.new_eof_pkt())
    local row = dpm.new_row_pkt()
    rset:pack_row(row, values)
    dpm.wire_packet(conn, row)
    dpm.wire_packet(conn, dpm.new_eof_pkt())
end

function new_command(cmd_pkt, cid)
    local client = clients[cid]
    if cmd_pkt:command() == dpm.COM_QUIT then
        dpm.close(client)
    elseif cmd_pkt:argument() == "whoami" then
        local s, us = dpm.gettimeofday()
        send_one_row(client, { "id", "address", "s", "us", "time", "ms", "nothing" },
            { cid, client:socket_address(), s, us, dpm.time(), dpm.time_hires(), nil })
    elseif cmd_pkt:argument() == "fail" then
        error("a callback error")
    else
        dpm.wire_packet(client, dpm.new_ok_pkt())
    end
    return dpm.DPM_NOPROXY
end

function new_client(client, lid)
    local cid = client:id()
    local hs_pkt = dpm.new_handshake_pkt()
    hs_pkt:server_capabilities(dpm.CLIENT_LOCAL_FILES, false)
    clients[cid] = client
    storage[cid] = hs_pkt
    client:register(dpm.MYC_WAITING, client_auth)
    client:register(dpm.MYC_SENT_CMD, new_command)
    client:register(dpm.MY_CLOSING, function(id) clients[id] = nil; storage[id] = nil; print("closing " .. id) end)
    dpm.wire_packet(client, hs_pkt)
end

listen = dpm.listener(nil, tonumber(arg[3]) or 5500)
listen:register(dpm.MYC_CONNECT, new_client)
assert(listen:listener() == 1)
if arg[6] then
    unix = dpm.listener_unix(arg[6])
    unix:register(dpm.MYC_CONNECT, new_client)
    assert(unix:listener() == 2)
end
-- a listener that is let go of stops listening
do dpm.listener("127.0.0.1", 0) end
collectgarbage() collectgarbage()
print("dpm: r5-noserver listening on 127.0.0.1:" .. listen:socket_port())
