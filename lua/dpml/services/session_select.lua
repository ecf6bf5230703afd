-- SELECTs of a session's variables and functions, and of numbers, as clients send them by themselves.

local session_select = {}

-- What may be called without parentheses.
local BARE = { CURRENT_USER = true, CURRENT_TIMESTAMP = true, CURRENT_DATE = true, CURRENT_TIME = true,
    LOCALTIME = true, LOCALTIMESTAMP = true, UTC_TIMESTAMP = true, UTC_DATE = true, UTC_TIME = true }
local CONSTANTS = { TRUE = 1, FALSE = 0, NULL = dpm.NULL }
local MODIFIERS = { "ALL", "DISTINCT", "SQL_NO_CACHE", "SQL_CACHE", "HIGH_PRIORITY" }
-- Words behind an item that are not its name.
local NO_NAMES = { FROM = true, LIMIT = true, WHERE = true, ORDER = true, GROUP = true, HAVING = true, UNION = true,
    INTO = true, FOR = true, LOCK = true, PROCEDURE = true, LIKE = true, IS = true, IN = true, NOT = true, AND = true,
    OR = true, XOR = true, DIV = true, MOD = true, BETWEEN = true, REGEXP = true, RLIKE = true, COLLATE = true,
    OFFSET = true, WINDOW = true, EXCEPT = true, INTERSECT = true, ESCAPE = true, USING = true, AS = true,
    MEMBER = true, SOUNDS = true, WITH = true, ON = true }

local function take_number(reader)
    local sign = reader:take("-") and -1 or 1
    local number = reader:take_kind("number")
    local value = number and number.text:find("^[%d.]+$") and tonumber(number.text)
    return value and value < 2 ^ 53 and sign * value or nil
end

-- Django asks by it whether the server has time zones.
local function take_time_zones(reader)
    return reader:take("(") and reader:text() and reader:take(",") and reader:text() and reader:take(",") and reader:text()
        and reader:take_all(")", "IS", "NOT", "NULL")
end

-- A function without arguments, or one of two calls by which some ask for time zones.
local function take_call(reader, functions)
    local word = reader:take_kind("word")
    local name = word and word.text:upper()
    if name == "CONVERT_TZ" then
        return take_time_zones(reader) and functions.CONVERT_TZ
    elseif name == "TIMEDIFF" and functions.TIMEDIFF then
        return reader:take_all("(", "NOW", "(", ")", ",", "UTC_TIMESTAMP", "(", ")", ")") and functions.TIMEDIFF
    end
    local is_called = name and reader:take("(")
    if not is_called and not BARE[name] or is_called and not reader:take(")") then
        return nil
    end
    return functions[name]
end

-- Reads an expression: returns whether it is understood, its value, and whether it depends on the session.
local function take_value(reader, variables, functions)
    local number = take_number(reader)
    if number then
        return true, number, false
    end
    for word, value in pairs(CONSTANTS) do
        if reader:take(word) then
            return true, value, false
        end
    end
    local variable = reader:take_kind("variable")
    if variable then
        local name = variable.text:lower():gsub("`", ""):match("^@@(.*)$")
        name = name and name:gsub("^session%.", ""):gsub("^local%.", ""):gsub("^global%.", "")
        local value = name and variables[name]
        return value ~= nil, value, true
    end
    local fn = take_call(reader, functions)
    if fn then
        return true, fn(), true
    end
    return false
end

-- Reads the name of a column. Without one it is the expression's text.
local function take_name(reader, first)
    local text = reader:text_from(first)
    local is_named = reader:take("AS")
    local token = reader.tokens[reader.at]
    if token and (is_named or token.kind ~= "word" or not NO_NAMES[token.text:upper()]) then
        local name = reader:text() or reader:name()
        return name or not is_named and text or nil
    end
    return not is_named and text or nil
end

-- Reads LIMIT, if there is one: returns whether it is understood, and whether it leaves a row.
local function take_limit(reader)
    if not reader:take("LIMIT") then
        return true, true
    end
    local first = reader:take_kind("number")
    local with_offset = first and reader:take(",") ~= nil
    local second = with_offset and reader:take_kind("number")
    local count, offset = with_offset and second or first, with_offset and first or nil
    if not with_offset and reader:take("OFFSET") then
        offset = reader:take_kind("number")
        count = offset and count
    end
    if not count then
        return false
    end
    return true, tonumber(count.text) ~= 0 and (not offset or tonumber(offset.text) == 0)
end

-- Answers SELECT <item> [[AS] name], ... [FROM DUAL] [LIMIT n], where an item is a number, a variable (@@name) of
-- { name = value }, or a function without arguments of { NAME = function }. Returns the result, and whether it tells
-- anything of the session; nil if the statement is another one.
function session_select.answer(reader, variables, functions)
    if not reader:take("SELECT") then
        return nil
    end
    for _, word in ipairs(MODIFIERS) do
        reader:take(word)
    end
    local fields, row, is_sessions = {}, {}, false
    repeat
        local first = reader.at
        local found, value, looked_up = take_value(reader, variables, functions)
        local name = found and take_name(reader, first)
        if not name then
            return nil
        end
        fields[#fields + 1], row[#fields + 1] = name, value
        is_sessions = is_sessions or looked_up
    until not reader:take(",")
    if reader:take("FROM") and not reader:take("DUAL") then
        return nil
    end
    local understood, has_row = take_limit(reader)
    if not understood or not reader:at_end() then
        return nil
    end
    return { fields = fields, rows = has_row and { row } or {} }, is_sessions
end

return session_select
