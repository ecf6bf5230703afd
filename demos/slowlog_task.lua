-- slowlog_task.lua: slowlog.lua in short, as a task for each client: time is taken before and after a query.
-- Run: dpm --startfile demos/slowlog_task.lua -- [backend host] [port] [listen port] [user] [password] [time]
-- Look: SELECT SLEEP(1.5): it is printed here, with how often it ran and how long it took in all.

local dpml = require "dpml"
local host, port, listen_port = arg[1] or "127.0.0.1", tonumber(arg[2]) or 3306, tonumber(arg[3]) or 5500
local user, password, slow = arg[4] or "root", arg[5] or "", dpml.milliseconds(arg[6] or "1s")

local MAX_DIGESTS = 1000 -- further ones are counted together
local digests, count = {}, 0

local function add(text, ms)
    if not digests[text] and count >= MAX_DIGESTS then text = "(other digests)" end
    if not digests[text] then
        digests[text], count = { count = 0, total = 0 }, count + 1
    end
    local digest = digests[text]
    digest.count, digest.total = digest.count + 1, digest.total + ms
    if ms >= slow then
        local total = dpml.duration(digest.total)
        print(("%s (%d times, %s in all): %s"):format(dpml.duration(ms), digest.count, total, text))
    end
end

local function handler(session)
    local auth, db
    for cmd in session:commands() do
        if session.auth ~= auth then -- for the first command, and after each COM_CHANGE_USER
            if db then db:close() end
            auth = session.auth
            db = dpml.connect { host = host, port = port, user = user, password = password, database = session.database,
                like = auth, charset = auth:charset_number() }
        end
        local elapsed = dpml.elapsed_ms()
        session:forward(cmd, db)
        if cmd:command() == dpm.COM_QUERY then
            add(dpm.digest(cmd:argument(), { max_length = 1000 }), elapsed())
        end
    end
    if db then db:close() end
end

local listener = dpm.listener("127.0.0.1", listen_port)
dpml.accept_clients(listener, { users = { [user] = { password = password } }, handler = handler, all_commands = true })
print("dpm: slowlog_task listening on 127.0.0.1:" .. listener:socket_port())
