-- Which rows of a table are wanted, in which order: LIKE, WHERE, ORDER BY and LIMIT, as a service that lists things
-- understands them.

local errors = require "dpml.support.errors"
local name_filters = require "dpml.text.name_filters"
local slices = require "dpml.tasks.slices"

local selection = {}

local Selection = {}
Selection.__index = Selection

local MOST_SORTED = 100000 -- rows that are kept to be sorted

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
local function sorted(rows, keys, breathe)
    local places = {}
    for i, row in ipairs(rows) do
        places[row] = i
    end
    return slices.sort(rows, function(a, b)
        for _, key in ipairs(keys) do
            local order = compare(a[key.number], b[key.number])
            if order ~= 0 then
                return (order < 0) ~= key.descending
            end
        end
        return places[a] < places[b]
    end, breathe)
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

-- Reads what stands behind the name of a table, up to the end of the statement; nil if that is not understood. Without
-- ORDER BY the largest of the column `default` come first, if there is one.
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
    return setmetatable({ is_wanted = is_wanted, keys = keys, limit = limit, offset = offset }, Selection)
end

local function each_of(rows)
    local at = 0
    return function()
        at = at + 1
        return rows[at]
    end
end

-- The rows that are wanted, in the order in which they come.
local function filtered(self, next_row, breathe)
    return function()
        local row = next_row()
        while row and not self.is_wanted(row) do
            breathe()
            row = next_row()
        end
        breathe()
        return row
    end
end

local function collected(next_row)
    local rows = {}
    for row in next_row do
        rows[#rows + 1] = row
        if #rows > MOST_SORTED then
            error(errors.new(1038, "HY001", ("There are more than %d rows to sort: WHERE leaves some out"):format(MOST_SORTED)), 0)
        end
    end
    return rows
end

-- Of the rows that an iterator returns (arrays), those that are wanted, in their order: likewise an iterator. It is to be
-- called in a task, and works in slices.
function Selection:of(next_row)
    local breathe = slices.new()
    local next_wanted, left, skipped = filtered(self, next_row, breathe), self.limit, 0
    local is_sorted = self.keys[1] == nil
    return function()
        if not is_sorted then
            next_wanted, is_sorted = each_of(sorted(collected(next_wanted), self.keys, breathe)), true
        end
        while skipped < self.offset do
            skipped = skipped + 1
            if not next_wanted() then
                left = 0
            end
        end
        if left > 0 then
            left = left - 1
            breathe()
            return next_wanted()
        end
    end
end

-- An iterator over some of the columns of a result's rows, by their names; and these columns.
function selection.project(columns, next_row, names)
    local numbers, chosen, places = numbers_of(columns), {}, {}
    for i, name in ipairs(names) do
        places[i] = numbers[name:lower()]
        chosen[i] = columns[places[i]]
    end
    return chosen, function()
        local row = next_row()
        if not row then
            return nil
        end
        local some = {}
        for i, place in ipairs(places) do
            some[i] = row[place]
        end
        return some
    end
end

return selection
