-- What a firewall knows of its clients' sessions: how the server reads their texts (where strings and names end), and
-- whether they are in a database that is allowed.
--
-- A command changes this only if it succeeds, which is known when the next one comes.

local charsets = require "dpml.support.charsets"
local records = require "dpml.support.records"

local sessions = {}

local Sessions = {}
Sessions.__index = Sessions

local INITIAL = { no_backslash_escapes = false, ansi_quotes = false, charset = "utf8mb4" }

-- What is known if it is one or the other.
local function common(one, other)
    local mode = {}
    for name, value in pairs(one) do
        if other[name] == value then
            mode[name] = value
        end
    end
    return mode
end

local function is_same(one, other)
    return one.no_backslash_escapes == other.no_backslash_escapes and one.ansi_quotes == other.ansi_quotes
        and one.charset == other.charset
end

-- A session after its login with this collation.
local function begun(collation)
    local first = charsets.has_halves(collation or 0) and { no_backslash_escapes = false, ansi_quotes = false } or INITIAL
    return { mode = first, first = first }
end

local START = begun(0)

-- The same session, but for this.
local function with(session, changes)
    local changed = {}
    for _, from in ipairs { session, changes } do
        for name, value in pairs(from) do
            changed[name] = value
        end
    end
    return changed
end

function sessions.new()
    return setmetatable({ by_client = {}, expected = {}, otherwise = {} }, Sessions)
end

-- The session of a client, all of whose commands are answered: { mode =, prepared =, outside = }.
function Sessions:of(client_id)
    local expected = self.expected[client_id]
    if expected then
        self.by_client[client_id] = expected
        self.expected[client_id], self.otherwise[client_id] = nil, nil
    end
    return self.by_client[client_id] or START
end

-- How its texts are read, as the options of dpm.digest. What statements that it has prepared may do to that when they
-- are executed is as good as done.
function Sessions:mode(client_id)
    local session = self:of(client_id)
    return session.prepared and common(session.mode, session.prepared) or session.mode
end

-- The session that a command leaves if it succeeds, and if it fails.
local function expect(self, client_id, success, failure)
    self.by_client[client_id] = self:of(client_id)
    self.expected[client_id], self.otherwise[client_id] = success, failure
end

-- The client has logged in.
function Sessions:begin(client_id, collation, is_outside)
    local session = begun(collation)
    if session.first ~= INITIAL or is_outside or self.by_client[client_id] then
        self.by_client[client_id] = with(session, { outside = is_outside or nil })
        self.expected[client_id] = nil
    end
end

-- It becomes another user, in a database that is allowed, or in none.
function Sessions:change_user(client_id, collation)
    expect(self, client_id, begun(collation), self:of(client_id))
end

function Sessions:reset(client_id)
    local session = self:of(client_id)
    if session ~= START then
        expect(self, client_id, { mode = session.first, first = session.first, outside = session.outside }, session)
    end
end

-- It enters an allowed database.
function Sessions:use(client_id)
    local session = self:of(client_id)
    if session.outside then
        local inside = with(session, {})
        inside.outside = nil
        expect(self, client_id, inside, session)
    end
end

-- It executes this text, or prepares it.
function Sessions:run(client_id, sql, is_prepared)
    local session, mode = self:of(client_id), self:mode(client_id)
    local after = dpm.mode_after(sql, mode)
    if is_same(after, mode) then
        return
    elseif is_prepared then
        self.by_client[client_id] = with(session, { prepared = session.prepared and common(session.prepared, after) or after })
    else
        -- Of several statements those before the one that fails have been executed.
        expect(self, client_id, with(session, { mode = after }), with(session, { mode = common(mode, after) }))
    end
end

-- The current command has failed.
function Sessions:failed(client_id)
    if self.expected[client_id] then
        self.expected[client_id] = self.otherwise[client_id]
    end
end

-- What is known of a client all of whose commands are answered, as a string.
function Sessions:save(client_id)
    return records.write(self:of(client_id))
end

-- A client comes of which this is known.
function Sessions:restore(client_id, saved)
    local session, why = records.read(saved)
    if not session or type(session.mode) ~= "table" or type(session.first) ~= "table" then
        error(("the session of a client is not understood: %s"):format(why or "it is not complete"), 0)
    end
    self.by_client[client_id] = session
end

function Sessions:forget(client_id)
    self.by_client[client_id], self.expected[client_id], self.otherwise[client_id] = nil, nil, nil
end

return sessions
