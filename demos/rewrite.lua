-- rewrite.lua: adds LIMIT 1000 to each SELECT that has no LIMIT, looking at its tokens rather than at its text.
-- Run: dpm --startfile demos/rewrite.lua -- [backend host] [port] [listen port] [ignored] [ignored] [rows]
-- Look: SELECT 'no LIMIT' FROM a large table: at most 1000 rows; with a LIMIT of your own: as many as that.

local dpml = require "dpml"
local host, port, listen_port = arg[1] or "127.0.0.1", tonumber(arg[2]) or 3306, tonumber(arg[3]) or 5500

-- Words outside parentheses after which no LIMIT can be added, or need not be.
local ENDINGS = { LIMIT = true, FETCH = true, PROCEDURE = true }

-- The place for a LIMIT in the SELECT: after its last token, not counting comments and semicolons. nil if it has a
-- LIMIT, or may have one. A LIMIT within parentheses is not the SELECT's own.
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
            -- SELECT … INTO and SELECT … FOR UPDATE are left alone: their endings belong after a LIMIT.
            if kind ~= "SELECT" or info.into or info.locking or info.multi > 1 then return end
            local place = place_for_limit(sql)
            if place then
                cmd:argument(sql:sub(1, place) .. " LIMIT " .. rows .. sql:sub(place + 1))
                return cmd -- replaces the client's command
            end
        end,
    }
end
if ... then return rewrite end -- required by another script

local listener = dpm.listener("127.0.0.1", listen_port)
dpml.passthrough_new_clients(listener, rewrite(tonumber(arg[6]) or 1000), { host, port })
print("dpm: rewrite listening on 127.0.0.1:" .. listener:socket_port())
