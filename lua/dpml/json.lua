-- Reading JSON.

local json = {}

local MAX_DEPTH = 200

local ESCAPES = { b = "\b", f = "\f", n = "\n", r = "\r", t = "\t", ['"'] = '"', ["\\"] = "\\", ["/"] = "/" }
local WORDS = { ["true"] = true, ["false"] = false, null = dpm.NULL }

local function fail(at, what)
    error({ problem = ("%s expected at byte %d"):format(what, at) }, 0)
end

local function utf8(code)
    if code < 0x80 then
        return string.char(code)
    elseif code < 0x800 then
        return string.char(0xC0 + math.floor(code / 0x40), 0x80 + code % 0x40)
    elseif code < 0x10000 then
        return string.char(0xE0 + math.floor(code / 0x1000), 0x80 + math.floor(code / 0x40) % 0x40, 0x80 + code % 0x40)
    end
    return string.char(0xF0 + math.floor(code / 0x40000), 0x80 + math.floor(code / 0x1000) % 0x40,
        0x80 + math.floor(code / 0x40) % 0x40, 0x80 + code % 0x40)
end

local function unescape(body)
    -- Characters beyond the 65536th are written as two halves.
    body = body:gsub("\\u([Dd][89ABab]%x%x)\\u([Dd][C-Fc-f]%x%x)", function(high, low)
        return utf8(0x10000 + (tonumber(high, 16) - 0xD800) * 0x400 + tonumber(low, 16) - 0xDC00)
    end)
    return (body:gsub("\\(.)(%x?%x?%x?%x?)", function(letter, hex)
        if letter == "u" and #hex == 4 then
            return utf8(tonumber(hex, 16))
        end
        return (ESCAPES[letter] or letter) .. hex
    end))
end

-- A string that begins at the quote at `at`, and where it ends.
local function read_string(text, at)
    local from = at + 1
    at = from
    while true do
        local stop = text:find('["\\]', at)
        if not stop then
            fail(#text + 1, "the end of a string")
        elseif text:byte(stop) == 34 then
            local body = text:sub(from, stop - 1)
            return body:find("\\", 1, true) and unescape(body) or body, stop + 1
        end
        at = stop + 2
    end
end

local read_value

-- What is between brackets: `read` reads one member, and says where it ends.
local function read_members(text, at, closing, read)
    at = text:find("%S", at + 1) or #text + 1
    if text:sub(at, at) == closing then
        return at + 1
    end
    while true do
        at = read(at)
        local _, behind, mark = text:find("^%s*([,%]}])%s*", at)
        if mark == closing then
            return behind + 1
        elseif mark ~= "," then
            fail(at, "a comma or " .. closing)
        end
        at = behind + 1
    end
end

local function read_object(text, at, depth)
    local object = {}
    local behind = read_members(text, at, "}", function(from)
        if text:sub(from, from) ~= '"' then
            fail(from, "a name")
        end
        local name, behind_name = read_string(text, from)
        local _, colon = text:find("^%s*:%s*", behind_name)
        if not colon then
            fail(behind_name, "a colon")
        end
        object[name], from = read_value(text, colon + 1, depth)
        return from
    end)
    return object, behind
end

local function read_array(text, at, depth)
    local array = {}
    local behind = read_members(text, at, "]", function(from)
        array[#array + 1], from = read_value(text, from, depth)
        return from
    end)
    return array, behind
end

function read_value(text, at, depth)
    if depth > MAX_DEPTH then
        fail(at, "an end of the nesting")
    end
    local first = text:sub(at, at)
    if first == "{" then
        return read_object(text, at, depth + 1)
    elseif first == "[" then
        return read_array(text, at, depth + 1)
    elseif first == '"' then
        return read_string(text, at)
    end
    local word = text:match("^%a+", at)
    if word and WORDS[word] ~= nil then
        return WORDS[word], at + #word
    end
    local number = text:match("^%-?%d+%.?%d*[eE]?[+-]?%d*", at)
    if number and tonumber(number) then
        return tonumber(number), at + #number
    end
    fail(at, "a value")
end

-- The value of a JSON text, objects and arrays as tables, null as dpm.NULL; or nil and what is wrong.
function json.decode(text)
    local ok, value, behind = pcall(function()
        return read_value(text, text:find("%S") or 1, 0)
    end)
    if not ok then
        return nil, type(value) == "table" and value.problem or tostring(value)
    elseif text:find("%S", behind) then
        return nil, ("the end expected at byte %d"):format(behind)
    end
    return value
end

return json
