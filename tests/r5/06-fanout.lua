-- R5 style: one command to two servers in parallel; both answers are collected and merged.
clients = {}   -- cid -> { client, servers, answers = n }
owner = {}     -- sid -> cid
hs = {}
ready = 0

function client_state(cid) return clients[cid] end

function got_rset(rset_pkt, sid)
    local c = clients[owner[sid]]
    c.rset[sid] = rset_pkt
    c.fields[sid] = {}
    return dpm.DPM_NOPROXY
end

function got_field(field_pkt, sid)
    local c = clients[owner[sid]]
    c.rset[sid]:add_field(field_pkt)
    table.insert(c.fields[sid], field_pkt)
    return dpm.DPM_NOPROXY
end

function hold() return dpm.DPM_NOPROXY end

function got_row(row_pkt, sid)
    local c = clients[owner[sid]]
    table.insert(c.rows, (c.rset[sid]:parse_row_array(row_pkt)))
    return dpm.DPM_NOPROXY
end

function got_end(pkt, sid)
    local c = clients[owner[sid]]
    c.answers = c.answers + 1
    if c.answers == #c.servers then
        reply(c, sid)
    end
    return dpm.DPM_NOPROXY
end

function got_err(err_pkt, sid)
    local c = clients[owner[sid]]
    c.err = err_pkt
    return got_end(err_pkt, sid)
end

function reply(c, sid)
    if c.err then
        dpm.wire_packet(c.client, c.err)
    elseif not c.rset[sid] then
        dpm.wire_packet(c.client, dpm.new_ok_pkt())
    else
        local rset = dpm.new_rset_pkt()
        for _, f in ipairs(c.fields[sid]) do rset:add_field(f) end
        dpm.wire_packet(c.client, rset)
        for _, f in ipairs(c.fields[sid]) do dpm.wire_packet(c.client, f) end
        dpm.wire_packet(c.client, dpm.new_eof_pkt())
        for _, values in ipairs(c.rows) do
            local row = dpm.new_row_pkt()
            rset:pack_row(row, values)
            dpm.wire_packet(c.client, row)
        end
        dpm.wire_packet(c.client, dpm.new_eof_pkt())
    end
end

function new_command(cmd_pkt, cid)
    local c = clients[cid]
    if cmd_pkt:command() == dpm.COM_QUIT then
        dpm.close(c.client)
        return dpm.DPM_NOPROXY
    end
    c.answers, c.rows, c.rset, c.fields, c.err = 0, {}, {}, {}, nil
    for _, server in ipairs(c.servers) do
        dpm.wire_packet(server, cmd_pkt)
    end
    return dpm.DPM_NOPROXY
end

function client_auth(auth_pkt, cid)
    local c = clients[cid]
    c.client:register(dpm.MYC_WAITING, nil)
    -- anybody may in: this listens on loopback
    c.authenticated = true
    maybe_ok(c)
    return dpm.DPM_NOPROXY
end

function maybe_ok(c)
    if c.authenticated and c.logins == 2 then
        dpm.wire_packet(c.client, dpm.new_ok_pkt())
    end
end

function server_hs(hs_pkt, sid, server)
    local auth = dpm.new_auth_pkt()
    auth:user(arg[4] or "root")
    dpm.crypt_pass(auth, hs_pkt, arg[5] or "")
    dpm.wire_packet(server, auth)
    return dpm.DPM_NOPROXY
end

function server_login(ok_pkt, sid, server)
    local c = clients[owner[sid]]
    server:register(dpm.MYS_WAIT_CMD, got_end)
    c.logins = c.logins + 1
    maybe_ok(c)
    return dpm.DPM_NOPROXY
end

function closing(cid)
    local c = clients[cid]
    clients[cid] = nil
    for _, server in ipairs(c.servers) do
        owner[server:id()] = nil
        dpm.close(server)
    end
end

function new_client(client)
    local c = { client = client, servers = {}, logins = 0, answers = 0 }
    clients[client:id()] = c
    for i = 1, 2 do
        local server = dpm.connect(arg[1] or "127.0.0.1", tonumber(arg[2]) or 3306)
        c.servers[i] = server
        owner[server:id()] = client:id()
        server:register(dpm.MYS_WAIT_AUTH, server_hs)
        server:register(dpm.MYS_WAIT_CMD, server_login)
        server:register(dpm.MYS_RECV_ERR, got_err)
        server:register(dpm.MYS_SENT_RSET, got_rset)
        server:register(dpm.MYS_SENDING_FIELDS, got_field)
        server:register(dpm.MYS_SENT_FIELDS, hold)
        server:register(dpm.MYS_SENDING_ROWS, got_row)
    end
    client:register(dpm.MYC_WAITING, client_auth)
    client:register(dpm.MYC_SENT_CMD, new_command)
    client:register(dpm.MY_CLOSING, closing)
    dpm.wire_packet(client, dpm.new_handshake_pkt())
end

listen = dpm.listener("127.0.0.1", tonumber(arg[3]) or 5500)
listen:register(dpm.MYC_CONNECT, new_client)
print("dpm: r5-fanout listening on 127.0.0.1:" .. listen:socket_port())
