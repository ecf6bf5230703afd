-- SELECTs without a table: what a service that is no database can answer by itself.

local expressions = {}

-- Raised by the parser, and told to the client as MySQL's syntax error.
local function syntax_error(scanner)
    error({ near = scanner.text:sub(scanner.at) }, 0)
end

-- Goes on behind a place in the text, and behind the blanks there.
local function go_on_behind(scanner, place)
    scanner.at = scanner.text:find("%S", place + 1) or #scanner.text + 1
end

-- Takes what the pattern matches at the scanner's place.
local function take(scanner, pattern)
    local from, to, capture = scanner.text:find("^" .. pattern, scanner.at)
    if not from then
        return nil
    end
    go_on_behind(scanner, to)
    return capture or scanner.text:sub(from, to)
end

-- A word that is not the beginning of a longer one.
local function take_word(scanner, word)
    local before = scanner.at
    local taken = take(scanner, "([%a_][%w_]*)")
    if taken and taken:upper() == word then
        return true
    end
    scanner.at = before
    return false
end

-- What is not itself behind a backslash.
local escapes = { ["0"] = "\0", b = "\b", n = "\n", r = "\r", t = "\t", Z = "\26" }

local function take_string(scanner)
    local text = scanner.text
    local quote = text:match("^['\"]", scanner.at)
    if not quote then
        return nil
    end
    local parts, at = {}, scanner.at + 1
    while true do
        local plain, stop = text:match("^([^\\" .. quote .. "]*)()", at)
        local here, behind = text:sub(stop, stop), text:sub(stop + 1, stop + 1)
        parts[#parts + 1] = plain
        if here == quote and behind == quote then
            parts[#parts + 1] = quote -- two in a row stand for one: 'it''s'
        elseif here == quote then
            go_on_behind(scanner, stop)
            return table.concat(parts)
        elseif behind == "" then
            syntax_error(scanner) -- it has no end
        else
            parts[#parts + 1] = escapes[behind] or behind
        end
        at = stop + 2
    end
end

local expression -- below: an expression in parentheses is one again

local function take_call(scanner)
    local before = scanner.at
    local name = take(scanner, "([%a_][%w_]*)%s*%(%s*%)")
    local call = name and scanner.scope.functions[name:upper()]
    if not call then
        scanner.at = before
        syntax_error(scanner)
    end
    scanner.looked_up = true
    return call()
end

local function take_variable(scanner)
    local before = scanner.at
    local name = take(scanner, "@@([%w_%.]+)")
    if not name then
        return nil
    end
    name = name:lower():gsub("^session%.", ""):gsub("^global%.", "")
    local value = scanner.scope.variables[name]
    if value == nil then
        scanner.at = before
        syntax_error(scanner)
    end
    scanner.looked_up = true
    return value
end

-- A string that is no number counts as 0, NULL makes everything NULL, and so does division by 0.
local function calculate(left, operator, right)
    if left == nil or right == nil then
        return nil
    end
    left, right = tonumber(left) or 0, tonumber(right) or 0
    if operator == "+" then
        return left + right
    elseif operator == "-" then
        return left - right
    elseif operator == "*" then
        return left * right
    elseif right ~= 0 then
        return operator == "/" and left / right or math.fmod(left, right)
    end
end

local DEEPEST, MOST = 100, 4096 -- operands within operands; and columns, as in MySQL
local LONGEST_NAME = 256

local operand

-- An operand that begins with a parenthesis or a minus has another one in it.
local function nested(scanner, parse)
    scanner.depth = scanner.depth + 1
    if scanner.depth > DEEPEST then
        syntax_error(scanner)
    end
    local value = parse(scanner)
    scanner.depth = scanner.depth - 1
    return value
end

function operand(scanner)
    if take(scanner, "%(") then
        local value = nested(scanner, expression)
        if not take(scanner, "%)") then
            syntax_error(scanner)
        end
        return value
    end
    if take(scanner, "%-") then
        return calculate(0, "-", nested(scanner, operand))
    end
    if take_word(scanner, "NULL") then
        return nil
    end
    local number = take(scanner, "(%d+%.?%d*)") or take(scanner, "(%.%d+)")
    if number then
        return tonumber(number)
    end
    return take_string(scanner) or take_variable(scanner) or take_call(scanner)
end

local function left_associative(operators, operand_of)
    return function(scanner)
        local value = operand_of(scanner)
        local operator = take(scanner, operators)
        while operator do
            value = calculate(value, operator, operand_of(scanner))
            operator = take(scanner, operators)
        end
        return value
    end
end

expression = left_associative("[%+%-]", left_associative("[%*/%%]", operand))

local function type_of(value)
    if type(value) ~= "number" then
        return dpm.MYSQL_TYPE_VAR_STRING
    end
    return value == math.floor(value) and dpm.MYSQL_TYPE_LONGLONG or dpm.MYSQL_TYPE_DOUBLE
end

local function select_item(scanner)
    local from = scanner.at
    local value = expression(scanner)
    local name = scanner.text:sub(from, scanner.at - 1):match("^.*%S")
    if take_word(scanner, "AS") then
        name = take(scanner, "`([^`]+)`") or take_string(scanner) or take(scanner, "([%a_][%w_]*)")
    end
    name = (name or syntax_error(scanner)):sub(1, LONGEST_NAME)
    return { name = name, type = type_of(value) }, value
end

local function select_values(scanner)
    local fields, row = {}, {}
    repeat
        fields[#fields + 1], row[#fields + 1] = select_item(scanner)
        if #fields > MOST then
            syntax_error(scanner)
        end
    until not take(scanner, ",")
    if take_word(scanner, "FROM") and not take_word(scanner, "DUAL") then
        syntax_error(scanner)
    end
    if take_word(scanner, "LIMIT") and not take(scanner, "%d+") then
        syntax_error(scanner)
    end
    if scanner.at <= #scanner.text then
        syntax_error(scanner)
    end
    return { fields = fields, rows = { row } }
end

-- Answers SELECT <expression> [AS name], ... [FROM DUAL] [LIMIT n], given what follows the SELECT.
-- `scope` has variables = { name = value } for @@name, and functions = { NAME = function }. Returns the
-- result, and whether anything of the scope was looked up; or nil and what it does not understand.
function expressions.select(text, scope)
    local scanner = { text = text, at = 1, depth = 0, scope = scope }
    local understood, result = pcall(select_values, scanner)
    if understood then
        return result, scanner.looked_up or false
    elseif type(result) ~= "table" then
        error(result, 0)
    end
    return nil, result.near
end

return expressions
