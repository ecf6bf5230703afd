-- The status flags of a session that no server has: drivers go by them, PHP's when it ends a transaction.

local results = require "dpml.results"
local token_reader = require "dpml.text.token_reader"

local own_status = {}

local sessions = setmetatable({}, { __mode = "k" }) -- session -> { in_transaction = boolean, no_autocommit = boolean }

-- Whether the session has autocommit.
function own_status.has_autocommit(session)
    local status = sessions[session]
    return not (status and status.no_autocommit)
end

local function publish(session, status)
    sessions[session] = status
    local flags = (status.no_autocommit and 0 or dpm.SERVER_STATUS_AUTOCOMMIT)
        + (status.in_transaction and dpm.SERVER_STATUS_IN_TRANS or 0)
    results.set_status(session.client:id(), flags ~= dpm.SERVER_STATUS_AUTOCOMMIT and flags or nil)
end

-- A new login, or COM_RESET_CONNECTION.
function own_status.reset(session)
    publish(session, {})
end

local OFF = { ["0"] = true, OFF = true, FALSE = true }
local NAMES = { AUTOCOMMIT = true, ["@@AUTOCOMMIT"] = true, ["@@SESSION.AUTOCOMMIT"] = true, ["@@LOCAL.AUTOCOMMIT"] = true }

-- What a SET makes of autocommit; nil if nothing.
local function autocommit_of(reader)
    local result
    while not reader:at_end() do
        local name = reader:take_any():upper()
        if NAMES[name] and (reader:take("=") or reader:take(":=")) and not reader:at_end() then
            result = not OFF[reader:take_any():upper()]
        end
    end
    return result
end

-- Notes a statement that was answered with an OK.
function own_status.note(session, sql)
    local before = sessions[session] or {}
    local status = { in_transaction = before.in_transaction, no_autocommit = before.no_autocommit }
    for _, reader in ipairs(token_reader.statements(sql) or {}) do
        if reader:take("BEGIN") or reader:take_all("START", "TRANSACTION") then
            status.in_transaction = true
        elseif reader:take("COMMIT") or reader:take("ROLLBACK") then
            reader:skip_to("TO", "CHAIN")
            local stays = reader:take("TO") or reader:take("CHAIN") and reader.tokens[reader.at - 2].text:upper() ~= "NO"
            status.in_transaction = status.in_transaction and stays and true or nil
        elseif reader:take("SET") then
            local autocommit = autocommit_of(reader)
            if autocommit ~= nil then
                status.no_autocommit = not autocommit
                status.in_transaction = status.in_transaction and not autocommit or nil
            end
        end
    end
    publish(session, status)
end

-- What it is, for whoever goes on with the session.
function own_status.save(session)
    local status = sessions[session] or {}
    return { in_transaction = status.in_transaction, no_autocommit = status.no_autocommit }
end

-- It is as it was saved.
function own_status.restore(session, status)
    publish(session, status)
end

-- The client has left.
function own_status.forget(client_id)
    results.set_status(client_id, nil)
end

return own_status
