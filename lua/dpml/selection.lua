-- Which rows of a table are wanted, in which order: LIKE, WHERE, ORDER BY and LIMIT, as a service that lists things
-- understands them.

local errors = require "dpml.errors"
local name_filters = require "dpml.name_filters"

local selection = {}

-- `columns` are as in a result, each a table with its name.
local function unknown_column(name, columns)
    local names = {}
    for i, column in ipairs(columns) do
        names[i] = column.name
    end
    return errors.new(1054, "42S22", ("Unknown column '%s'; there are %s"):format(name, table.concat(names, ", ")))
end

-- The numbers of columns by their names in lower case; a name that is not there is an error.
local function numbers_of(columns)
    local numbers = {}
    for i, column in ipairs(columns) do
        numbers[column.name:lower()] = i
    end
    return setmetatable(numbers, { __index = function(_, name)
        error(unknown_column(name, columns), 0)
    end })
end

-- NULL comes before all else, as in servers.
local function compare(a, b)
    if a == b then
        return 0
    elseif a == nil or b == nil then
        return a == nil and -1 or 1
    elseif type(a) ~= type(b) then
        a, b = tostring(a), tostring(b)
    end
    return a < b and -1 or a > b and 1 or 0
end

-- Rows that are equal keep their order.
local function sort(rows, keys)
    local places = {}
    for i, row in ipairs(rows) do
        places[row] = i
    end
    table.sort(rows, function(a, b)
        for _, key in ipairs(keys) do
            local order = compare(a[key.number], b[key.number])
            if order ~= 0 then
                return (order < 0) ~= key.descending
            end
        end
        return places[a] < places[b]
    end)
end

-- ORDER BY a [ASC | DESC], b …: the keys, none if there is no such clause; nil if it is not understood.
local function take_order(reader, numbers)
    local keys = {}
    if not reader:take_all("ORDER", "BY") then
        return keys
    end
    repeat
        local name = reader:name()
        if not name then
            return nil
        end
        local descending = reader:take("DESC") ~= nil
        if not descending then
            reader:take("ASC")
        end
        keys[#keys + 1] = { number = numbers[name:lower()], descending = descending }
    until not reader:take(",")
    return keys
end

local function take_count(reader)
    local token = reader:take_kind("number")
    return token and token.text:find("^%d+$") and tonumber(token.text)
end

-- LIMIT n, LIMIT n OFFSET m, LIMIT m, n: how many rows, and how many are left out before them; nil if it is not
-- understood.
local function take_limit(reader)
    if not reader:take("LIMIT") then
        return math.huge, 0
    end
    local first = take_count(reader)
    if first and reader:take(",") then
        return take_count(reader), first
    elseif first and reader:take("OFFSET") then
        local offset = take_count(reader)
        return offset and first, offset
    end
    return first, 0
end

-- Reads what stands behind the name of a table, up to the end of the statement. Returns the function of the table's rows
-- (arrays) that returns those that are wanted, in their order; nil if that is not understood. Without ORDER BY the largest
-- of the column `default` come first, if there is one.
function selection.read(reader, columns, default)
    local numbers = numbers_of(columns)
    local is_wanted = name_filters.take(reader, numbers)
    local keys = is_wanted and take_order(reader, numbers)
    if not keys then
        return nil
    end
    local limit, offset = take_limit(reader)
    if not limit or not reader:at_end() then
        return nil
    end
    if not keys[1] and default then
        keys[1] = { number = numbers[default:lower()], descending = true }
    end
    return function(rows)
        local found, chosen = {}, {}
        for _, row in ipairs(rows) do
            if is_wanted(row) then
                found[#found + 1] = row
            end
        end
        sort(found, keys)
        for i = offset + 1, math.min(#found, offset + limit) do
            chosen[#chosen + 1] = found[i]
        end
        return chosen
    end
end

-- Some of the columns of a result, by their names.
function selection.project(result, names)
    local numbers, columns, rows = numbers_of(result.columns), {}, {}
    for i, name in ipairs(names) do
        columns[i] = result.columns[numbers[name:lower()]]
    end
    for i, row in ipairs(result.rows) do
        rows[i] = {}
        for place, name in ipairs(names) do
            rows[i][place] = row[numbers[name:lower()]]
        end
    end
    return { columns = columns, rows = rows }
end

return selection
