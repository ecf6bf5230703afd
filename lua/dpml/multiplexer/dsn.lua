-- The arguments of ADD DB: host=…,port=…,user=…

local addresses = require "dpml.servers.addresses"
local errors = require "dpml.support.errors"
local scanner = require "dpml.text.scanner"

local dsn = {}

local KEYS = {
    host = true, port = true, path = true, user = true, password = true, database = true, name = true, group = true,
    tls = true,
}
local LIST = "host, port, path, user, password, database, name, group and tls"
local SHOWN = 80 -- bytes of a text of a client's that errors show
local LONGEST_NAME = 255
local LONGEST = 8192 -- bytes of what ADD DB says of a server
local TODAYS = { pass = "password", db = "database" } -- R6's words

-- Of the client's texts it shows the beginning.
function dsn.problem(message, ...)
    local shown = { ... }
    for i, each in ipairs(shown) do
        shown[i] = type(each) == "string" and each:sub(1, SHOWN) or each
    end
    return errors.new(1064, "42000", message:format(unpack(shown)))
end

-- One value, quoted or up to the next comma; nil if its quote is not closed.
local function take_value(text, at)
    local quote = text:match("^['\"]", at)
    if not quote then
        local value, stop = text:match("^([^,]*)()", at)
        return scanner.trimmed(value), stop
    end
    local parts, from = {}, at + 1
    while true do
        local stop = text:find(quote, from, true)
        if not stop then
            return nil
        end
        parts[#parts + 1] = text:sub(from, stop - 1)
        if text:sub(stop + 1, stop + 1) ~= quote then
            return table.concat(parts), stop + 1
        end
        parts[#parts + 1] = quote -- two in a row stand for one
        from = stop + 2
    end
end

-- The key and value pairs of the text, unchecked.
function dsn.pairs_of(text)
    local found, at = {}, 1
    while true do
        local key, stop = text:match("^%s*([%a_]+)%s*=%s*()", at)
        if not key then
            return nil, dsn.problem("ADD DB: expected key=value near '%s'", text:sub(at, at + 40))
        end
        local given = key:lower()
        key = TODAYS[given] or given
        if not KEYS[key] then
            return nil, dsn.problem("ADD DB: there is no key '%s', only " .. LIST, given)
        elseif found[key] then
            return nil, dsn.problem("ADD DB: '%s' is given twice", given)
        end
        local value, behind = take_value(text, stop)
        if not value then
            return nil, dsn.problem("ADD DB: the value of '%s' has no closing quote", given)
        end
        found[key] = value
        at = text:match("^%s*()", behind)
        if at > #text then
            return found
        elseif text:sub(at, at) ~= "," then
            return nil, dsn.problem("ADD DB: expected a comma near '%s'", text:sub(at, at + 40))
        end
        at = at + 1
    end
end

-- "a+b" or { "a", "b" } as a list.
local function groups_of(group)
    if type(group) == "table" then
        local groups = {}
        for i = 1, table.maxn(group) do
            if type(group[i]) ~= "string" then
                return nil, dsn.problem("group: expected names, got %s", type(group[i]))
            end
            groups[i] = group[i]
        end
        return groups
    elseif group ~= nil and type(group) ~= "string" then
        return nil, dsn.problem("group: expected a name or a list of names, got %s", type(group))
    end
    local groups = {}
    for name in (group or ""):gmatch("[^+%s]+") do
        groups[#groups + 1] = name
    end
    return groups
end

-- A server in the fleet's form, from a table such as the fleet's file has; nil and an error if it is not valid.
function dsn.of_table(entry)
    entry = addresses.named(entry)
    for older, todays in pairs(TODAYS) do
        if entry[todays] == nil then
            entry[todays], entry[older] = entry[older], nil
        end
    end
    for key in pairs(entry) do
        if not KEYS[key] then
            return nil, dsn.problem("there is no key '%s', only " .. LIST, tostring(key))
        end
    end
    for _, key in ipairs { "host", "path", "user", "password", "database", "name" } do
        if entry[key] ~= nil and type(entry[key]) ~= "string" then
            return nil, dsn.problem("%s: expected a string, got %s", key, type(entry[key]))
        end
    end
    if not entry.host and not entry.path then
        return nil, dsn.problem("ADD DB: neither host nor path is given")
    end
    local port = tonumber(entry.port or 3306)
    if not port or port ~= math.floor(port) or port < 1 or port > 65535 then
        return nil, dsn.problem("ADD DB: port: expected a number from 1 to 65535, got '%s'", tostring(entry.port))
    end
    local groups, problem = groups_of(entry.group)
    if not groups then
        return nil, problem
    end
    local names = { entry.name or entry.host or entry.path }
    for _, name in ipairs(groups) do
        names[#names + 1] = name
    end
    for _, name in ipairs(names) do
        if name == "" or name:find("[%s,;]") or #name > LONGEST_NAME then
            return nil, dsn.problem("ADD DB: '%s': names have no blanks, commas or semicolons, and at most %d bytes",
                name, LONGEST_NAME)
        end
    end
    return {
        host = entry.host or "localhost", port = port, path = entry.path,
        user = entry.user, password = entry.password, database = entry.database, tls = entry.tls,
        name = entry.name, groups = groups,
    }
end

-- The same from the text of ADD DB.
function dsn.parse(text)
    if #text > LONGEST then
        return nil, dsn.problem("ADD DB: it has at most %d bytes", LONGEST)
    end
    local found, err = dsn.pairs_of(text)
    if not found then
        return nil, err
    end
    return dsn.of_table(found)
end

return dsn
