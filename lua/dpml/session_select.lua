-- SELECTs of a session's variables and functions, as clients send them by themselves.

local session_select = {}

local MOST_TOKENS = 1024 -- of a statement; those of drivers have up to a hundred

-- A list of tokens, and a position in it.
local Reader = {}
Reader.__index = Reader

local function new_reader(sql)
    local tokens = {}
    for _, token in ipairs(dpm.tokenize(sql, { limit = MOST_TOKENS })) do
        if token.kind ~= "comment" then
            tokens[#tokens + 1] = token
        end
    end
    return #tokens < MOST_TOKENS and setmetatable({ tokens = tokens, at = 1, sql = sql }, Reader) or nil
end

-- Takes the token here if it is this word or operator, in any case.
function Reader:take(text)
    local token = self.tokens[self.at]
    if token and token.kind ~= "string" and token.text:upper() == text then
        self.at = self.at + 1
        return token
    end
end

-- Takes the token here if it is of this kind.
function Reader:take_kind(kind)
    local token = self.tokens[self.at]
    if token and token.kind == kind then
        self.at = self.at + 1
        return token
    end
end

-- Reads an expression: returns whether there is one, its value, and whether it depends on the session.
local function take_value(reader, variables, functions)
    local number = reader:take_kind("number")
    if number then
        return tonumber(number.text) ~= nil, tonumber(number.text), false
    end
    local variable = reader:take_kind("variable")
    if variable then
        local name = variable.text:lower():gsub("^@@session%.", "@@"):gsub("^@@global%.", "@@")
        local value = variables[name:match("^@@(.*)$")]
        return value ~= nil, value, true
    end
    local word = reader:take_kind("word")
    local fn = word and reader:take("(") and reader:take(")") and functions[word.text:upper()]
    if fn then
        return true, fn(), true
    end
    return false
end

-- Reads the name after AS. Without one, a column has the expression's text as its name.
local function take_name(reader, from)
    if not reader:take("AS") then
        return reader.sql:sub(from, reader.tokens[reader.at - 1].to)
    end
    local token = reader:take_kind("word") or reader:take_kind("quoted") or reader:take_kind("string")
    return token and token.text:match("^[`'\"](.*)[`'\"]$") or token and token.text
end

-- Answers SELECT <item> [AS name], ... [FROM DUAL] [LIMIT n], where an item is a number, a variable (@@name) of
-- { name = value }, or a function without arguments of { NAME = function }. Returns the result, and whether it tells
-- anything of the session; nil if the statement is another one.
function session_select.answer(sql, variables, functions)
    local reader = new_reader(sql)
    if not reader or not reader:take("SELECT") then
        return nil
    end
    local fields, row, is_sessions = {}, {}, false
    repeat
        local first = reader.tokens[reader.at]
        local found, value, looked_up = take_value(reader, variables, functions)
        local name = found and take_name(reader, first.from)
        if not name then
            return nil
        end
        fields[#fields + 1], row[#fields + 1] = name, value
        is_sessions = is_sessions or looked_up
    until not reader:take(",")
    if reader:take("FROM") and not reader:take("DUAL") or reader:take("LIMIT") and not reader:take_kind("number") then
        return nil
    end
    if reader.tokens[reader.at] then
        return nil
    end
    return { fields = fields, rows = { row } }, is_sessions
end

return session_select
