-- What a plug-in keeps of a client's prepared statements: something for each, from when it is prepared until it
-- is closed. The server limits how many there are at once; what is kept has a limit of its own, beyond which a
-- statement is one that nothing is known of.

local statement_notes = {}

local Notes = {}
Notes.__index = Notes

local MANY = 4096
local LAST = 0xFFFFFFFF -- what MariaDB's clients call the statement that was prepared last

function statement_notes.new()
    return setmetatable({ by_id = {}, count = 0 }, Notes)
end

-- A statement is being prepared: this is kept of it, if it comes to be one.
function Notes:prepare(note)
    self.coming = note
end

local function put(self, id, note)
    local had, has = self.by_id[id] ~= nil, note ~= nil
    if had or (has and self.count < MANY) then
        self.count = self.count + (has and 1 or 0) - (had and 1 or 0)
        self.by_id[id] = note
    end
end

-- It has come to be this one.
function Notes:prepared(packet)
    local id, note = packet:statement_id(), self.coming
    self.coming, self.last_id = nil, id
    put(self, id, note)
end

local function id_of(self, cmd)
    local id = cmd:statement_id()
    return id == LAST and self.last_id or id
end

-- What is kept of the statement that a command is about; nil if nothing is.
function Notes:of(cmd)
    return self.by_id[id_of(self, cmd)]
end

-- Drops what a command puts an end to; to be told of every one.
function Notes:follow(cmd)
    local command = cmd:command()
    if command == dpm.COM_STMT_CLOSE then
        put(self, id_of(self, cmd), nil)
    elseif command == dpm.COM_RESET_CONNECTION or command == dpm.COM_CHANGE_USER then
        self.by_id, self.count, self.last_id = {}, 0, nil
    end
end

return statement_notes
