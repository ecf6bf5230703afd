-- db:transaction: what is committed or rolled back as a whole, also within one another.
--
-- Within a transaction a further one is a savepoint. What would end the transaction unnoticed (BEGIN, which commits it;
-- DDL; a deadlock) is an error: what follows it would be executed by itself.
--
-- While one is open, db.open_transaction is { task =, level = savepoints, lost = why it has ended before its end, by_hand =
-- whether the script has ended it by COMMIT or ROLLBACK }.

local bit = require "bit"
local errors = require "dpml.support.errors"
local tasks = require "dpml.tasks"
local token_reader = require "dpml.text.token_reader"

local transactions = {}

local DEADLOCK = 1213 -- the one error by which servers roll back all of a transaction

local function misuse(message)
    return errors.new(1179, "25000", message)
end

local function is_open(flags)
    return bit.band(flags, dpm.SERVER_STATUS_IN_TRANS) ~= 0
end

-- Whether the script has begun one by itself. Without autocommit, one is begun with each statement.
local function is_begun_by_hand(db)
    local flags = db.server_status
    return flags ~= nil and is_open(flags) and bit.band(flags, dpm.SERVER_STATUS_AUTOCOMMIT) ~= 0
end

-- Notes how an answer has ended. Returns an error if its statement has ended the transaction.
function transactions.note(db, flags)
    if not flags then
        return nil
    end
    db.server_status = flags
    local transaction = db.open_transaction
    if transaction and not transaction.by_hand and not transaction.lost and not is_open(flags) then
        transaction.lost = misuse("This statement has ended the transaction of db:transaction: "
            .. "what was done before it is committed, or was rolled back by the server before")
        return transaction.lost
    end
end

-- Notes that a statement has failed.
function transactions.failed(db, err)
    if db.open_transaction and errors.is_error(err) and err.errnum == DEADLOCK then
        db.open_transaction.lost = err
    end
end

-- Raises an error if the transaction is over, though the script goes on within it.
function transactions.check(db)
    if db.open_transaction and db.open_transaction.lost then
        error(db.open_transaction.lost, 0)
    end
end

local ENDS = { BEGIN = true, START = true, COMMIT = true, ROLLBACK = true }

local function guard_statement(transaction, reader)
    local is_begin = reader:take("BEGIN") or reader:take_all("START", "TRANSACTION")
    local is_end = not is_begin and (reader:take("COMMIT") or reader:take("ROLLBACK"))
    if is_begin then
        error(misuse("BEGIN would commit the transaction of db:transaction; within it, db:transaction makes a savepoint"), 0)
    elseif is_end then
        reader:skip_to("TO")
        if not reader:at_end() then
            return -- to a savepoint
        elseif transaction.level > 0 then
            error(misuse(is_end.text:upper() .. " would end the transaction that this db:transaction is within"), 0)
        end
        transaction.by_hand = true
    end
end

-- Looks at what is to be executed before it is sent.
function transactions.guard(db, sql)
    local transaction = db.open_transaction
    if transaction and (ENDS[token_reader.first_word(sql)] or sql:find(";", 1, true)) then
        for _, reader in ipairs(token_reader.statements(sql) or {}) do
            guard_statement(transaction, reader)
        end
    end
end

local function returned(ok, ...)
    if not ok then
        error((...), 0)
    end
    return ...
end

local function release_behind(db, transaction, savepoint, ...)
    transactions.check(db)
    if not transaction.by_hand then
        db:query("RELEASE SAVEPOINT " .. savepoint)
    end
    return ...
end

local function leave_savepoint(db, transaction, savepoint, seconds, ok, ...)
    transaction.level = transaction.level - 1
    if not ok and not transaction.lost and db:is_open() then
        local undone, problem = pcall(db.query, db, "ROLLBACK TO SAVEPOINT " .. savepoint, nil, { timeout_ms = seconds * 1000 })
        if not undone then
            transaction.lost = problem
        end
    end
    return returned(ok, ...)
end

local function within_savepoint(db, transaction, fn, seconds)
    transaction.level = transaction.level + 1
    local savepoint = "dpml_" .. transaction.level
    return leave_savepoint(db, transaction, savepoint, seconds, pcall(function()
        db:query("SAVEPOINT " .. savepoint)
        return release_behind(db, transaction, savepoint, fn(db))
    end))
end

-- Within a transaction of the script's own, which it ends itself.
local function leave_scripts(db, ...)
    db.open_transaction = nil
    return returned(...)
end

local function commit_behind(db, transaction, ...)
    transactions.check(db)
    db.open_transaction = nil
    if not transaction.by_hand then
        db:commit()
    end
    return ...
end

local function leave(db, seconds, ok, ...)
    db.open_transaction = nil
    if not ok and db:is_open() and not pcall(db.rollback, db, { timeout_ms = seconds * 1000 }) then
        -- The next user must not continue the transaction unknowingly.
        db:close()
    end
    return returned(ok, ...)
end

-- Returns what fn(db) returns, within a transaction: committed, or rolled back if fn fails, or if BEGIN or COMMIT was
-- interrupted. A rollback may take so many seconds; if it fails, the connection is closed.
function transactions.run(db, fn, seconds)
    local task, outer = tasks.current("db:transaction"), db.open_transaction
    if outer and outer.task ~= task then
        error(misuse("Another task has a transaction on this connection: give each a connection of its own"), 0)
    end
    transactions.check(db)
    if outer and not outer.by_hand then
        return within_savepoint(db, outer, fn, seconds)
    end
    local transaction = { task = task, level = 0 }
    if is_begun_by_hand(db) then
        db.open_transaction = transaction
        return leave_scripts(db, pcall(within_savepoint, db, transaction, fn, seconds))
    end
    return leave(db, seconds, pcall(function()
        db:begin()
        db.open_transaction = transaction
        return commit_behind(db, transaction, fn(db))
    end))
end

return transactions
