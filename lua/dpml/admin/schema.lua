-- What graphical clients ask of a server's schema: which tables there are, and which columns.

local errors = require "dpml.support.errors"

local schema = {}

-- The types of columns as servers tell them.
local TYPES = {
    [dpm.MYSQL_TYPE_VAR_STRING] = "varchar(4096)", [dpm.MYSQL_TYPE_LONGLONG] = "bigint", [dpm.MYSQL_TYPE_DOUBLE] = "double",
    [dpm.MYSQL_TYPE_DATETIME] = "datetime",
}

-- Columns of texts.
function schema.texts(names)
    local columns = {}
    for i, name in ipairs(names) do
        columns[i] = { name = name, type = dpm.MYSQL_TYPE_VAR_STRING }
    end
    return columns
end

-- FROM or IN a database, which is ignored: there is only one.
local function take_database(reader)
    if reader:take("FROM") or reader:take("IN") then
        return reader:name()
    end
end

local function tables(context, reader, full, list_result)
    take_database(reader)
    local rows, titles = {}, { "Tables_in_" .. context.database, full and "Table_type" or nil }
    for i, each in ipairs(context.tables()) do
        rows[i] = { each.name, full and "BASE TABLE" or nil }
    end
    return list_result(reader, schema.texts(titles), rows)
end

-- The meanings of columns by their titles.
local function meanings(its)
    local by_title = {}
    for _, column in ipairs(its.all) do
        by_title[column.name:lower()] = column.help
    end
    return by_title
end

local function columns_of(context, name, reader, full, table_named, list_result)
    local its = table_named(context, name:lower())
    if not its then
        error(errors.new(1146, "42S02", ("Table '%s.%s' doesn't exist; SHOW TABLES lists those that do"):format(
            context.database, name)), 0)
    end
    local rows, help = {}, meanings(its)
    for i, column in ipairs(its:columns()) do
        local meaning = help[column.name:lower()] or ""
        if full then
            rows[i] = { column.name, TYPES[column.type], nil, "YES", "", nil, "", "select", meaning }
        else
            rows[i] = { column.name, TYPES[column.type], "YES", "", nil, "" }
        end
    end
    local titles = full and { "Field", "Type", "Collation", "Null", "Key", "Default", "Extra", "Privileges", "Comment" }
        or { "Field", "Type", "Null", "Key", "Default", "Extra" }
    return list_result(reader, schema.texts(titles), rows)
end

local function columns(context, reader, full, table_named, list_result)
    local name = take_database(reader)
    if name and reader:take(".") then
        name = reader:name()
    else
        take_database(reader)
    end
    return name and columns_of(context, name, reader, full, table_named, list_result)
end

-- SHOW [FULL] TABLES, SHOW [FULL] COLUMNS and the like, behind SHOW; nil for all else.
function schema.answer(context, reader, table_named, list_result)
    local first = reader.at
    local full = reader:take("FULL") ~= nil
    if reader:take("TABLES") then
        return tables(context, reader, full, list_result)
    elseif reader:take("COLUMNS") or reader:take("FIELDS") then
        return columns(context, reader, full, table_named, list_result)
    end
    reader.at = first
end

-- DESCRIBE table, behind its first word.
function schema.describe(context, reader, table_named, list_result)
    local name = reader:name()
    if name and reader:take(".") then
        name = reader:name()
    end
    return columns_of(context, name or "", reader, false, table_named, list_result)
end

return schema
