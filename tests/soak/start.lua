-- Everything that the library has, before real servers. arg[1] is a folder; then for each server its name, the
-- port of the relay before it, and its own port.
local dpml, h = require "dpml", require "harness"

local HOST, USER, PASSWORD = "127.0.0.1", "happy", "wheefun"
local USERS = { [USER] = { password = PASSWORD } }
local kept, members = {}, {}

local function listen(name, opts)
    local listener = dpm.listener(HOST, 0, opts)
    kept[#kept + 1] = listener
    print(("way %s %d"):format(name, listener:socket_port()))
    return listener
end

local function account(port, more)
    local address = { host = HOST, port = port, user = USER, password = PASSWORD }
    for name, value in pairs(more or {}) do address[name] = value end
    return address
end

for i = 2, #arg, 3 do
    local name, relayed, direct = arg[i], tonumber(arg[i + 1]), tonumber(arg[i + 2])
    local tls = { self_signed = true }

    -- Without a callback; the clients' TLS is the proxy's own.
    dpml.passthrough_new_clients(listen("plain-" .. name, { tls = tls }), {}, { HOST, relayed })

    local explain = dpml.autoexplain { threshold_ms = 300, interval = 1, side = account(direct) }
    local chain = dpml.chain {
        dpml.slowlog { threshold_ms = 500, report = function() end },
        dpml.firewall { file = ("%s/learnt-%s"):format(arg[1], name), learn = true },
        explain,
        -- Sees each row, and holds none.
        { new_row = function(row, _, _, rset) assert(#rset:parse_row_array(row, dpm.NULL) > 0) end },
        dpml.mask { columns = { "own.secret" } },
    }
    dpml.passthrough_new_clients(listen("chain-" .. name), chain, { HOST, relayed })
    local admin = listen("plans-" .. name)
    explain:admin(admin, { users = USERS })

    dpml.proxy_new_clients(listen("proxied-" .. name, { tls = tls }), {}, {
        users = USERS,
        backend = account(relayed, { tls = "preferred" }),
    })

    dpml.accept_clients(listen("coalesce-" .. name), {
        users = USERS,
        handler = dpml.coalesce(account(relayed)),
        all_commands = true,
    })

    -- A service that asks the server itself.
    dpml.accept_clients(listen("service-" .. name), {
        users = USERS,
        handler = function(session)
            local db = dpml.connect(account(relayed, { database = "soak" }))
            for cmd in session:commands() do
                local client, n = cmd:argument():match("^own (%d+) (%d+)$")
                if client then
                    session:send_resultset(db:query("SELECT client, n, v FROM own WHERE client = ? AND n = ?",
                        { tonumber(client), tonumber(n) }))
                else
                    session:send_error("42000", 1064, "All I know is OWN")
                end
            end
            db:close()
        end,
    })

    members[#members + 1] = account(relayed, { name = name, db = "soak", tls = "preferred" })
    members[#members].password = nil
    members[#members].pass = PASSWORD
end

dpml.multiplex(listen "multiplexer", { users = USERS, fleet = members })
