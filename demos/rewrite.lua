-- rewrite.lua: gives each SELECT that has no LIMIT one of 1000 rows, by its tokens and not by its letters.
-- Run: dpm --startfile demos/rewrite.lua -- [backend host] [port] [listen port] [ignored] [ignored] [rows]
-- Look: SELECT 'no LIMIT' FROM a large table: so many rows and no more; with a LIMIT of your own: those.

local dpml = require "dpml"
local host, port, listen_port = arg[1] or "127.0.0.1", tonumber(arg[2]) or 3306, tonumber(arg[3]) or 5500

-- What there is behind a SELECT that a LIMIT has no place behind, or no business with.
local ENDINGS = { LIMIT = true, FETCH = true, PROCEDURE = true }

-- Where in the SELECT a LIMIT belongs: behind the last token that means something, and before a comment or a
-- semicolon. nil if it has one, or may have one: what is within parentheses is not its own.
local function place_for_limit(sql)
    local depth, place = 0, nil
    for _, token in ipairs(dpm.tokenize(sql)) do
        if token.text == "(" then
            depth = depth + 1
        elseif token.text == ")" then
            depth = depth - 1
        elseif token.kind == "version_comment" then
            return nil
        elseif token.kind == "word" and depth == 0 and ENDINGS[token.text:upper()] then
            return nil
        end
        if token.kind ~= "comment" and token.text ~= ";" then
            place = token.to
        end
    end
    return place
end

-- A plug-in: `rows` is the LIMIT.
local function rewrite(rows)
    return {
        new_command = function(cmd)
            if cmd:command() ~= dpm.COM_QUERY and cmd:command() ~= dpm.COM_STMT_PREPARE then return end
            local sql = cmd:argument()
            local kind, info = dpm.statement_kind(sql)
            -- SELECT … INTO and SELECT … FOR UPDATE are not for reading, and have their ends taken.
            if kind ~= "SELECT" or info.into or info.locking or info.multi > 1 then return end
            local place = place_for_limit(sql)
            if place then
                cmd:argument(sql:sub(1, place) .. " LIMIT " .. rows .. sql:sub(place + 1))
                return cmd -- instead of the client's own
            end
        end,
    }
end
if ... then return rewrite end -- another script requires it

local listener = dpm.listener("127.0.0.1", listen_port)
dpml.passthrough_new_clients(listener, rewrite(tonumber(arg[6]) or 1000), { host, port })
print("dpm: rewrite listening on 127.0.0.1:" .. listener:socket_port())
