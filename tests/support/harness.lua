-- What the startfiles of the tests share. arg[1] and arg[2] are the server's host and port.
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
-- but for max_clients, which is the listener's.
function h.passthrough(client, server, opts)
  local server_opts = {}
  for name, value in pairs(opts or {}) do
    if name ~= 'max_clients' then server_opts[name] = value end
  end
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
  end, opts)
end

-- The name of a state, and tables of all states of one side.
h.names = {}
for name, value in pairs(dpm) do
  if name:match("^MY[CS]?_") and type(value) == "number" then h.names[value] = name end
end

-- A callback for every state, which prints the state's name and goes on.
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
