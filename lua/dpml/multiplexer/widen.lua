-- One column for the values of several, as servers have sent them: values are passed on as they are, so the column has to
-- be one that all of them fit into. As in UNION, numbers become a number; what has nothing in common becomes text, and
-- binary where some of it is no UTF-8, since clients that are told of text decode it.

local bit = require "bit"

local widen = {}

local band, bor = bit.band, bit.bor

local BINARY, TEXT = 63, 45 -- no character set; utf8mb4_general_ci, in which the connections are
local NULL = dpm.MYSQL_TYPE_NULL

-- Integer types from narrow to wide.
local INTEGERS = {
    dpm.MYSQL_TYPE_TINY, dpm.MYSQL_TYPE_SHORT, dpm.MYSQL_TYPE_INT24, dpm.MYSQL_TYPE_LONG, dpm.MYSQL_TYPE_LONGLONG,
}
local RANKS = {}
for rank, type in ipairs(INTEGERS) do
    RANKS[type] = rank
end
local DECIMALS = { [dpm.MYSQL_TYPE_DECIMAL] = true, [dpm.MYSQL_TYPE_NEWDECIMAL] = true }
local FLOATS = { [dpm.MYSQL_TYPE_FLOAT] = true, [dpm.MYSQL_TYPE_DOUBLE] = true }
local MOMENTS = { [dpm.MYSQL_TYPE_DATETIME] = true, [dpm.MYSQL_TYPE_TIMESTAMP] = true }

-- Types whose values are ASCII, whatever their character set says.
local ASCII = {}
for _, name in ipairs { "DATE", "NEWDATE", "TIME", "DATETIME", "TIMESTAMP", "YEAR" } do
    ASCII[dpm["MYSQL_TYPE_" .. name]] = true
end
for _, types in ipairs { RANKS, DECIMALS, FLOATS } do
    for type in pairs(types) do
        ASCII[type] = true
    end
end

-- Numbers of collations of ASCII and UTF-8, of both servers.
local UTF8 = {
    { 11, 11 }, { 33, 33 }, { 45, 46 }, { 65, 65 }, { 76, 76 }, { 83, 83 }, { 192, 215 }, { 223, 247 }, { 255, 323 },
    { 576, 578 }, { 608, 610 }, { 1035, 1035 }, { 1057, 1057 }, { 1069, 1070 }, { 1089, 1089 }, { 1107, 1107 },
    { 1216, 1238 }, { 1248, 1270 }, { 2048, 2559 },
}

local function is_utf8(column)
    if ASCII[column.type] or column.type == dpm.MYSQL_TYPE_JSON then
        return true
    end
    for _, range in ipairs(UTF8) do
        if column.charset_number >= range[1] and column.charset_number <= range[2] then
            return true
        end
    end
    return false
end

local function is_unsigned(column)
    return band(column.flags, dpm.UNSIGNED_FLAG) ~= 0
end

-- The type for integers of both; nil if they are not both integers.
local function integers(a, b)
    local rank, other = RANKS[a.type], RANKS[b.type]
    if not rank or not other then
        return nil
    elseif is_unsigned(a) ~= is_unsigned(b) then
        -- A signed one that the highest of the unsigned fits into.
        local unsigned = is_unsigned(a) and rank or other
        return INTEGERS[math.max(rank, other, unsigned + 1)] or dpm.MYSQL_TYPE_NEWDECIMAL
    end
    return INTEGERS[math.max(rank, other)]
end

local function is_number(column)
    return RANKS[column.type] or DECIMALS[column.type] or FLOATS[column.type]
end

-- The type for the values of both; nil if they have none in common.
local function common_type(a, b)
    if a.type == b.type and not RANKS[a.type] then
        return a.type
    elseif is_number(a) and is_number(b) then
        local floats = FLOATS[a.type] or FLOATS[b.type]
        return integers(a, b) or floats and dpm.MYSQL_TYPE_DOUBLE or dpm.MYSQL_TYPE_NEWDECIMAL
    elseif MOMENTS[a.type] and MOMENTS[b.type] then
        return dpm.MYSQL_TYPE_DATETIME
    end
end

-- How many digits are behind the point: 31 says that they vary.
local function common_decimals(type, a, b)
    if type == dpm.MYSQL_TYPE_DOUBLE and a.type ~= b.type then
        return 31
    end
    return math.max(a.decimals, b.decimals)
end

-- The character set of a column of this type, or of text.
local function common_charset(type, a, b)
    if type and is_number({ type = type }) then
        return BINARY -- as servers say of numbers
    elseif type and a.charset_number == b.charset_number then
        return a.charset_number
    elseif is_utf8(a) and is_utf8(b) then
        return TEXT
    end
    return a.charset_number == b.charset_number and a.charset_number or BINARY
end

-- Attributes that the library's own columns may lack.
local function complete(column)
    column.length, column.decimals, column.flags = column.length or 0, column.decimals or 0, column.flags or 0
    column.charset_number = column.charset_number or (ASCII[column.type] and BINARY or TEXT)
end

-- Flags that say the same of values of any server.
local OF_TEXT = dpm.NOT_NULL_FLAG
local OF_TYPE = OF_TEXT + dpm.UNSIGNED_FLAG + dpm.ZEROFILL_FLAG + dpm.BLOB_FLAG + dpm.ENUM_FLAG + dpm.SET_FLAG

local COPIED = { "type", "charset_number", "decimals", "length", "flags", "extended" }

-- Changes `column` into one that the values of `other` fit into, too.
function widen.widen(column, other)
    complete(column)
    complete(other)
    if other.type == NULL then
        column.flags = band(column.flags, bit.bnot(dpm.NOT_NULL_FLAG))
        return
    elseif column.type == NULL then
        for _, name in ipairs(COPIED) do
            column[name] = other[name]
        end
        column.flags = band(column.flags, bit.bnot(dpm.NOT_NULL_FLAG))
        return
    end
    local type = common_type(column, other)
    local charset = common_charset(type, column, other)
    local flags = band(column.flags, other.flags, type and OF_TYPE or OF_TEXT)
    column.decimals = type and common_decimals(type, column, other) or 0
    column.length = math.max(column.length, other.length)
    column.type, column.charset_number = type or dpm.MYSQL_TYPE_VAR_STRING, charset
    column.flags = charset == BINARY and bor(flags, dpm.BINARY_FLAG) or flags
    if (column.extended or "") ~= (other.extended or "") or not type then
        column.extended = ""
    end
end

return widen
