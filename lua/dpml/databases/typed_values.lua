-- The values of prepared statements' rows, as Lua's numbers where they are numbers. Others stay texts: decimals, which
-- have more digits than Lua's numbers, dates, and integers beyond 2^53.

local typed_values = {}

local INTEGERS = {
    [dpm.MYSQL_TYPE_TINY] = true, [dpm.MYSQL_TYPE_SHORT] = true, [dpm.MYSQL_TYPE_INT24] = true,
    [dpm.MYSQL_TYPE_LONG] = true, [dpm.MYSQL_TYPE_LONGLONG] = true, [dpm.MYSQL_TYPE_YEAR] = true,
}
local FLOATS = { [dpm.MYSQL_TYPE_FLOAT] = true, [dpm.MYSQL_TYPE_DOUBLE] = true }

local EXACT = 2 ^ 53

local function integer(text)
    local number = tonumber(text)
    return number and number >= -EXACT and number <= EXACT and number or text
end

-- The function that converts a row of these columns in place; nil if no column is of numbers.
function typed_values.converter(fields)
    local numbers, of = {}, {}
    for i, field in ipairs(fields) do
        if INTEGERS[field.type] or FLOATS[field.type] then
            numbers[#numbers + 1] = i
            of[i] = INTEGERS[field.type] and integer or tonumber
        end
    end
    return numbers[1] and function(row)
        for _, i in ipairs(numbers) do
            local value = row[i]
            if value ~= nil then
                row[i] = of[i](value)
            end
        end
    end or nil
end

return typed_values
