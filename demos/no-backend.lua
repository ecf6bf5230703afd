-- no-backend.lua: logs clients in and answers them, without any server behind it.
-- Run: dpm --startfile demos/no-backend.lua -- [ignored] [ignored] [listen port] [user] [password]
-- Look: mysql -h 127.0.0.1 -P 5500 -u dpm -pdpm, from several terminals, then: SHOW CLIENTS;

local dpml = require "dpml"
local listen_port, user, pass = tonumber(arg[3]) or 5500, arg[4] or "dpm", arg[5] or "dpm"

local clients = {} -- id -> { conn, verifier, queries }

local function show_clients()
    local rows = {}
    for id, client in pairs(clients) do
        rows[#rows + 1] = { id, client.conn:socket_address(), client.queries }
    end
    return { fields = { { name = "Id", type = dpm.MYSQL_TYPE_LONGLONG }, "Address", "Queries" }, rows = rows }
end

local function new_command(cmd, client_id, client)
    local state = clients[client_id]
    state.queries = state.queries + 1
    if cmd:command() == dpm.COM_QUIT then
        dpm.close(client)
    elseif cmd:command() == dpm.COM_PING then
        dpm.wire_packet(client, dpm.new_ok_pkt())
    elseif cmd:command() == dpm.COM_QUERY and cmd:argument():upper() == "SHOW CLIENTS" then
        dpml.send_resultset(client, show_clients())
    else
        dpml.send_error(client, "42000", 1064, "All I know is SHOW CLIENTS")
    end
    return dpm.DPM_NOPROXY
end

-- Called with the auth packet, and then with the client's answers to what it is asked.
local function check_login(packet, client_id, client)
    local known = packet.user and packet:user() == user -- answers name nobody
    local right, question = clients[client_id].verifier:step(packet, client, known and { password = pass } or nil)
    if question then dpm.wire_packet(client, question) end
    if right then
        client:register(dpm.MYC_WAITING, nil) -- it would fire again with the OK, and after each answer
        dpm.wire_packet(client, dpm.new_ok_pkt())
    elseif right == false then
        dpml.send_error(client, "28000", 1045, "Access denied") -- which also ends the connection
    end
    return dpm.DPM_NOPROXY
end

local function new_client(client)
    local handshake = dpm.new_handshake_pkt() -- the password is checked against its challenge
    handshake:auth_plugin("caching_sha2_password")
    clients[client:id()] = { conn = client, verifier = dpm.new_verifier(handshake), queries = 0 }
    client:register(dpm.MYC_WAITING, check_login)
    client:register(dpm.MYC_SENT_AUTH, check_login)
    client:register(dpm.MYC_SENT_CMD, new_command)
    client:register(dpm.MY_CLOSING, function(client_id) clients[client_id] = nil end)
    dpm.wire_packet(client, handshake)
end

listener = dpm.listener("127.0.0.1", listen_port) -- a global, or it would be collected
listener:register(dpm.MYC_CONNECT, new_client)
print("dpm: no-backend listening on 127.0.0.1:" .. listener:socket_port())
