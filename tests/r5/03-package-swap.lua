-- R5 style: the script's own callbacks step aside for a library's, and come back.
require "r5lib.counter"
assert(r5lib.counter.count, "module() sets the global")

clients, servers, rows = {}, {}, {}

function own_row(row_pkt, sid)
    rows[sid] = (rows[sid] or 0) + 1
end

function own_done(pkt, sid)
    print("own " .. (rows[sid] or 0))
    rows[sid] = 0
end

function new_command(cmd_pkt, cid)
    local sql = cmd_pkt:argument():match("^COUNT (.*)$")
    if not sql then
        return dpm.DPM_OK
    end
    local client, server = clients[cid], servers[cid]
    cmd_pkt:argument(sql)
    r5lib.counter.count(server, cmd_pkt, function(sid, count)
        print("package " .. count)
        assert(server:package_register() == nil)
        assert(server:register(dpm.MYS_SENDING_ROWS) == own_row)
        local ok = dpm.new_ok_pkt()
        ok:affected_rows(count)
        dpm.wire_packet(client, ok)
    end)
    return dpm.DPM_NOPROXY
end

function closing(cid)
    if servers[cid] then dpm.close(servers[cid]) end
    clients[cid], servers[cid] = nil, nil
end

function new_client(client)
    local server = dpm.connect(arg[1] or "127.0.0.1", tonumber(arg[2]) or 3306)
    clients[client:id()], servers[client:id()] = client, server
    client:register(dpm.MYC_SENT_CMD, new_command)
    client:register(dpm.MY_CLOSING, closing)
    server:register(dpm.MYS_SENDING_ROWS, own_row)
    server:register(dpm.MYS_WAIT_CMD, own_done)
    dpm.proxy_connect(client, server)
end

listen = dpm.listener("127.0.0.1", tonumber(arg[3]) or 5500)
listen:register(dpm.MYC_CONNECT, new_client)
print("dpm: r5-package listening on 127.0.0.1:" .. listen:socket_port())
