-- Errors, as scripts see them and as clients are sent them.

local checks = require "dpml.checks"

local errors = {}

-- Errors are { errnum, sqlstate, message }, and print as MySQL's CLI would.
local error_meta = {
    __tostring = function(err)
        return ("ERROR %d (%s): %s"):format(err.errnum, err.sqlstate, err.message)
    end,
}

function errors.new(errnum, sqlstate, message)
    return setmetatable({ errnum = errnum, sqlstate = sqlstate, message = message }, error_meta)
end

-- The order of the arguments is easily mistaken.
local function check(what, sqlstate, errnum, message)
    if type(sqlstate) ~= "string" or #sqlstate ~= 5 then
        checks.fail(what, "sqlstate: expected a string of 5 characters, got " .. tostring(sqlstate))
    elseif type(errnum) ~= "number" or errnum < 0 or errnum > 65535 or errnum ~= math.floor(errnum) then
        checks.fail(what, "errnum: expected an integer from 0 to 65535, got " .. tostring(errnum))
    end
    checks.argument(what, "message", message, "a string")
end

-- For scripts, in the order that send_error has.
function errors.new_error(sqlstate, errnum, message)
    check("dpml.new_error", sqlstate, errnum, message)
    return errors.new(errnum, sqlstate, message)
end

function errors.from_packet(packet)
    return errors.new(packet:errnum(), packet:sqlstate(), packet:message())
end

-- Whatever was raised, as text for the log: a __tostring that fails is no reason to fail again.
function errors.text(err)
    local shown, text = pcall(tostring, err)
    return shown and type(text) == "string" and text or ("an error that cannot be shown, a " .. type(err))
end

-- Whatever was raised, as an error that can be sent to a client. What is none of ours has a place in
-- a script in it, and perhaps worse: that is for the log and not for clients. Numbers from 2000 to 2999 are those of
-- clients themselves; of a server MariaDB's take none of them, and say that the packet is malformed.
function errors.presentable(err)
    if getmetatable(err) == error_meta and type(err.errnum) == "number" then
        local is_clients = err.errnum >= 2000 and err.errnum < 3000
        return is_clients and errors.new(1105, "08S01", err.message) or err
    end
    return errors.new(1105, "HY000", "The proxy's script has failed; its log says why")
end

function errors.is_error(err)
    return getmetatable(err) == error_meta
end

-- Servers' own numbers for what is interrupted: clients know them.
function errors.timed_out(milliseconds)
    local err = errors.new(3024, "HY000", ("Query execution was interrupted, %g ms exceeded"):format(milliseconds))
    err.timed_out = true
    return err
end

function errors.cancelled(reason)
    local err = errors.new(1317, "70100", "Query execution was interrupted" .. (reason and ": " .. reason or ""))
    err.cancelled = true
    return err
end

function errors.send_error(conn, sqlstate, errnum, message)
    checks.argument("dpml.send_error", "conn", conn, "a connection")
    check("dpml.send_error", sqlstate, errnum, message)
    local packet = dpm.new_err_pkt()
    packet:errnum(errnum)
    packet:sqlstate(sqlstate)
    packet:message(message)
    checks.relay(dpm.wire_packet, conn, packet)
end

return errors
