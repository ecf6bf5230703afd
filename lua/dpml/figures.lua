-- Figures: tables of what the program, the library and scripts count and show. Each is declared once, with the names,
-- types, units and meanings of its columns. SHOW of the administrative services, Lua and /metrics read the declaration and
-- the rows, and know nothing else of what they show.
--
-- The tables of the program itself are declared in Rust (dpm.figures), in the same form.

local checks = require "dpml.support.checks"

local figures = {}

local NAME = "dpml.declare_figures"
local OPTIONS = {
    name = "a string", help = "a string", columns = "a table", entries = "a function", order = "a string",
    list = "a boolean", metrics = "a boolean", prefix = "a string",
}
local OF_COLUMN = {
    name = "a string", help = "a string", type = "a string", unit = "a string", kind = "a string", metric = "a string",
    merge = "a string", read = "a function",
}

local BINARY, UTF8 = 63, 45 -- collations: binary, as numbers have it, and utf8mb4_general_ci

-- The types of columns, as results have them.
local TYPES = {
    text = { type = dpm.MYSQL_TYPE_VAR_STRING, charset_number = UTF8, length = 4096 },
    integer = { type = dpm.MYSQL_TYPE_LONGLONG, charset_number = BINARY, length = 20 },
    number = { type = dpm.MYSQL_TYPE_DOUBLE, charset_number = BINARY, length = 22, decimals = 31 },
    time = { type = dpm.MYSQL_TYPE_DATETIME, charset_number = BINARY, length = 19 },
}
-- The parts of columns: label = what a row is about; counter and gauge = numbers that only grow, and others; histogram = a
-- distribution, which is not shown by SHOW; note = for people only.
local KINDS = { label = true, counter = true, gauge = true, histogram = true, note = true }
-- The units: by how much numbers are multiplied for programs that watch, and the unit that they have then.
local UNITS = { seconds = { 1, "seconds" }, microseconds = { 1e-6, "seconds" }, bytes = { 1, "bytes" } }
local MERGES = { sum = true, largest = true, smallest = true }

local Table = {}
Table.__index = Table

-- Declaring ----------------------------------------------------------------------------------------

