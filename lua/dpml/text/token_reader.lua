-- Reads what a client sends token by token, so that comments, blanks, the case of words and the way in which names are
-- quoted make no difference. Comments are left out; what stands in comments that only some servers execute is read
-- like all else.

local token_reader = {}

local MOST_TOKENS = 1024 -- of a text; what clients send by themselves has up to a few hundred
local LONGEST_STRING = 4096
local FIRST_TOKENS = 8 -- enough to find the first word, unless there are many comments before it

local Reader = {}
Reader.__index = Reader

local function is_code(token)
    return token.kind ~= "comment" and token.kind ~= "version_comment"
end

-- The first word of a text, in upper case; nil if there is none.
function token_reader.first_word(sql)
    for _, limit in ipairs { FIRST_TOKENS, MOST_TOKENS } do
        local tokens = dpm.tokenize(sql, { limit = limit })
        for _, token in ipairs(tokens) do
            if is_code(token) and token.text ~= "(" and token.text ~= ";" then
                return token.kind == "word" and token.text:upper() or nil
            end
        end
        if #tokens < limit then
            return nil
        end
    end
end

-- A reader for each statement of a text. nil if it has too many tokens, or is not complete.
function token_reader.statements(sql)
    local tokens, readers, current = dpm.tokenize(sql, { limit = MOST_TOKENS }), {}, nil
    if #tokens >= MOST_TOKENS then
        return nil
    end
    for _, token in ipairs(tokens) do
        if token.unterminated then
            return nil
        elseif token.text == ";" then
            current = nil
        elseif is_code(token) then
            if not current then
                current = setmetatable({ tokens = {}, at = 1, sql = sql }, Reader)
                readers[#readers + 1] = current
            end
            current.tokens[#current.tokens + 1] = token
        end
    end
    return readers
end

-- The reader of a text that is one statement; else nil.
function token_reader.statement(sql)
    local readers = token_reader.statements(sql)
    return readers and #readers == 1 and readers[1] or nil
end

function Reader:at_end()
    return self.tokens[self.at] == nil
end

local function is_written(token, text)
    return token and token.kind ~= "string" and token.text:upper() == text
end

-- Takes the token here if it is this word or operator, in any case.
function Reader:take(text)
    local token = self.tokens[self.at]
    if is_written(token, text) then
        self.at = self.at + 1
        return token
    end
end

-- Takes the token here, which there must be, and returns its text.
function Reader:take_any()
    self.at = self.at + 1
    return self.tokens[self.at - 1].text
end

-- Takes the tokens here if they are these words and operators, all of them: reader:take_all("SHOW", "ENGINES").
function Reader:take_all(...)
    for i = 1, select("#", ...) do
        if not is_written(self.tokens[self.at + i - 1], (select(i, ...))) then
            return false
        end
    end
    self.at = self.at + select("#", ...)
    return true
end

-- Takes the token here if it is of this kind.
function Reader:take_kind(kind)
    local token = self.tokens[self.at]
    if token and token.kind == kind then
        self.at = self.at + 1
        return token
    end
end

-- Moves on to the first of these words, or to the end.
function Reader:skip_to(...)
    while not self:at_end() do
        for i = 1, select("#", ...) do
            if is_written(self.tokens[self.at], (select(i, ...))) then
                return
            end
        end
        self.at = self.at + 1
    end
end

-- Takes a name in quotes, and returns it without them.
function Reader:quoted_name()
    local quoted = self:take_kind("quoted")
    return quoted and quoted.text:sub(2, -2):gsub("``", "`") or nil
end

-- Takes a name, and returns it without its quotes.
function Reader:name()
    local word = self:take_kind("word")
    return word and word.text or self:quoted_name()
end

-- Takes a string that is a pattern of LIKE, and returns it as it is written: to LIKE a backslash means the same as in a
-- string. nil if it is longer than any that clients send by themselves.
function Reader:pattern()
    local token = self:take_kind("string")
    if not token or #token.text > LONGEST_STRING then
        return nil
    end
    local quote, body = token.text:match("^(['\"])(.*)['\"]$")
    return quote and body:gsub(quote .. quote, quote) or nil
end

local ESCAPED = { ["0"] = "\0", b = "\b", n = "\n", r = "\r", t = "\t", Z = "\26" }

-- Takes a string, and returns its value; nil as above.
function Reader:text()
    local written = self:pattern()
    return written and written:gsub("\\(.)", function(letter)
        return ESCAPED[letter] or letter
    end) or nil
end

-- Takes all that is left, and returns it as it is written; nil at the end.
function Reader:rest()
    local first = self.at
    self.at = #self.tokens + 1
    return first < self.at and self:text_from(first) or nil
end

-- The text from one token to the one before the current.
function Reader:text_from(first)
    return self.sql:sub(self.tokens[first].from, self.tokens[self.at - 1].to)
end

return token_reader
