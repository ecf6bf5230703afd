-- Tables of limited size, which drop the least recently used entries.

local lru = {}

local Lru = {}
Lru.__index = Lru

local function unlink(entry)
    entry.older.newer, entry.newer.older = entry.newer, entry.older
end

-- Moves it to the newest end of the ring.
local function link_newest(self, entry)
    local ring = self.ring
    entry.newer, entry.older = ring, ring.older
    ring.older.newer = entry
    ring.older = entry
end

-- At most `limit` entries; forgotten(value) is called for each that is dropped.
function lru.new(limit, forgotten)
    local self = setmetatable({ limit = limit, forgotten = forgotten }, Lru)
    self:clear()
    return self
end

-- The value of a key, which counts as a use of it.
function Lru:get(key)
    local entry = self.entries[key]
    if entry then
        unlink(entry)
        link_newest(self, entry)
        return entry.value
    end
end

function Lru:put(key, value)
    local entry = self.entries[key]
    if entry then
        unlink(entry)
    else
        entry = { key = key }
        self.entries[key] = entry
        self.count = self.count + 1
    end
    entry.value = value
    link_newest(self, entry)
    if self.count > self.limit then
        local oldest = self.ring.newer
        unlink(oldest)
        self.entries[oldest.key] = nil
        self.count = self.count - 1
        if self.forgotten then
            self.forgotten(oldest.value)
        end
    end
end

function Lru:clear()
    local ring = {}
    ring.newer, ring.older = ring, ring
    self.ring, self.entries, self.count = ring, {}, 0
end

-- The values, those used last first.
function Lru:values()
    local values, entry = {}, self.ring.older
    while entry ~= self.ring do
        values[#values + 1] = entry.value
        entry = entry.older
    end
    return values
end

return lru