local function one_of(what, value, known)
    if value == nil or known[value] then
        return
    end
    local words = {}
    for word in pairs(known) do
        words[#words + 1] = word
    end
    table.sort(words)
    checks.fail(NAME, ("%s: expected one of %s, got %s"):format(what, table.concat(words, ", "), tostring(value)))
end

local function check_name(what, name)
    if not name or not name:find("^[a-z][a-z0-9_]*$") then
        checks.fail(NAME, ("%s: expected lower-case letters, digits and _, got %s"):format(what, tostring(name)))
    end
end

local function check_column(column)
    checks.argument(NAME, "a column", column, "a table")
    checks.options(NAME, column, OF_COLUMN, "option of columns")
    check_name("the name of a column", column.name)
    one_of("type", column.type, TYPES)
    one_of("kind", column.kind, KINDS)
    one_of("unit", column.unit, UNITS)
    one_of("merge", column.merge, MERGES)
end

-- A column without a kind is a label if it is a text, else a gauge.
local function complete(column)
    local whole = {}
    for key, value in pairs(column) do
        whole[key] = value
    end
    whole.kind = column.kind or (not column.type or column.type == "text") and "label" or "gauge"
    whole.type = column.type or (whole.kind == "label" or whole.kind == "note") and "text" or "integer"
    whole.help = column.help or ""
    return whole
end

-- A table:
--   name, help: what it is called and shows, in one line
--   columns: an array of { name =, type =, unit =, kind =, help =, read = function(entry, options) }; without `read` a value
--     is entry[name]
--   entries: function(options, subject) that returns what there is to tell: an array of tables, or a function that returns
--     the next one
--   order: the column whose largest values come first
--   list = true: it has one entry, and is shown as a list of names, values and meanings
--   metrics = false: not for /metrics, as there may be any number of rows
--   prefix: what the names in /metrics begin with, if not with the table's name
function figures.new(declaration)
    checks.options(NAME, declaration, OPTIONS)
    check_name("name", declaration.name)
    checks.argument(NAME, "columns", declaration.columns, "a table")
    checks.argument(NAME, "entries", declaration.entries, "a function")
    local self = setmetatable({ all = {} }, Table)
    for key, value in pairs(declaration) do
        self[key] = value
    end
    self.columns, self.help = nil, declaration.help or ""
    for i, column in ipairs(declaration.columns) do
        check_column(column)
        self.all[i] = complete(column)
    end
    return self
end

local registered = {} -- the tables that scripts and the library have declared, in the order of their declaration

-- The tables of the program itself.
local function native()
    local list = dpm.figures()
    for i, declaration in ipairs(list) do
        declaration.all, declaration.columns, declaration.is_native = declaration.columns, nil, true
        list[i] = setmetatable(declaration, Table)
    end
    return list
end

-- All tables by SHOW and /metrics: those of the program, then the others.
function figures.all()
    local list = native()
    for _, each in ipairs(registered) do
        list[#list + 1] = each
    end
    return list
end

-- The table of this name; nil if there is none.
function figures.find(name)
    for _, each in ipairs(figures.all()) do
        if each.name == name then
            return each
        end
    end
end

-- Declares a table for all to see, until table:remove(). Returns it.
function figures.declare(declaration)
    local self = figures.new(declaration)
    if figures.find(self.name) then
        checks.fail(NAME, ("there is a table %s already"):format(self.name))
    end
    registered[#registered + 1] = self
    return self
end

function Table:remove()
    for i, each in ipairs(registered) do
        if each == self then
            return table.remove(registered, i)
        end
    end
end

-- What a listener is called in figures: its address and port, or the path of its socket.
function figures.place_of(listener)
    local address, port = listener:socket_address(), listener:socket_port()
    return port and port > 0 and ("%s:%d"):format(address, port) or address
end

-- Reading ------------------------------------------------------------------------------------------

-- Native rows come in pages, so that who reads all rows of a large table can wait in between.
local function native_rows(name)
    local page, next_page, at = {}, 0, 0
    return function()
        at = at + 1
        if not page[at] and next_page then
            page, next_page = dpm.figures(name, next_page)
            at = 1
        end
        return page[at]
    end
end

local function iterator(entries)
    if type(entries) == "function" then
        return entries
    end
    local at = 0
    return function()
        at = at + 1
        return entries[at]
    end
end

-- An iterator over its rows, each an array with a value for each of `self.all`. `options.literals`: whether statements are
-- shown as they were sent. `subject` is what a table is about that is not for all to see.
function Table:each(options, subject)
    if self.is_native then
        return native_rows(self.name)
    end
    options = options or {}
    local next_entry, columns = iterator(self.entries(options, subject)), self.all
    return function()
        local entry = next_entry()
        if not entry then
            return nil
        end
        local row = {}
        for i, column in ipairs(columns) do
            if column.read then
                row[i] = column.read(entry, options)
            else
                row[i] = entry[column.name]
            end
        end
        return row
    end
end

-- Its rows by the names of columns; of a list the only one.
function Table:records(options, subject)
    local records = {}
    for row in self:each(options, subject) do
        local record = {}
        for i, column in ipairs(self.all) do
            record[column.name] = row[i]
        end
        records[#records + 1] = record
    end
    return self.list and (records[1] or {}) or records
end

-- Showing ------------------------------------------------------------------------------------------

local function title(name)
    return name:sub(1, 1):upper() .. name:sub(2)
end

local function shown_column(name, type_name)
    local column = { name = name }
    for key, value in pairs(TYPES[type_name]) do
        column[key] = value
    end
    return column
end

-- The type that fits all values of a list.
local function common_type(columns)
    local widest = "integer"
    for _, column in ipairs(columns) do
        if column.kind ~= "label" and column.kind ~= "histogram" and column.type ~= "integer" then
            widest = (column.type ~= "number" or widest == "text") and "text" or "number"
        end
    end
    return widest
end

-- The columns of its result: without histograms. Those of a list are its labels, Name, Value and Meaning.
function Table:columns()
    local columns = {}
    for _, column in ipairs(self.all) do
        if column.kind ~= "histogram" and (not self.list or column.kind == "label") then
            columns[#columns + 1] = shown_column(title(column.name), column.type)
        end
    end
    if self.list then
        columns[#columns + 1] = shown_column("Name", "text")
        columns[#columns + 1] = shown_column("Value", common_type(self.all))
        columns[#columns + 1] = shown_column("Meaning", "text")
    end
    return columns
end

-- The name of the result's column whose largest values come first, unless a statement says otherwise.
function Table:default_order()
    return self.order and title(self.order)
end

local function shown_row(self, row)
    local shown, count = {}, 0
    for i, column in ipairs(self.all) do
        if column.kind ~= "histogram" then
            count = count + 1
            shown[count] = row[i]
        end
    end
    return shown
end

-- An iterator over the lines of a list.
local function lines(self, next_row)
    local row, at, labels = nil, #self.all, {}
    return function()
        repeat
            at = at + 1
            if at > #self.all then
                row, at = next_row(), 1
                labels = {}
            end
            local column = row and self.all[at]
            if column and column.kind == "label" then
                labels[#labels + 1] = row[at]
            elseif column and column.kind ~= "histogram" then
                local line = { unpack(labels) }
                local count = #labels
                line[count + 1], line[count + 2], line[count + 3] = column.name, row[at], column.help
                return line
            end
        until not row
    end
end

-- An iterator over the rows of its result.
function Table:shown(options, subject)
    local next_row = self:each(options, subject)
    if self.list then
        return lines(self, next_row)
    end
    return function()
        local row = next_row()
        return row and shown_row(self, row)
    end
end

-- Watching -----------------------------------------------------------------------------------------

-- The name of a column for programs that watch, without its unit; and its unit, and by how much its numbers are multiplied.
local function metric_of(self, column)
    local factor, unit = unpack(UNITS[column.unit] or { 1, nil })
    local prefix, name = self.prefix or self.name, column.metric or column.name
    name = name:gsub("_" .. (unit or "total") .. "$", "")
    if column.unit == "microseconds" then
        name = name:gsub("_us$", "")
    end
    if name == unit then
        name = ""
    end
    local parts = { "dpm" }
    for _, part in ipairs { prefix, name } do
        if part ~= "" then
            parts[#parts + 1] = part
        end
    end
    return table.concat(parts, "_"), unit, factor
end

local function sample_value(value, factor)
    if type(value) ~= "table" then
        return value * factor
    end
    local buckets = {}
    for i, bucket in ipairs(value) do
        buckets[i] = { bucket[1] * factor, bucket[2] }
    end
    return { buckets = buckets, sum = value.sum * factor }
end

local WATCHED = { counter = true, gauge = true, histogram = true }

local function add_families(families, self)
    local labels, of_column = {}, {}
    for i, column in ipairs(self.all) do
        if column.kind == "label" then
            labels[#labels + 1] = column.name
        elseif WATCHED[column.kind] then
            local name, unit, factor = metric_of(self, column)
            of_column[i] = { name = name, help = column.help, kind = column.kind, unit = unit, factor = factor,
                labels = labels, samples = {} }
            families[#families + 1] = of_column[i]
        end
    end
    for row in self:each() do
        local values = {}
        for i, column in ipairs(self.all) do
            if column.kind == "label" then
                values[#values + 1] = row[i] == nil and "" or tostring(row[i])
            end
        end
        for i, family in pairs(of_column) do
            if row[i] ~= nil then
                table.insert(family.samples, { labels = values, value = sample_value(row[i], family.factor) })
            end
        end
    end
end

-- What /metrics tells: an array of families, each { name =, help =, kind = "counter" | "gauge" | "histogram", unit =
-- "seconds" | "bytes" | nil, labels = { name, … }, samples = { { labels = { value, … }, value = number }, … } }. The name has
-- neither the unit nor "_total" at its end. The value of a histogram is { buckets = { { limit, how many are at most that },
-- … }, sum = }; the last limit is infinite.
function figures.families()
    local families = {}
    for _, each in ipairs(figures.all()) do
        if each.metrics ~= false then
            add_families(families, each)
        end
    end
    return families
end

return figures
