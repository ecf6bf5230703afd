-- Links every client of a new listener to a server of its own, and prints the port it listens on.
-- arg: host and port of the server. `prepare(server)` may register more callbacks on the server;
-- `opts` are the listener's.
return function(prepare, opts)
  local host, port = arg[1] or "127.0.0.1", tonumber(arg[2] or 3306)
  local held = {} -- connection id → object: an object without a reference is closed

  local function closing(id, conn)
    held[id] = nil
    local peer = conn and held[conn:remote_id()]
    if peer then dpm.close(peer) end
  end

  local listener = dpm.listener("127.0.0.1", 0, opts)
  held[listener:id()] = listener

  listener:register(dpm.MYC_CONNECT, function(client)
    local server = dpm.connect(host, port)
    held[client:id()], held[server:id()] = client, server
    client:register(dpm.MY_CLOSING, closing)
    server:register(dpm.MY_CLOSING, closing)
    if prepare then prepare(server) end
    dpm.proxy_connect(client, server)
  end)

  print(listener:socket_port())
end
