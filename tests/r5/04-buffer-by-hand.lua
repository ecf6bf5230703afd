-- R5 style: a script's own callbacks collect a result, which is sent again backwards.
clients, servers, results = {}, {}, {}

function got_rset(rset_pkt, sid)
    results[sid] = { rset = rset_pkt, announced = rset_pkt:field_count(), fields = {}, rows = {}, packets = {} }
    return dpm.DPM_NOPROXY
end

function got_field(field_pkt, sid)
    local r = results[sid]
    if not r then return dpm.DPM_OK end
    r.rset:add_field(field_pkt)
    table.insert(r.fields, field_pkt)
    return dpm.DPM_NOPROXY
end

function got_fields(eof_pkt, sid)
    local r = results[sid]
    if not r then return dpm.DPM_OK end
    assert(#r.fields == r.announced, "field_count")
    assert(r.rset:field_count() == r.announced, "field_count after add_field")
    r.first_eof = eof_pkt
    return dpm.DPM_NOPROXY
end

function got_row(row_pkt, sid)
    local r = results[sid]
    local values, n = r.rset:parse_row_array(row_pkt)
    assert(n == #r.fields)
    local by_name = r.rset:parse_row_table(row_pkt)
    for i, field in ipairs(r.fields) do
        assert(by_name[(field:name())] == values[i])
    end
    table.insert(r.rows, values)
    table.insert(r.packets, row_pkt)   -- packets may be kept
    return dpm.DPM_NOPROXY
end

function finished(pkt, sid)
    local r = results[sid]
    results[sid] = nil
    if not r then return dpm.DPM_OK end

    local client = clients[servers[sid]:remote_id()]
    local rset = dpm.new_rset_pkt()
    for _, field in ipairs(r.fields) do
        local copy = dpm.new_field_pkt()
        copy:full(field:full())
        rset:add_field(copy)
    end
    dpm.wire_packet(client, rset)
    for _, field in ipairs(r.fields) do
        dpm.wire_packet(client, field)
    end
    dpm.wire_packet(client, r.first_eof)
    for i = #r.rows, 1, -1 do
        if i % 2 == 0 then
            dpm.wire_packet(client, r.packets[i])   -- as it came
        else
            local row = dpm.new_row_pkt()           -- packed anew
            rset:pack_row(row, r.rows[i])
            dpm.wire_packet(client, row)
        end
    end
    -- the packet that ended the result is forwarded as the end of ours
    return dpm.DPM_OK
end

function new_client(client)
    local server = dpm.connect(arg[1] or "127.0.0.1", tonumber(arg[2]) or 3306)
    clients[client:id()], servers[server:id()] = client, server
    client:register(dpm.MY_CLOSING, function(cid) clients[cid] = nil; dpm.close(server) end)
    server:register(dpm.MYS_SENT_RSET, got_rset)
    server:register(dpm.MYS_SENDING_FIELDS, got_field)
    server:register(dpm.MYS_SENT_FIELDS, got_fields)
    server:register(dpm.MYS_SENDING_ROWS, got_row)
    server:register(dpm.MYS_WAIT_CMD, finished)
    server:register(dpm.MYS_SENDING_EOF, finished)
    server:register(dpm.MYS_RECV_ERR, function(_, sid) results[sid] = nil end)
    server:register(dpm.MY_CLOSING, function(sid) servers[sid] = nil; results[sid] = nil end)
    dpm.proxy_connect(client, server)
end

listen = dpm.listener("127.0.0.1", tonumber(arg[3]) or 5500)
listen:register(dpm.MYC_CONNECT, new_client)
print("dpm: r5-buffer listening on 127.0.0.1:" .. listen:socket_port())
