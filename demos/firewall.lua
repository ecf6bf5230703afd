-- firewall.lua: lets through what it has learnt while it was trained, and nothing else.
-- Run: dpm --startfile demos/firewall.lua -- [backend host] [port] [listen port] [ignored] [ignored] [file] [learn]
-- Look: run the application once with "learn" at the end; then without: other values pass, other SQL does not.

local dpml = require "dpml"
local host, port, listen_port = arg[1] or "127.0.0.1", tonumber(arg[2]) or 3306, tonumber(arg[3]) or 5500

local MAX_ENTRIES = 10000

-- Only the values of these are data; of anything else (SET, PREPARE, LOAD DATA, several at once) they are what
-- it does, and it is learnt by the letter.
local BY_DIGEST = { SELECT = true, INSERT = true, REPLACE = true, UPDATE = true, DELETE = true }
-- How sessions begin. What changes that is a SET, and as such learnt by the letter.
local MODE = { no_backslash_escapes = false, ansi_quotes = false, charset = "utf8mb4" }

-- Commands without SQL. A statement that is executed was let through when it was prepared.
local HARMLESS = {}
for name in ([[PING QUIT CHANGE_USER RESET_CONNECTION STATISTICS SET_OPTION STMT_EXECUTE STMT_BULK_EXECUTE
    STMT_FETCH STMT_RESET STMT_CLOSE STMT_SEND_LONG_DATA]]):gmatch("%S+") do HARMLESS[dpm["COM_" .. name]] = true end

-- The SQL of a command; nil if it has none.
local function sql_of(cmd)
    local command = cmd:command()
    if command == dpm.COM_INIT_DB then return "USE `" .. cmd:argument():gsub("`", "``") .. "`" end
    return (command == dpm.COM_QUERY or command == dpm.COM_STMT_PREPARE) and cmd:argument() or nil
end

-- What stands for a statement in the file: a line.
local function entry_of(sql)
    local kind, info = dpm.statement_kind(sql, MODE)
    local text, hash, ambiguous = dpm.digest(sql, MODE)
    local by_digest = BY_DIGEST[kind] and info.multi == 1 and not info.into and not ambiguous
    local entry = by_digest and hash .. " " .. text or "exactly " .. sql
    return (entry:gsub("[%c\\]", function(c) return ("\\x%02x"):format(c:byte()) end))
end

-- A plug-in. The file is read once; while it learns, what is new is added to it.
local function firewall(path, learn)
    local allowed, count = {}, 0
    local file = assert(io.open(path, learn and "a+" or "r"))
    for line in file:lines() do allowed[line], count = true, count + 1 end
    if not learn then file:close() end
    return {
        new_command = function(cmd, client_id, client)
            if HARMLESS[cmd:command()] then return end
            local sql = sql_of(cmd)
            local entry = sql and entry_of(sql)
            if allowed[entry] then return end
            if entry and learn and count < MAX_ENTRIES then
                allowed[entry], count = true, count + 1
                file:write(entry, "\n")
                file:flush()
                return
            end
            local what = entry and entry:sub(1, 1000) or "command " .. cmd:command()
            print(("client %d: refused: %s"):format(client_id, what))
            dpml.send_error(client, "42000", 1142, "This statement is not among those that the firewall has learnt")
            return dpm.DPM_NOPROXY
        end,
    }
end
if ... then return firewall end -- another script requires it

listener = dpm.listener("127.0.0.1", listen_port) -- a global, or it would be collected
dpml.passthrough_new_clients(listener, firewall(arg[6] or "firewall.txt", arg[7] == "learn"), { host, port })
print("dpm: firewall listening on 127.0.0.1:" .. listener:socket_port())
