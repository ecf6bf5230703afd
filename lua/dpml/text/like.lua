-- LIKE as servers match it, regardless of case.

local errors = require "dpml.support.errors"

local like = {}

local LONGEST = 256 -- bytes of a pattern besides its %: matching takes as long as the pattern times the text

local ANY, ONE = {}, {} -- what % and _ stand for

local function parse(pattern)
    local parts, count, at = {}, 0, 1
    while at <= #pattern do
        local part = pattern:sub(at, at)
        if part == "\\" and at < #pattern then
            at = at + 1
            part = pattern:sub(at, at)
        elseif part == "%" then
            part = ANY
        elseif part == "_" then
            part = ONE
        end
        if part ~= ANY or parts[#parts] ~= ANY then
            parts[#parts + 1] = part
        end
        count = count + (part ~= ANY and 1 or 0)
        if count > LONGEST then
            error(errors.new(1105, "HY000", ("The pattern of LIKE has more than %d characters"):format(LONGEST)), 0)
        end
        at = at + 1
    end
    return parts
end

-- The match of the last % is extended until the rest fits.
local function matches(text, parts)
    local at, place, retry_at, retry_place = 1, 1, nil, nil
    while at <= #text do
        local wanted = parts[place]
        if wanted == ANY then
            place = place + 1
            retry_at, retry_place = at, place
        elseif wanted == ONE or wanted == text:sub(at, at) then
            at, place = at + 1, place + 1
        elseif retry_at then
            retry_at = retry_at + 1
            at, place = retry_at, retry_place
        else
            return false
        end
    end
    return parts[place] == nil or parts[place] == ANY and parts[place + 1] == nil
end

-- A function that tells whether a text is LIKE this pattern; without a pattern, all are.
function like.matcher(pattern)
    if not pattern then
        return function()
            return true
        end
    end
    local parts = parse(pattern:lower())
    return function(text)
        return matches(text:lower(), parts)
    end
end

return like
