-- The LIKE and WHERE behind SHOW VARIABLES and its like.

local like = require "dpml.text.like"

local name_filters = {}

-- Clients may send texts of any length, and a pattern is matched with many names.
local LONGEST = 4096 -- bytes of a statement whose condition is read

local function constant(reader)
    local number = reader:take_kind("number")
    return number and number.text or reader:text()
end

-- ('a', 'b')
local function list_of_constants(reader)
    local values = {}
    if not reader:take("(") then
        return nil
    end
    repeat
        local value = constant(reader)
        if not value then
            return nil
        end
        values[value:lower()] = true
    until not reader:take(",")
    return reader:take(")") and values
end

-- A number is compared with a number, all else as text, regardless of case.
local function comparable(value, constant_text)
    local number = type(value) == "number" and tonumber(constant_text)
    if number then
        return value, number
    end
    return tostring(value):lower(), constant_text:lower()
end

local OPERATORS = {
    ["="] = function(a, b) return a == b end,
    ["<>"] = function(a, b) return a ~= b end,
    ["!="] = function(a, b) return a ~= b end,
    ["<"] = function(a, b) return a < b end,
    [">"] = function(a, b) return a > b end,
    ["<="] = function(a, b) return a <= b end,
    [">="] = function(a, b) return a >= b end,
}

-- = 'a' and the like: the function of a value that judges it.
local function with_operator(reader)
    for operator, compare in pairs(OPERATORS) do
        if reader:take(operator) then
            local wanted = constant(reader)
            return wanted and function(value) return compare(comparable(value, wanted)) end
        end
    end
end

-- LIKE 'a%' and IN ('a', 'b'), likewise.
local function with_word(reader)
    if reader:take("LIKE") then
        local pattern = reader:pattern()
        local matches = pattern and like.matcher(pattern)
        return matches and function(value) return matches(tostring(value)) end
    elseif reader:take("IN") then
        local values = list_of_constants(reader)
        return values and function(value) return values[tostring(value):lower()] ~= nil end
    end
end

local function is_null(value)
    return value == nil or value == dpm.NULL
end

-- A column and what is asked of it, also with NOT. Like all below, the function of a row that judges it; nil if it is not
-- understood. Of NULL nothing is true but IS NULL.
local function comparison(reader, columns)
    local name = reader:name()
    local number = name and columns[name:lower()]
    if not number then
        return nil
    elseif reader:take("IS") then
        local wanted = reader:take("NOT") == nil
        return reader:take("NULL") and function(row) return is_null(row[number]) == wanted end
    end
    local negated = reader:take("NOT") ~= nil
    local judge = with_word(reader) or not negated and with_operator(reader)
    return judge and function(row)
        return not is_null(row[number]) and judge(row[number]) ~= negated
    end
end

local condition

local function operand(reader, columns)
    if not reader:take("(") then
        return comparison(reader, columns)
    end
    local judge = condition(reader, columns)
    return reader:take(")") and judge
end

local function all_of(reader, columns)
    local judge = operand(reader, columns)
    while judge and (reader:take("AND") or reader:take("&&")) do
        local left, right = judge, operand(reader, columns)
        judge = right and function(row) return left(row) and right(row) end
    end
    return judge
end

function condition(reader, columns)
    local judge = all_of(reader, columns)
    while judge and (reader:take("OR") or reader:take("||")) do
        local left, right = judge, all_of(reader, columns)
        judge = right and function(row) return left(row) or right(row) end
    end
    return judge
end

-- Reads LIKE 'pattern', which is about the first column, or WHERE and a condition, or nothing. Returns the function of a
-- row (an array) that says whether it is wanted; nil if that is not understood. `columns` are the numbers of the columns
-- by their names in lower case.
function name_filters.take(reader, columns)
    if #reader.sql > LONGEST then
        return nil
    elseif reader:take("LIKE") then
        local pattern = reader:pattern()
        local matches = pattern and like.matcher(pattern)
        return matches and function(row) return matches(tostring(row[1])) end
    elseif reader:take("WHERE") then
        return condition(reader, columns)
    end
    return function() return true end
end

-- The same up to the end of the statement. `names` are the columns'.
function name_filters.read(reader, names)
    local columns = {}
    for i, name in ipairs(names) do
        columns[name:lower()] = i
    end
    local judge = name_filters.take(reader, columns)
    return reader:at_end() and judge or nil
end

-- The rows that are wanted by what the reader stands before, as a result; nil if that is not understood.
function name_filters.result(reader, names, rows)
    local is_wanted = name_filters.read(reader, names)
    if not is_wanted then
        return nil
    end
    local wanted = {}
    for _, row in ipairs(rows) do
        if is_wanted(row) then
            wanted[#wanted + 1] = row
        end
    end
    return { fields = names, rows = wanted }
end

return name_filters
