-- Reads the words of an administrative statement, such as ADD DB … or POLL …, from left to right.
--
-- Clients may send texts of any length and form, so each step takes linear time. A Lua pattern does only if it is
-- anchored, and if no two neighbouring repetitions can match the same characters.

local scanner = {}

local Scanner = {}
Scanner.__index = Scanner

-- Begins with the first word of a text.
function scanner.new(text)
    return setmetatable({ text = text, at = text:find("%S") or #text + 1 }, Scanner)
end

local function go_to(self, from)
    self.at = self.text:find("%S", from) or #self.text + 1
end

function Scanner:is_over()
    return self.at > #self.text
end

-- Takes these words, given in upper case, if all of them come next, in any case. Returns whether they did.
function Scanner:take(...)
    local before = self.at
    for i = 1, select("#", ...) do
        local word = select(i, ...)
        local behind = self.at + #word
        if self.text:sub(self.at, behind - 1):upper() ~= word or self.text:find("^%S", behind) then
            self.at = before
            return false
        end
        go_to(self, behind)
    end
    return true
end

-- The next word; nil at the end.
function Scanner:word()
    local word, behind = self.text:match("^(%S+)()", self.at)
    if word then
        go_to(self, behind)
    end
    return word
end

-- The next word if it is a number without a sign, as text; nil otherwise.
function Scanner:number()
    local word = self.text:match("^[%d%.]+", self.at)
    if word and not self.text:find("^%S", self.at + #word) then
        return self:word()
    end
end

-- What is left, if that is one text in quotes: without them. nil otherwise.
function Scanner:quoted()
    return scanner.unquoted(self:rest() or "")
end

-- What is left; nil at the end.
function Scanner:rest()
    return not self:is_over() and self.text:sub(self.at) or nil
end

-- The text between quotes; nil if there are none around it.
function scanner.unquoted(text)
    return text:match("^['\"`](.*)['\"`]$")
end

-- The text without blanks at its end.
function scanner.trimmed(text)
    return text:match("^.*%S") or ""
end

return scanner
