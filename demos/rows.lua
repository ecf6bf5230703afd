-- rows.lua: rewrites columns and rows on their way to the client, and adds a row of its own.
-- Run: dpm --startfile demos/rows.lua -- [backend host] [backend port] [listen port]
-- Look: mysql -h 127.0.0.1 -P 5500 ..., then SELECT 'a' AS b: capitals, and a last row by dpm.

local dpml = require "dpml"
local host, port, listen_port = arg[1] or "127.0.0.1", tonumber(arg[2]) or 3306, tonumber(arg[3]) or 5500

local text_types = { [dpm.MYSQL_TYPE_VAR_STRING] = true, [dpm.MYSQL_TYPE_STRING] = true }

local function new_client(client, server)
    local rset, is_text -- the result that is passing, and which of its columns are text
    local function send(packet)
        dpm.wire_packet(client, packet)
        return dpm.DPM_NOPROXY -- the original is held back
    end

    local function rewrite_field(field)
        if not rset then return dpm.DPM_OK end -- a column of a prepared statement, not of a result
        local name, type = field:name()
        rset:add_field(field)
        is_text[#is_text + 1] = text_types[type] or false
        field:name(name:upper(), type)
        return send(field)
    end

    local function rewrite_row(row)
        local values = rset:parse_row_array(row)
        for i, text in ipairs(is_text) do
            values[i] = values[i] and text and values[i]:upper() or values[i]
        end
        rset:pack_row(row, values)
        return send(row)
    end

    -- The packet that ends a result passes as it is, but behind a row that the server never sent.
    local function add_row()
        if not rset then return end
        local row, values = dpm.new_row_pkt(), {}
        for i, text in ipairs(is_text) do values[i] = text and "DPM WAS HERE" or nil end
        rset:pack_row(row, values)
        send(row)
        rset = nil
    end
    dpml.register_callbacks(server, {
        -- MariaDB's clients keep the columns of prepared statements: here they come every time.
        [dpm.MYS_WAIT_AUTH] = function(handshake)
            handshake:server_capabilities(dpm.MARIADB_CLIENT_CACHE_METADATA, false)
            return send(handshake)
        end,
        [dpm.MYS_SENT_RSET] = function(packet) rset, is_text = packet, {} end,
        [dpm.MYS_SENDING_FIELDS] = rewrite_field,
        [dpm.MYS_SENDING_ROWS] = rewrite_row,
        [dpm.MYS_SENDING_EOF] = add_row,
        [dpm.MYS_WAIT_CMD] = add_row,
        [dpm.MYS_RECV_ERR] = function() rset = nil end,
    })
end
listener = dpm.listener("127.0.0.1", listen_port) -- a global, or it would be collected
dpml.passthrough_new_clients(listener, { new_client = new_client }, { host, port })
print("dpm: rows listening on 127.0.0.1:" .. listener:socket_port())
