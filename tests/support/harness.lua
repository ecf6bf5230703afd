-- Functions for the startfiles of the tests. arg[1] and arg[2] are the server's host and port.
local h = {}

-- A listener on a free port, which is printed.
function h.listen(on_connect, opts)
  h.listener = dpm.listener("127.0.0.1", 0, opts)
  h.listener:register(dpm.MYC_CONNECT, on_connect)
  print("port " .. h.listener:socket_port())
  return h.listener
end

-- The pairs that are open, by the client's id.
h.pairs = {}

-- A 1:1 passthrough. `client` and `server` map states to callbacks of every client and of every
-- server connection; `opts` are those of both ends,
-- but for max_clients, max_clients_per_address and tls, which are the listener's, and server_tls, the
-- server's tls.
function h.passthrough(client, server, opts)
  local server_opts, listener_opts = {}, {}
  for name, value in pairs(opts or {}) do
    if name ~= 'server_tls' then listener_opts[name] = value end
    if not name:match('^max_clients') and name ~= 'tls' and name ~= 'server_tls' then server_opts[name] = value end
  end
  server_opts.tls = opts and opts.server_tls
  return h.listen(function(c)
    local s = dpm.connect(arg[1], tonumber(arg[2]), server_opts)
    local id = c:id()
    h.pairs[id] = { c, s }
    for state, fn in pairs(client or {}) do
      if state ~= dpm.MY_CLOSING then c:register(state, fn) end
    end
    c:register(dpm.MY_CLOSING, function(...)
      h.pairs[id] = nil
      if client and client[dpm.MY_CLOSING] then client[dpm.MY_CLOSING](...) end
    end)
    for state, fn in pairs(server or {}) do s:register(state, fn) end
    dpm.proxy_connect(c, s)
  end, listener_opts)
end

-- The name of a state, and tables of all states of one side.
h.names = {}
for name, value in pairs(dpm) do
  -- Not MY_CLIENT and MY_SERVER, which have the same numbers as some states.
  local state = name:match("^MY[CS]?_") and name ~= "MY_CLIENT" and name ~= "MY_SERVER"
  if state and type(value) == "number" then h.names[value] = name end
end

-- Connections that the functions below have made, in order. They are never removed.
clients, servers = {}, {}

-- Accepts every login, at once or when `on_auth(client)` does so.
function h.serve(on_auth, opts)
  return h.listen(function(c)
    clients[#clients + 1] = c
    c:register(dpm.MYC_WAITING, function(auth, id, conn)
      conn:register(dpm.MYC_WAITING, nil)
      if on_auth then on_auth(conn) else h.let_in(conn) end
    end)
    dpm.wire_packet(c, h.handshake())
  end, opts)
end

-- Capabilities beside the usual ones, which clients are offered and servers are asked for.
h.offered, h.asked = {}, {}

function h.handshake()
  local handshake = dpm.new_handshake_pkt()
  for _, flag in ipairs(h.offered) do
    handshake:server_capabilities(flag, true)
    -- MariaDB's are sent only without this one.
    if flag >= 2 ^ 32 then handshake:server_capabilities(dpm.CLIENT_LONG_PASSWORD, false) end
  end
  return handshake
end

function h.let_in(c)
  dpm.wire_packet(c, dpm.new_ok_pkt())
end

-- A connection to the server that the script logs in. It does not ask for the capabilities
-- `without`; ready(server) is called once it takes commands.
function h.server(ready, without, opts)
  local s = dpm.connect(arg[1], tonumber(arg[2]), opts)
  servers[#servers + 1] = s
  s:register(dpm.MYS_WAIT_AUTH, function(handshake, id, conn)
    conn:register(dpm.MYS_WAIT_AUTH, nil)
    local auth = dpm.new_auth_pkt()
    auth:user("empty")
    auth:client_flags(dpm.CLIENT_LOCAL_FILES, true)
    auth:client_flags(dpm.CLIENT_PS_MULTI_RESULTS, true)
    for _, flag in ipairs(h.asked) do
      auth:client_flags(flag, true)
      if flag >= 2 ^ 32 then auth:client_flags(dpm.CLIENT_LONG_PASSWORD, false) end
    end
    for _, flag in ipairs(without or {}) do auth:client_flags(flag, false) end
    dpm.wire_packet(conn, auth)
  end)
  -- With any plugin an account without a password sends an empty answer.
  s:register(dpm.MYS_SENDING_AUTH, function(_, id, conn)
    dpm.wire_packet(conn, dpm.new_authdata_pkt())
    return dpm.DPM_NOPROXY
  end)
  s:register(dpm.MYS_WAIT_CMD, function(_, id, conn)
    conn:register(dpm.MYS_WAIT_CMD, nil)
    conn:register(dpm.MYS_SENDING_AUTH, nil)
    if ready then ready(conn) end
  end)
  return s
end

-- Registers a table of callbacks by state.
function h.register(conn, callbacks)
  for state, fn in pairs(callbacks or {}) do conn:register(state, fn) end
end

-- A listener that runs each query as Lua and answers with what it returns, in the OK's message.
function h.admin()
  local listener = dpm.listener("127.0.0.1", 0)
  h.admin_listener, h.admins = listener, {}
  listener:register(dpm.MYC_CONNECT, function(c)
    h.admins[#h.admins + 1] = c
    c:register(dpm.MYC_WAITING, function(auth, id, conn)
      conn:register(dpm.MYC_WAITING, nil)
      h.let_in(conn)
    end)
    c:register(dpm.MYC_SENT_CMD, function(cmd, id, conn)
      if cmd:command() ~= dpm.COM_QUERY then return end
      local function answer(ok, ...)
        local packet, text = ok and dpm.new_ok_pkt() or dpm.new_err_pkt(), {}
        for i = 1, select("#", ...) do text[i] = tostring((select(i, ...))) end
        packet:message(table.concat(text, "\t"))
        dpm.wire_packet(conn, packet)
      end
      answer(pcall(assert(loadstring(cmd:argument(), "=admin"))))
      return dpm.DPM_NOPROXY
    end)
    dpm.wire_packet(c, dpm.new_handshake_pkt())
  end)
  print("admin " .. listener:socket_port())
end

-- A callback for every state, which prints the state's name and lets the packet pass.
function h.trace(prefix, verdict)
  local function all(pattern)
    local callbacks = {}
    for value, name in pairs(h.names) do
      if name:match(pattern) then
        callbacks[value] = function() print(prefix .. name) return verdict end
      end
    end
    return callbacks
  end
  return all("^MYC_"), all("^MYS_")
end

-- Binary-safe text for one line of output.
function h.quote(text)
  return (tostring(text):gsub("[^%w%p ]", function(c) return ("\\x%02x"):format(c:byte()) end))
end

-- One line that the test reads.
function h.print_stats()
  jit.flush() -- compiled traces count as Lua's memory, and their number depends on how long it has run
  collectgarbage()
  collectgarbage()
  local parts = {}
  for name, value in pairs(dpm.stats()) do
    parts[#parts + 1] = name .. "=" .. tostring(value)
  end
  table.sort(parts)
  print("STATS " .. table.concat(parts, " "))
end

return h
