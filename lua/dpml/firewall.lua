-- A plug-in that learns statements, and then lets no others through.

local checks = require "dpml.support.checks"
local errors = require "dpml.support.errors"
local sessions = require "dpml.firewall.sessions"

local firewall = {}

local NAME = "dpml.firewall"
local OPTIONS = { file = "a string", learn = "a boolean", max_entries = "an integer", on_refused = "a function" }

local MAX_ENTRIES = 10000
local SHOWN = 1000 -- bytes of a statement's digest that are in the file, and in the log

-- Only in these are values mere data. In all others (SET, PREPARE, LOAD DATA, several statements) values decide
-- what the statement does, so they are learnt with their values. USE has none.
local BY_DIGEST = { SELECT = true, INSERT = true, REPLACE = true, UPDATE = true, DELETE = true, USE = true }

-- A function whose argument is not mere data, either: it says which file is read.
local READS_FILE = { LOAD_FILE = true }

-- Commands without SQL. An executed statement was checked when it was prepared.
local HARMLESS = {}
for name in ([[PING QUIT STATISTICS SET_OPTION STMT_EXECUTE STMT_BULK_EXECUTE
    STMT_FETCH STMT_RESET STMT_CLOSE STMT_SEND_LONG_DATA]]):gmatch("%S+") do
    HARMLESS[dpm["COM_" .. name]] = true
end

local function use(database)
    return "USE `" .. database:gsub("`", "``") .. "`"
end

-- The SQL of a command; nil if it has none.
local function sql_of(cmd)
    local command = cmd:command()
    if command == dpm.COM_INIT_DB then
        return use(cmd:argument())
    elseif command == dpm.COM_QUERY or command == dpm.COM_STMT_PREPARE then
        return cmd:argument()
    end
end

-- The options of dpm.digest for those who let statements through, in a session of this mode.
local function digest_options(mode)
    return {
        no_backslash_escapes = mode.no_backslash_escapes, ansi_quotes = mode.ansi_quotes, charset = mode.charset,
        hints = true, max_length = SHOWN,
    }
end

local EXACT = { exact = true }
local SAFE = { ansi_quotes = false, charset = "utf8mb4", max_length = SHOWN }

-- What people read of a statement that is learnt with its values, without any of them: where it is not certain where
-- strings end, what is before the first of them.
local function without_values(sql)
    local text, _, ambiguous = dpm.digest(sql, SAFE)
    return ambiguous and dpm.digest(sql:match("^[^'\"]*"), SAFE) or text
end

-- A statement as it is learnt: a key, and a text to read, which has no values: they may be secret.
local function entry_of(sql, mode)
    local kind, info = dpm.statement_kind(sql, mode)
    local text, hash, ambiguous = dpm.digest(sql, digest_options(mode))
    local by_digest = BY_DIGEST[kind] and info.multi == 1 and not (info.selects_into or info.assigns or ambiguous)
        and not dpm.find_word(sql, READS_FILE, mode)
    if not by_digest then
        local _, exact_hash = dpm.digest(sql, EXACT)
        text, hash = without_values(sql), "exactly " .. exact_hash
    end
    local shown = text:gsub("[%c\\]", function(c)
        return ("\\x%02x"):format(c:byte())
    end)
    return {
        key = hash, line = hash .. " " .. shown, shown = (by_digest and hash or "exactly") .. " " .. shown,
        by_digest = by_digest, uses = by_digest and kind == "USE",
    }
end

-- The key in a line of the file. Earlier versions wrote whole statements, with their values.
local function key_of(line, mode)
    local key = line:match("^exactly %x+ ") or line:match("^%x+ ")
    if key and #key:match("%x+ $") == 33 then
        return key:sub(1, -2)
    end
    local statement = line:match("^exactly (.*)$")
    return statement and entry_of(statement:gsub("\\x(%x%x)", function(digits)
        return string.char(tonumber(digits, 16))
    end), mode).key
end

local function log_refusal(what, client_id)
    dpm.log("warn", ("client %d: refused: %s"):format(client_id, what))
end

local followers = {} -- file -> functions that are told what another worker has learnt for it

