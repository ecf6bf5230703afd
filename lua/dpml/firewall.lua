-- A plug-in that learns statements, and then lets no others through.
--
-- It assumes that sessions begin without NO_BACKSLASH_ESCAPES and ANSI_QUOTES, and in a character set in which
-- the byte of a quote is always a quote (not GBK, Big5 or SJIS).

local checks = require "dpml.checks"
local errors = require "dpml.errors"

local firewall = {}

local NAME = "dpml.firewall"
local OPTIONS = { file = "a string", learn = "a boolean", max_entries = "an integer", on_refused = "a function" }

local MAX_ENTRIES = 10000
local SHOWN = 1000 -- bytes of a refused statement that are logged

-- Only in these are values mere data. In all others (SET, PREPARE, LOAD DATA, several statements) values decide
-- what the statement does, so they are learnt with their values.
local BY_DIGEST = { SELECT = true, INSERT = true, REPLACE = true, UPDATE = true, DELETE = true }

-- The initial modes of sessions. Only a SET changes them, which is learnt with its values.
local MODE = { no_backslash_escapes = false, ansi_quotes = false, charset = "utf8mb4" }

-- Commands without SQL. An executed statement was checked when it was prepared.
local HARMLESS = {}
for name in ([[PING QUIT CHANGE_USER RESET_CONNECTION STATISTICS SET_OPTION STMT_EXECUTE STMT_BULK_EXECUTE
    STMT_FETCH STMT_RESET STMT_CLOSE STMT_SEND_LONG_DATA]]):gmatch("%S+") do
    HARMLESS[dpm["COM_" .. name]] = true
end

-- The SQL of a command; nil if it has none.
local function sql_of(cmd)
    local command = cmd:command()
    if command == dpm.COM_INIT_DB then
        return "USE `" .. cmd:argument():gsub("`", "``") .. "`"
    elseif command == dpm.COM_QUERY or command == dpm.COM_STMT_PREPARE then
        return cmd:argument()
    end
end

-- A statement's line in the file.
local function entry_of(sql)
    local kind, info = dpm.statement_kind(sql, MODE)
    local text, hash, ambiguous = dpm.digest(sql, MODE)
    local by_digest = BY_DIGEST[kind] and info.multi == 1 and not info.into and not ambiguous
    local entry = by_digest and hash .. " " .. text or "exactly " .. sql
    return (entry:gsub("[%c\\]", function(c)
        return ("\\x%02x"):format(c:byte())
    end))
end

local function log_refusal(what, client_id)
    dpm.log("warn", ("client %d: refused: %s"):format(client_id, what))
end

-- firewall{ file =, learn =, max_entries =, on_refused = fn(what, client_id, client) }. The file is read once; while
-- the firewall learns, what is new is added to it.
function firewall.firewall(options)
    checks.options(NAME, options, OPTIONS)
    checks.argument(NAME, "file", options.file, "a string")
    local learn, max_entries = options.learn, options.max_entries or MAX_ENTRIES
    local on_refused = options.on_refused or log_refusal

    local file, problem = io.open(options.file, learn and "a+" or "r")
    if not file then
        checks.fail(NAME, "file: " .. problem)
    end
    local learnt, count = {}, 0
    for entry in file:lines() do
        learnt[entry], count = true, count + 1
    end
    if not learn then
        file:close()
    end

    local function add(entry)
        learnt[entry], count = true, count + 1
        local _, failure = file:write(entry, "\n")
        if not failure then
            _, failure = file:flush()
        end
        if failure then
            dpm.log("error", ("%s: %s cannot be written: %s"):format(NAME, options.file, failure))
        end
    end

    return {
        new_command = function(cmd, client_id, client)
            if HARMLESS[cmd:command()] then
                return
            end
            local sql = sql_of(cmd)
            local entry = sql and entry_of(sql)
            if entry and learnt[entry] then
                return
            elseif entry and learn and count < max_entries then
                return add(entry)
            end
            errors.send_error(client, "42000", 1142, "This statement is not among those that the firewall has learnt")
            on_refused(entry and entry:sub(1, SHOWN) or "command " .. cmd:command(), client_id, client)
            return dpm.DPM_NOPROXY
        end,
    }
end

return firewall
