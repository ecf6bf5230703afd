-- SELECT without what makes it lock: FOR UPDATE, FOR SHARE, LOCK IN SHARE MODE. The plan is the same, and can be asked
-- for in a session that only reads, without waiting for anybody's lock.

local locking_clauses = {}

-- The tokens of code, without comments.
local function code_of(sql, mode)
    local ok, tokens = pcall(dpm.tokenize, sql, mode)
    local code = {}
    for _, token in ipairs(ok and tokens or {}) do -- an error: too many of them
        if token.kind ~= "comment" and token.kind ~= "version_comment" then
            token.word = token.kind == "word" and token.text:upper()
            code[#code + 1] = token
        end
    end
    return code
end

-- Whether these words stand at this place.
local function are_at(code, at, words)
    for i, word in ipairs(words) do
        local token = code[at + i - 1]
        if not token or token.word ~= word then
            return false
        end
    end
    return true
end

local CLAUSES = { { "FOR", "UPDATE" }, { "FOR", "SHARE" }, { "LOCK", "IN", "SHARE", "MODE" } }

-- The last token of the clause that begins here; nil if none does.
local function clause_end(code, at)
    local last
    for _, words in ipairs(CLAUSES) do
        last = last or are_at(code, at, words) and at + #words - 1
    end
    if not last then
        return nil
    end
    if are_at(code, last + 1, { "OF" }) then
        last = last + 2
        while code[last + 1] and code[last + 1].text == "," do
            last = last + 2
        end
    end
    if are_at(code, last + 1, { "NOWAIT" }) then
        return last + 1
    elseif are_at(code, last + 1, { "SKIP", "LOCKED" }) then
        return last + 2
    elseif are_at(code, last + 1, { "WAIT" }) and code[last + 2] and code[last + 2].kind == "number" then
        return last + 2
    end
    return last
end

-- `mode` is that of dpm.tokenize.
function locking_clauses.remove(sql, mode)
    local upper = sql:upper()
    if not upper:find("UPDATE", 1, true) and not upper:find("SHARE", 1, true) then
        return sql
    end
    local code, kept, from, at = code_of(sql, mode), {}, 1, 1
    while code[at] do
        local last = clause_end(code, at)
        if last and code[last] then
            kept[#kept + 1] = sql:sub(from, code[at].from - 1)
            from, at = code[last].to + 1, last
        end
        at = at + 1
    end
    kept[#kept + 1] = sql:sub(from)
    return table.concat(kept)
end

return locking_clauses