-- Has `fn(key)` called for what other workers learn for a file.
local function follow(file, fn)
    local _, workers = dpm.worker()
    if workers == 1 then
        return
    end
    if not followers[file] then
        followers[file] = {}
        dpm.subscribe(NAME .. " " .. file, function(key)
            for _, each in ipairs(followers[file]) do
                each(key)
            end
        end)
    end
    table.insert(followers[file], fn)
end

-- firewall{ file =, learn =, max_entries =, on_refused = fn(what, client_id, client) }. The file is read once; while
-- the firewall learns, what is new is added to it.
function firewall.firewall(options)
    checks.options(NAME, options, OPTIONS)
    checks.argument(NAME, "file", options.file, "a string")
    local learn, max_entries = options.learn, options.max_entries or MAX_ENTRIES
    local on_refused = options.on_refused or log_refusal
    local clients = sessions.new()

    local file, problem = io.open(options.file, learn and "a+" or "r")
    if not file then
        checks.fail(NAME, "file: " .. problem)
    end
    local learnt, count = {}, 0
    for line in file:lines() do
        local key = key_of(line, clients:mode(0))
        if key and not learnt[key] then
            learnt[key], count = true, count + 1
        end
    end
    if not learn then
        file:close()
    end

    local function know(key)
        if not learnt[key] then
            learnt[key], count = true, count + 1
        end
    end
    if learn then
        follow(options.file, know)
    end

    local function add(entry)
        know(entry.key)
        dpm.publish(NAME .. " " .. options.file, entry.key)
        local _, failure = file:write(entry.line, "\n")
        if not failure then
            _, failure = file:flush()
        end
        if failure then
            dpm.log("error", ("%s: %s cannot be written: %s"):format(NAME, options.file, failure))
        end
    end

    local function refuse(what, client_id, client)
        errors.send_error(client, "42000", 1142, "This statement is not among those that the firewall has learnt")
        on_refused(what, client_id, client)
        return dpm.DPM_NOPROXY
    end

    -- Whether a statement passes.
    local function passes(entry)
        if not learnt[entry.key] and learn and count < max_entries then
            add(entry)
        end
        return learnt[entry.key] ~= nil
    end

    -- The entry of USE, if a login's database is not allowed.
    local function is_outside(database, client_id)
        local entry = database and database ~= "" and entry_of(use(database), clients:mode(client_id))
        return entry and not passes(entry) and entry or nil
    end

    local function change_user(cmd, client_id, client)
        local read, auth = pcall(cmd.change_user, cmd)
        if not read or not auth then
            errors.send_error(client, "08S01", 1047, "Malformed packet")
            return dpm.DPM_NOPROXY
        end
        local refused = is_outside(auth:databasename(), client_id)
        if refused then
            return refuse(refused.shown, client_id, client)
        end
        clients:change_user(client_id, auth:charset_number())
    end

    return {
        -- The login chooses a database, too: in one that is not allowed, nothing but USE is.
        logged_in = function(auth, client_id, client)
            local refused = is_outside(auth:databasename(), client_id)
            clients:begin(client_id, auth:charset_number(), refused ~= nil)
            if refused then
                on_refused(refused.shown, client_id, client)
            end
        end,
        new_command = function(cmd, client_id, client)
            local command, session = cmd:command(), clients:of(client_id)
            if HARMLESS[command] then
                return
            elseif command == dpm.COM_CHANGE_USER then
                return change_user(cmd, client_id, client)
            elseif command == dpm.COM_RESET_CONNECTION then
                return clients:reset(client_id)
            end
            local sql = sql_of(cmd)
            if not sql then
                return refuse("command " .. command, client_id, client)
            end
            local entry = entry_of(sql, clients:mode(client_id))
            local is_prepared = command == dpm.COM_STMT_PREPARE
            if session.outside and (is_prepared or not entry.uses) or not passes(entry) then
                return refuse(entry.shown, client_id, client)
            elseif entry.uses and not is_prepared then
                clients:use(client_id)
            elseif not entry.by_digest then
                clients:run(client_id, sql, is_prepared)
            end
        end,
        failed_command = function(_, client_id)
            clients:failed(client_id)
        end,
        closing = function(client_id)
            clients:forget(client_id)
        end,
        save = function(client)
            return clients:save(client:id())
        end,
        restore = function(client, saved)
            clients:restore(client:id(), saved)
        end,
    }
end

return firewall
