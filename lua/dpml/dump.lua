-- Printing values, for debugging.

local dump = {}

local function show_value(value)
    if type(value) == "string" then
        return (("%q"):format(value):gsub("\\\n", "\\n"):gsub("%c", function(c)
            return ("\\%03d"):format(c:byte())
        end))
    end
    return tostring(value)
end

-- Numbers first and in order, so that the output of two runs can be compared.
local function sorted_keys(t)
    local keys = {}
    for key in pairs(t) do
        keys[#keys + 1] = key
    end
    table.sort(keys, function(a, b)
        if type(a) == "number" and type(b) == "number" then
            return a < b
        end
        if type(a) ~= type(b) then
            return type(a) == "number" or (type(b) ~= "number" and type(a) < type(b))
        end
        return tostring(a) < tostring(b)
    end)
    return keys
end

local function append_table(lines, t, indent, open)
    open[t] = true
    for _, key in ipairs(sorted_keys(t)) do
        local value, label = t[key], indent .. "[" .. show_value(key) .. "] = "
        if type(value) ~= "table" then
            lines[#lines + 1] = label .. show_value(value)
        elseif open[value] then
            lines[#lines + 1] = label .. "<a table above>"
        elseif next(value) == nil then
            lines[#lines + 1] = label .. "{}"
        else
            lines[#lines + 1] = label .. "{"
            append_table(lines, value, indent .. "    ", open)
            lines[#lines + 1] = indent .. "}"
        end
    end
    open[t] = nil
end

-- Prints a value, tables with all that is in them.
function dump.dump_table(t)
    if type(t) ~= "table" then
        print(show_value(t))
        return
    end
    local lines = { "{" }
    append_table(lines, t, "    ", {})
    lines[#lines + 1] = "}"
    print(table.concat(lines, "\n"))
end

return dump
