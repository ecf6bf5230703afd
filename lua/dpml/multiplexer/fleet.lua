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

-- The label: the name, or the host, or host:port if another server has the host as its label.
local function label_for(self, dsn)
    local label = dsn.name or (dsn.path and dsn.path) or dsn.host
    if not dsn.name and self.members[label] then
        label = dsn.host .. ":" .. dsn.port
    end
    return label
end

local RESERVED = { ALL = true }

-- Adds a server, as dpml.multiplexer.dsn has made it; nil and an error if there is one of that name.
function Fleet:add(dsn)
    local label = label_for(self, dsn)
    if self.members[label] then
        return nil, dsn_of.problem("ADD DB: there is a server '%s' already", label)
    elseif self.groups[label] or RESERVED[label:upper()] then
        return nil, dsn_of.problem("ADD DB: '%s' is the name of a group", label)
    end
    for _, name in ipairs(dsn.groups) do
        if self.members[name] or RESERVED[name:upper()] then
            return nil, dsn_of.problem("ADD DB: group: '%s' is no name for a group", name)
        end
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

local function same(a, b)
    for _, key in ipairs { "host", "port", "path", "user", "password", "database", "tls", "name" } do
        if a[key] ~= b[key] then
            return false
        end
    end
    return table.concat(a.groups, "+") == table.concat(b.groups, "+")
end

-- Makes the fleet match a list of tables, { { host =, … }, … }. Unchanged servers keep their connections, and
-- servers that ADD DB has added stay. Returns nil, or the first error.
function Fleet:load(list)
    local wanted, problem = {}, nil
    for _, entry in ipairs(list) do
        local dsn, err = dsn_of.of_table(entry)
        if dsn then
            wanted[#wanted + 1] = dsn
        else
            problem = problem or err
        end
    end
    if problem then
        return problem
    end
    local kept = {}
    for _, label in ipairs({ unpack(self.order) }) do
        local dsn = self.members[label].dsn
        local still = not dsn.from_file
        for i, each in ipairs(wanted) do
            if dsn.from_file and not kept[i] and same(dsn, each) then
                still, kept[i] = true, true
                break
            end
        end
        if not still then
            self:remove(label)
        end
    end
    for i, dsn in ipairs(wanted) do
        if not kept[i] then
            dsn.from_file = true
            local label, err = self:add(dsn)
            problem = problem or (not label and err or nil)
        end
    end
    return problem
end

return fleet
