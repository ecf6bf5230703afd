-- Checks of arguments. Every error names the function, the argument or option and what was expected, and begins
-- with the script's line that called the library, however deep in the library it was raised.

local checks = {}

-- The folder of the library, of which this file is in a folder.
local LIBRARY = debug.getinfo(1, "S").source:match("^(.*)support/checks%.lua$")

-- The script's line that called the library, in the form of error(); empty if there is none, as in a callback.
local function place()
    for level = 2, math.huge do
        local info = debug.getinfo(level, "Sl")
        if not info then
            return ""
        elseif info.currentline > 0 and info.source:sub(1, #LIBRARY) ~= LIBRARY then
            return ("%s:%d: "):format(info.short_src, info.currentline)
        end
    end
end

-- Raises an error about the call of `what`.
function checks.fail(what, message)
    error(place() .. what .. ": " .. message, 0)
end

-- Kinds of values that are not Lua types.
local kinds = {
    connection = function(value)
        local meta = type(value) == "userdata" and debug.getmetatable(value)
        return meta and meta.__name == "conn"
    end,
    http_listener = function(value)
        local meta = type(value) == "userdata" and debug.getmetatable(value)
        return meta and meta.__name == "http_listener"
    end,
    integer = function(value)
        return type(value) == "number" and value == math.floor(value)
    end,
    array = function(value)
        if type(value) ~= "table" then
            return false
        end
        for key in pairs(value) do
            if type(key) ~= "number" then
                return false
            end
        end
        return true
    end,
}

function kinds.listener(value)
    return kinds.connection(value) and value:listener() ~= 0
end

-- Whether a value is of the described kind: "a function or nil", "an array".
function checks.is(value, wanted)
    for word in wanted:gmatch("[%a_]+") do
        if type(value) == word or kinds[word] and kinds[word](value) then
            return true
        end
    end
    return false
end

-- The value is not shown, as it may be a password.
function checks.argument(what, name, value, wanted)
    if not checks.is(value, wanted) then
        checks.fail(what, ("%s: expected %s, got %s"):format(name, wanted, type(value)))
    end
end

local function names_of(known)
    local names = {}
    for name in pairs(known) do
        if type(name) == "string" then
            names[#names + 1] = name
        end
    end
    table.sort(names)
    return table.concat(names, ", ")
end

-- Checks a table of options (or of what `noun` names) against the known ones: { name = the kind of value }, or
-- true if the value is checked elsewhere. Unknown names are errors.
function checks.options(what, options, known, noun)
    noun = noun or "option"
    checks.argument(what, noun .. "s", options, "a table")
    for name, value in pairs(options) do
        local wanted = known[name]
        if not wanted then
            checks.fail(what, ("there is no %s %s, only %s"):format(noun, tostring(name), names_of(known)))
        elseif wanted ~= true then
            checks.argument(what, name, value, wanted)
        end
    end
end

-- One of several tables of options.
function checks.union(...)
    local all = {}
    for _, known in ipairs { ... } do
        for name, wanted in pairs(known) do
            all[name] = wanted
        end
    end
    return all
end

local function relay(ok, ...)
    if not ok then
        local problem = ...
        error(type(problem) == "string" and place() .. problem:gsub("^[^\n]-%.lua:%d+: ", "") or problem, 0)
    end
    return ...
end

-- Calls fn(...), whose errors are about the caller's arguments.
function checks.relay(fn, ...)
    return relay(pcall(fn, ...))
end

return checks
