-- Whole results for tasks, whose rows have their values by number and by name.

local errors = require "dpml.support.errors"
local queries = require "dpml.servers.queries"
local typed_values = require "dpml.databases.typed_values"

local buffers = {}

-- The metatable by which row.name reads row[n].
function buffers.row_meta(fields)
    local numbers = {}
    for i = #fields, 1, -1 do
        numbers[fields[i].name] = i
    end
    return {
        __index = function(row, name)
            local number = numbers[name]
            return number and rawget(row, number)
        end,
    }
end

local function names_of(fields)
    local names = {}
    for i, field in ipairs(fields) do
        names[i] = field.name
    end
    return names
end

-- Converts a buffered result, and all that follow it, to the form for tasks.
function buffers.present(result)
    local each = result
    while each do
        each.warnings = each.warning_count
        each.columns, each.rows = {}, each.rows or {}
        if each.fields then
            each.columns = names_of(each.fields)
            local meta = buffers.row_meta(each.fields)
            for _, row in ipairs(each.rows) do
                setmetatable(row, meta)
            end
        end
        each = each.next
    end
    return result
end

local FURTHER_COLUMN = 64 -- approximate bytes of a column with only a name

-- A reader of a whole answer, up to options.max_bytes.
function buffers.new(resume, abandon, options)
    local buffer = queries.new_buffer(function(buffer, err)
        if err then
            resume(false, err)
        else
            resume(true, buffers.present(buffer.first))
        end
    end)
    local max_bytes = options and options.max_bytes
    if not max_bytes then
        return buffer
    end
    local left = max_bytes
    local function fits(bytes)
        left = left - bytes
        if left >= 0 then
            return true
        end
        local err = errors.new(3024, "HY000",
            ("Query execution was interrupted, its result exceeds %d bytes"):format(max_bytes))
        err.too_large = true
        abandon(err)
    end
    function buffer:row(values)
        local bytes = 0
        for i = 1, table.maxn(values) do
            bytes = bytes + (type(values[i]) == "string" and #values[i] or 8)
        end
        if fits(bytes) then
            queries.Buffer.row(self, values)
        end
    end
    -- A server could send results without rows for ever, so results after the first count, too.
    function buffer:columns(fields)
        if not self.last or fits(#fields * FURTHER_COLUMN) then
            queries.Buffer.columns(self, fields)
        end
    end
    function buffer:ending(ending)
        if self.open or not self.last or fits(FURTHER_COLUMN) then
            queries.Buffer.ending(self, ending)
        end
    end
    return buffer
end

-- The same, but that numbers are Lua's numbers.
function buffers.typed(resume, abandon, options)
    local buffer, convert = buffers.new(resume, abandon, options), nil
    local columns, row = buffer.columns, buffer.row
    function buffer:columns(fields)
        convert = typed_values.converter(fields)
        columns(self, fields)
    end
    function buffer:row(values)
        if convert then
            convert(values)
        end
        row(self, values)
    end
    return buffer
end

return buffers
