-- The functions of the library that are written in C and call Lua: nested too deep, they end in an error
-- instead of the end of the C stack.
local may_nest = ...
local error, pcall, select, type = error, pcall, select, type

local function check()
    if not may_nest() then
        error("C stack overflow: functions of Lua's library, or coroutines, are nested too deep", 3)
    end
end

local function checked(original)
    return function(...)
        check()
        return original(...)
    end
end

for library, names in pairs {
    [table] = { "sort", "foreach", "foreachi" },
    [_G] = { "require", "dofile", "collectgarbage" },
} do
    for _, name in ipairs(names) do
        library[name] = checked(library[name])
    end
end

-- An error in the function that is read from does not pass through `load` itself: if it comes from a hook (the end of
-- a callback's budget), LuaJIT would believe ever after that the hook runs, and call no other.
local load = load
function _G.load(reader, ...)
    check()
    if type(reader) ~= "function" then
        return load(reader, ...)
    end
    return load(function()
        local ok, piece = pcall(reader)
        if not ok then
            error(piece, 0)
        end
        return piece
    end, ...)
end

-- Only a function, or a table with __index, is called.
local gsub = string.gsub
function string.gsub(...)
    if type((select(3, ...))) ~= "string" then
        check()
    end
    return gsub(...)
end

-- Only an object with __tostring is called.
local format = string.format
function string.format(...)
    for i = 2, select("#", ...) do
        local kind = type((select(i, ...)))
        if kind == "table" or kind == "userdata" then
            check()
            break
        end
    end
    return format(...)
end

local resume, wrap = coroutine.resume, coroutine.wrap
function coroutine.resume(...)
    if not may_nest() then
        return false, "C stack overflow: coroutines, or functions of Lua's library, are nested too deep"
    end
    return resume(...)
end
function coroutine.wrap(...)
    return checked(wrap(...))
end
