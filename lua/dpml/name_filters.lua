-- The LIKE and WHERE behind SHOW VARIABLES and its like.

local like = require "dpml.like"

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

-- column = 'a', column LIKE 'a%', column IN ('a', 'b'), and the same with NOT. Like all below, the function of a row
-- that judges it; nil if it is not understood.
local function comparison(reader, columns)
    local name = reader:name()
    local number = name and columns[name:lower()]
    local negated = reader:take("NOT") ~= nil
    local judge
    if reader:take("LIKE") then
        local pattern = reader:pattern()
        judge = pattern and like.matcher(pattern)
    elseif reader:take("IN") then
        local values = list_of_constants(reader)
        judge = values and function(value) return values[value:lower()] ~= nil end
    elseif not negated then
        negated = (reader:take("<>") or reader:take("!=")) ~= nil
        local wanted = (negated or reader:take("=")) and constant(reader)
        judge = wanted and function(value) return value:lower() == wanted:lower() end
    end
    return number and judge and function(row)
        return judge(tostring(row[number])) ~= negated
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

-- Reads LIKE 'pattern', which is about the first column, or WHERE and a condition, or nothing, up to the end of the
-- statement. Returns the function of a row (an array) that says whether it is wanted; nil if that is not understood.
-- `names` are the columns'.
function name_filters.read(reader, names)
    local judge = function() return true end
    if reader:take("LIKE") then
        local pattern = reader:pattern()
        local matches = pattern and like.matcher(pattern)
        judge = matches and function(row) return matches(row[1]) end
    elseif reader:take("WHERE") then
        local columns = {}
        for i, name in ipairs(names) do
            columns[name:lower()] = i
        end
        judge = condition(reader, columns)
    end
    return #reader.sql <= LONGEST and reader:at_end() and judge or nil
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
