-- Records as strings: named values, which are strings, numbers, booleans or records themselves. Another program may read them:
-- whoever reads one skips names that it does not know.

local records = {}

local MARK = "dpml-record 1\n" -- the number changes only if something must not be skipped
local END = "."
local MOST = 10000 -- values of a record
local DEEPEST = 16 -- records within records

local KINDS = { string = "s", number = "n", boolean = "b", table = "r" }

local function write(record, parts, depth)
    assert(depth <= DEEPEST, "records are nested too deep")
    for name, value in pairs(record) do
        local kind = KINDS[type(value)] or error(("%s: a record has no %s"):format(tostring(name), type(value)))
        local text
        if kind == "r" then
            local inner = {}
            write(value, inner, depth + 1)
            text = table.concat(inner)
        else
            text = kind == "n" and ("%.17g"):format(value) or tostring(value)
        end
        name = type(name) == "number" and ("#%d"):format(name) or name
        parts[#parts + 1] = ("%s%d:%d:"):format(kind, #name, #text)
        parts[#parts + 1] = name
        parts[#parts + 1] = text
    end
end

-- The record as a string. Keys are strings, or integers from 1 on.
function records.write(record)
    local parts = { MARK }
    write(record, parts, 1)
    parts[#parts + 1] = END
    return table.concat(parts)
end

local read

local READERS = {
    s = function(text) return text end,
    n = function(text) return tonumber(text) end,
    b = function(text)
        if text == "true" or text == "false" then
            return text == "true"
        end
    end,
    r = function(text, depth) return read(text, 1, depth + 1) end,
}

function read(text, at, depth)
    local record, count = {}, 0
    while at <= #text do
        local kind, name_length, length, body = text:match("^([snbr])(%d+):(%d+):()", at)
        count = count + 1
        if not kind or #name_length > 9 or #length > 10 or count > MOST or depth > DEEPEST then
            return nil
        end
        local name_end = body + name_length - 1
        local value_end = name_end + length
        if value_end > #text then
            return nil
        end
        local name, value = text:sub(body, name_end), READERS[kind](text:sub(name_end + 1, value_end), depth)
        if value == nil then
            return nil
        end
        record[tonumber(name:match("^#(%d+)$")) or name] = value
        at = value_end + 1
    end
    return record
end

-- The record that a string is; nil and why it is none.
function records.read(text)
    if text:sub(1, #MARK) ~= MARK then
        return nil, "it was written by a version of the program that is not understood"
    end
    local record = text:sub(-1) == END and read(text:sub(1, -2), #MARK + 1, 1)
    if not record then
        return nil, "it is no complete record"
    end
    return record
end

return records
