-- rows.lua: rewrites columns and rows on their way to the client, and adds a row of its own.
-- Run: dpm --startfile demos/rows.lua -- [backend host] [backend port] [listen port]
-- Look: mysql -h 127.0.0.1 -P 5500 ..., then SELECT 'a' AS b: capitals, and a last row added by dpm.

local dpml = require "dpml"
local host, port, listen_port = arg[1] or "127.0.0.1", tonumber(arg[2]) or 3306, tonumber(arg[3]) or 5500

local text_types = { [dpm.MYSQL_TYPE_VAR_STRING] = true, [dpm.MYSQL_TYPE_STRING] = true }

-- A plug-in: what a callback returns goes to the client in place of the callback's packet.
local function rows(client, server)
    local rset, is_text -- the result that is passing, and which of its columns are text

    -- MariaDB's clients cache the columns of prepared statements; without this capability they are sent every time.
    server:register(dpm.MYS_WAIT_AUTH, function(handshake)
        handshake:server_capabilities(dpm.MARIADB_CLIENT_CACHE_METADATA, false)
        dpm.wire_packet(client, handshake)
        return dpm.DPM_NOPROXY
    end)
    return {
        new_command = function(cmd)
            if cmd:command() ~= dpm.COM_STMT_EXECUTE then return end
            cmd:execute_flags(dpm.CURSOR_TYPE_READ_ONLY, false) -- all rows come at once rather than by COM_STMT_FETCH
            return cmd
        end,
        new_result = function(packet) rset, is_text = packet, {} end,
        new_field = function(field)
            local name, type = field:name()
            is_text[#is_text + 1] = text_types[type] or false
            field:name(name:upper(), type)
            return field
        end,
        new_row = function(row)
            local values = rset:parse_row_array(row)
            for i, text in ipairs(is_text) do
                values[i] = values[i] and text and values[i]:upper() or values[i]
            end
            rset:pack_row(row, values)
            return row
        end,
        -- The packet that ends a result passes unchanged, after a row that is not the server's.
        finished_result = function(packet)
            if not rset then return end -- an OK
            local row, values = dpm.new_row_pkt(), {}
            for i, text in ipairs(is_text) do values[i] = text and "DPM WAS HERE" or nil end
            rset:pack_row(row, values)
            rset = nil
            return row, packet
        end,
        failed_command = function() rset = nil end,
    }
end

local listener = dpm.listener("127.0.0.1", listen_port)
dpml.passthrough_new_clients(listener, rows, { host, port })
print("dpm: rows listening on 127.0.0.1:" .. listener:socket_port())
