-- Which resultset rows belong to. Mostly it is the one that has just begun; but the rows of a cursor are asked for
-- by COM_STMT_FETCH, whose answer has no head, and the resultset is that of the execute that has opened the cursor,
-- however long ago.

local statement_notes = require "dpml.statement_notes"

local cursors = {}

-- Columns that are kept of a client's cursors. With more than these no further statement gets a cursor: its rows
-- come at once, as a server, too, may answer who asks for one. A statement that had one goes on having it, for
-- MySQL has no rows for one that is executed with a cursor at first, and without later.
local MAX_COLUMNS = 16384

local Cursors = {}
Cursors.__index = Cursors

-- Those of one server: to be told what is sent to it, and what it answers.
function cursors.new()
    return setmetatable({ statements = statement_notes.new(), columns = 0 }, Cursors)
end

-- What is kept of a statement's cursor is not needed any more.
function Cursors:drop(statement)
    if statement and statement.rset then
        self.columns = self.columns - statement.rset:field_count()
        statement.rset = nil
    end
end

-- A command is sent. Returns true if it was changed.
function Cursors:new_command(cmd)
    local command, changed = cmd:command(), false
    self.opening = nil
    if command == dpm.COM_STMT_PREPARE then
        self.statements:prepare({})
    elseif command == dpm.COM_STMT_EXECUTE and cmd:execute_flags(dpm.CURSOR_TYPE_READ_ONLY) then
        local statement = self.statements:of(cmd)
        if statement and (statement.rset or self.columns <= MAX_COLUMNS) then
            self.opening = statement
        else
            cmd:execute_flags(dpm.CURSOR_TYPE_READ_ONLY, false)
            changed = true
        end
    elseif command == dpm.COM_STMT_FETCH then
        local statement = self.statements:of(cmd)
        self.rset = statement and statement.rset
    elseif command == dpm.COM_STMT_CLOSE then
        self:drop(self.statements:of(cmd))
    elseif command == dpm.COM_RESET_CONNECTION or command == dpm.COM_CHANGE_USER then
        self.columns = 0
    end
    self.statements:follow(cmd)
    return changed
end

-- A statement has been prepared.
function Cursors:prepared(packet)
    self.statements:prepared(packet)
end

-- A resultset begins: the rows that come are its own.
function Cursors:new_result(rset)
    self.rset = rset
    local statement = self.opening
    if statement then
        self:drop(statement) -- a CALL has several
        statement.rset = rset
        self.columns = self.columns + rset:field_count()
    end
end

return cursors
