-- Errors, as scripts see them and as clients are sent them.

local errors = {}

-- The errors handed to callbacks are { errnum, sqlstate, message }, and print as MySQL's CLI would.
local error_meta = {
    __tostring = function(err)
        return ("ERROR %d (%s): %s"):format(err.errnum, err.sqlstate, err.message)
    end,
}

function errors.new(errnum, sqlstate, message)
    return setmetatable({ errnum = errnum, sqlstate = sqlstate, message = message }, error_meta)
end

function errors.from_packet(packet)
    return errors.new(packet:errnum(), packet:sqlstate(), packet:message())
end

function errors.send_error(conn, sqlstate, errnum, message)
    local packet = dpm.new_err_pkt()
    packet:errnum(errnum)
    packet:sqlstate(sqlstate)
    packet:message(message)
    dpm.wire_packet(conn, packet)
end

return errors
