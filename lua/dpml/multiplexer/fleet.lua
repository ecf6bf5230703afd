-- The fleet: the servers by their labels, and their groups.

local dsn_of = require "dpml.multiplexer.dsn"
local member = require "dpml.multiplexer.member"

local fleet = {}

local Fleet = {}
Fleet.__index = Fleet

function fleet.new()
    return setmetatable({ members = {}, order = {}, groups = {}, memberships = 0 }, Fleet)
end

local function join(self, name, label)
    local labels = self.groups[name] or {}
    self.groups[name] = labels
    self.memberships = self.memberships + (labels[label] and 0 or 1)
    labels[label] = true
end

-- Whether there is room for so many more servers, and servers in groups; else the error. Clients may ask for any number.
function Fleet:check_room(limits, servers, memberships)
    if #self.order + servers > limits.members then
        return dsn_of.problem("ADD DB: there are %d servers, and may be no more: members, of the limits", #self.order)
    elseif self.memberships + memberships > limits.memberships then
        return dsn_of.problem("There are %d servers in groups, and may be no more than %d: memberships, of the limits",
            self.memberships, limits.memberships)
    end
end

-- A fleet's names alone, without the servers: for trying what would become of it.
local function names_of(self, keeps)
    local names = { members = {}, groups = {} }
    for label, server in pairs(self.members) do
        if keeps(server) then
            names.members[label] = true
            for _, name in ipairs(server.dsn.groups) do
                names.groups[name] = true
            end
        end
    end
    for name, labels in pairs(self.groups) do -- ADD GROUP puts servers into further groups
        for label in pairs(labels) do
            names.groups[name] = names.groups[name] or names.members[label]
        end
    end
    return names
end

-- The label: the name, or the host, or host:port if another server has the host as its label.
local function label_for(self, dsn)
    local label = dsn.name or dsn.path or dsn.host
    if not dsn.name and self.members[label] then
        label = dsn.host .. ":" .. dsn.port
    end
    return label
end

local RESERVED = { ALL = true }

-- The label for a server; nil and an error if its names are taken. `names` is a fleet, or its names.
local function free_label(names, dsn)
    local label = label_for(names, dsn)
    if names.members[label] then
        return nil, dsn_of.problem("ADD DB: there is a server '%s' already", label)
    elseif names.groups[label] or RESERVED[label:upper()] then
        return nil, dsn_of.problem("ADD DB: '%s' is the name of a group", label)
    end
    for _, name in ipairs(dsn.groups) do
        if names.members[name] or name == label or RESERVED[name:upper()] then
            return nil, dsn_of.problem("ADD DB: group: '%s' is no name for a group", name)
        end
    end
    return label
end

-- Adds a server, as dpml.multiplexer.dsn has made it; nil and an error if there is one of that name.
function Fleet:add(dsn)
    local label, problem = free_label(self, dsn)
    if not label then
        return nil, problem
    end
    self.members[label] = member.new(label, dsn)
    self.order[#self.order + 1] = label
    for _, name in ipairs(dsn.groups) do
        join(self, name, label)
    end
    return label
end

-- Removes the server of this label; false if there is none.
function Fleet:remove(label)
    local gone = self.members[label]
    if not gone then
        return false
    end
    self.members[label] = nil
    for i, each in ipairs(self.order) do
        if each == label then
            table.remove(self.order, i)
            break
        end
    end
    for name, labels in pairs(self.groups) do
        self.memberships = self.memberships - (labels[label] and 1 or 0)
        labels[label] = nil
        if next(labels) == nil then
            self.groups[name] = nil
        end
    end
    gone:remove()
    return true
end

-- Puts servers into a group; nil and an error if one of them does not exist.
function Fleet:add_group(name, labels)
    if self.members[name] or RESERVED[name:upper()] then
        return nil, dsn_of.problem("ADD GROUP: '%s' is no name for a group", name)
    end
    for _, label in ipairs(labels) do
        if not self.members[label] then
            return nil, dsn_of.problem("ADD GROUP: there is no server '%s'", label)
        end
    end
    for _, label in ipairs(labels) do
        join(self, name, label)
    end
    return #labels
end

-- The servers of ALL, a group, a label or a list of these, in the order in which they were added; nil and an
-- error if one is unknown.
function Fleet:resolve(text)
    local wanted, seen = {}, {}
    for name in text:gmatch("[^,%s]+") do
        local labels = name:upper() == "ALL" and self.members or self.groups[name] or self.members[name] and { [name] = true }
        if not labels then
            return nil, dsn_of.problem("There is no group and no server '%s'", name)
        end
        -- A group may be named any number of times.
        for label in pairs(seen[name] and {} or labels) do
            wanted[label] = true
        end
        seen[name] = true
    end
    local found = {}
    for _, label in ipairs(self.order) do
        if wanted[label] then
            found[#found + 1] = self.members[label]
        end
    end
    return found
end

-- All servers, in the order in which they were added.
function Fleet:all()
    return self:resolve("ALL")
end

-- What two servers have in common if they are the same: a fleet may have thousands.
local function signature(dsn)
    local parts = { table.concat(dsn.groups, "+") }
    for _, key in ipairs { "host", "port", "path", "user", "password", "database", "tls", "name" } do
        local value = tostring(dsn[key] or "")
        parts[#parts + 1] = #value .. ":" .. value
    end
    return table.concat(parts, ",")
end

-- The servers of a list; nil and the first error.
local function read_list(list)
    local wanted, count = {}, table.maxn(list)
    for key in pairs(list) do
        if key ~= "users" and not (type(key) == "number" and key >= 1 and key == math.floor(key)) then
            return nil, dsn_of.problem("there is no key '%s' in a fleet, only servers and users", tostring(key))
        end
    end
    if list.users ~= nil and type(list.users) ~= "table" then
        return nil, dsn_of.problem("users: expected a table, got %s", type(list.users))
    end
    for i = 1, count do -- a hole is a server whose variable was misspelt
        if type(list[i]) ~= "table" then
            return nil, dsn_of.problem("server %d of %d: expected a table, got %s", i, count, type(list[i]))
        end
        local dsn, problem = dsn_of.of_table(list[i])
        if not dsn then
            return nil, problem
        end
        dsn.from_file = true
        wanted[i] = dsn
    end
    return wanted
end

-- Which of the servers in this fleet are still wanted, as a set, and which of the wanted ones are new, as a list.
local function compare(self, wanted)
    local kept, taken, new, by_signature = {}, {}, {}, {}
    for i = #wanted, 1, -1 do
        local key = signature(wanted[i])
        by_signature[key] = by_signature[key] or {}
        table.insert(by_signature[key], i)
    end
    for _, label in ipairs(self.order) do
        local server = self.members[label]
        local same = server.dsn.from_file and by_signature[signature(server.dsn)]
        local i = same and table.remove(same)
        kept[server] = i ~= nil or not server.dsn.from_file
        taken[i or 0] = true
    end
    for i, dsn in ipairs(wanted) do
        if not taken[i] then
            new[#new + 1] = dsn
        end
    end
    return kept, new
end

-- Makes the fleet match a list of tables, { { host =, … }, … }. Unchanged servers keep their connections, and
-- servers that ADD DB has added stay. Returns nil; or the first error, and nothing has changed.
function Fleet:load(list)
    local wanted, problem = read_list(list)
    if not wanted then
        return problem
    end
    local kept, new = compare(self, wanted)
    local names = names_of(self, function(server) return kept[server] end)
    for _, dsn in ipairs(new) do
        local label, taken = free_label(names, dsn)
        if not label then
            return taken
        end
        names.members[label] = true
        for _, name in ipairs(dsn.groups) do
            names.groups[name] = true
        end
    end
    for i = #self.order, 1, -1 do
        local label = self.order[i]
        if not kept[self.members[label]] then
            self:remove(label)
        end
    end
    for _, dsn in ipairs(new) do
        self:add(dsn)
    end
end

return fleet
