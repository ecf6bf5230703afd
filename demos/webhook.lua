-- webhook.lua: tells an HTTP service when a server dies, and when it is back.
-- Run: dpm --startfile demos/webhook.lua -- [backend host] [port] [listen port] [user] [password] [address of the webhook]
-- Look: stop the server: the webhook is told once. Queries work again when the server does.

local dpml = require "dpml"
local host, port = arg[1] or "127.0.0.1", tonumber(arg[2]) or 3306
local server = { host = host, port = port, user = arg[4] or "root", password = arg[5] or "", timeout_ms = 2000 }
local webhook = arg[6] or "http://127.0.0.1:8080/"

local PAUSE = 1000 -- milliseconds between two looks at the server

local function tell(text)
    local ok, answer = pcall(dpml.http_request, {
        url = webhook, headers = { ["Content-Type"] = "application/json" }, timeout = 5,
        body = dpm.json_encode { text = text },
    })
    if not ok or answer.status >= 300 then
        dpm.log("warn", "the webhook was not told: " .. (ok and "status " .. answer.status or tostring(answer)))
    end
end

local function is_alive()
    local ok, db = pcall(dpml.connect, server)
    if ok then
        db:close()
    end
    return ok
end

dpml.spawn(function()
    local was_alive = true
    while not dpm.is_stopping() do
        local alive = is_alive()
        if alive ~= was_alive then
            was_alive = alive
            tell(("%s:%d %s"):format(host, port, alive and "is back" or "does not answer"))
        end
        dpml.sleep_ms(PAUSE)
    end
end)

local listener = dpm.listener("127.0.0.1", tonumber(arg[3]) or 5500)
dpml.passthrough_new_clients(listener, {}, { host, port })
print("dpm: webhook listening on 127.0.0.1:" .. listener:socket_port())
