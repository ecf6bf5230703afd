-- slowlog.lua: what takes how long: each slow query is told here, and all of them are counted by digest.
-- Run: dpm --startfile demos/slowlog.lua -- [backend host] [port] [listen port] [ignored] [ignored] [time]
-- Look: SELECT SLEEP(1.5); then SHOW DIGESTS, which is answered here; kill -USR1 prints the same.

local dpml = require "dpml"
local host, port, listen_port = arg[1] or "127.0.0.1", tonumber(arg[2]) or 3306, tonumber(arg[3]) or 5500

local MAX_DIGESTS, OTHERS = 1000, "(other digests)" -- what comes when there are so many is counted as one
local STEPS = { 1, 10, 100, 1000, math.huge } -- of the histogram; milliseconds
local LAST = 0xFFFFFFFF -- what MariaDB's clients call the statement that was prepared last
local COLUMNS = { "digest", "count", "total_ms", "max_ms", "<1ms", "<10ms", "<100ms", "<1s", "more" }

local digests, count = {}, 0 -- text -> { count =, total =, max =, [step] = how many }

local function add(text, ms)
    if not digests[text] and count >= MAX_DIGESTS then text = OTHERS end
    if not digests[text] then
        digests[text], count = { count = 0, total = 0, max = 0, 0, 0, 0, 0, 0 }, count + 1
    end
    local digest = digests[text]
    digest.count, digest.total, digest.max = digest.count + 1, digest.total + ms, math.max(digest.max, ms)
    local step = 1
    while ms >= STEPS[step] do step = step + 1 end
    digest[step] = digest[step] + 1
end

local function report()
    local rows = {}
    for text, digest in pairs(digests) do
        rows[#rows + 1] = { text, digest.count, digest.total, digest.max, unpack(digest) }
    end
    table.sort(rows, function(a, b) return a[3] > b[3] end)
    return { fields = COLUMNS, rows = rows }
end

-- A plug-in: what takes `slow` milliseconds is printed.
local function slowlog(slow)
    return function(client, server)
        local prepared, preparing = {}, nil -- statement id -> digest; the one that is being prepared
        local running, elapsed
        server:register(dpm.MYS_STMT_PREPARED, function(packet)
            prepared[packet:statement_id()], prepared[LAST] = preparing, preparing
        end)
        return {
            new_command = function(cmd)
                local command, text = cmd:command(), nil
                if command == dpm.COM_QUERY then
                    if cmd:argument():upper() == "SHOW DIGESTS" then
                        dpml.send_resultset(client, report())
                        return dpm.DPM_NOPROXY
                    end
                    text = dpm.digest(cmd:argument(), { max_length = 1000 })
                elseif command == dpm.COM_STMT_PREPARE then
                    preparing = dpm.digest(cmd:argument(), { max_length = 1000 })
                elseif command == dpm.COM_STMT_EXECUTE then
                    text = prepared[cmd:statement_id()]
                elseif command == dpm.COM_STMT_CLOSE then
                    prepared[cmd:statement_id()] = nil
                end
                running, elapsed = text, dpml.elapsed()
            end,
            finished_command = function(client_id)
                if not running then return end
                local ms = elapsed()
                add(running, ms)
                if ms >= slow then print(("client %d: %s: %s"):format(client_id, dpml.duration(ms), running)) end
                running = nil
            end,
        }
    end
end
dpm.on_signal("USR1", function() dpml.dump_table(report().rows) end)
if ... then return slowlog end -- another script requires it

listener = dpm.listener("127.0.0.1", listen_port) -- a global, or it would be collected
dpml.passthrough_new_clients(listener, slowlog(dpml.milliseconds(arg[6] or "1s")), { host, port })
print("dpm: slowlog listening on 127.0.0.1:" .. listener:socket_port())
