-- Errors, in the form for scripts and for clients.

local checks = require "dpml.support.checks"

local errors = {}

-- Errors are { errnum, sqlstate, message }, and print like in MySQL's client.
local error_meta = {
    __tostring = function(err)
        return ("ERROR %d (%s): %s"):format(err.errnum, err.sqlstate, err.message)
    end,
}

function errors.new(errnum, sqlstate, message)
    return setmetatable({ errnum = errnum, sqlstate = sqlstate, message = message }, error_meta)
end

-- Checked because the order of the arguments is easily confused.
local function check(what, sqlstate, errnum, message)
    if type(sqlstate) ~= "string" or #sqlstate ~= 5 then
        checks.fail(what, "sqlstate: expected a string of 5 characters, got " .. tostring(sqlstate))
    elseif type(errnum) ~= "number" or errnum < 0 or errnum > 65535 or errnum ~= math.floor(errnum) then
        checks.fail(what, "errnum: expected an integer from 0 to 65535, got " .. tostring(errnum))
    end
    checks.argument(what, "message", message, "a string")
end

-- For scripts, with the order of arguments of send_error.
function errors.new_error(sqlstate, errnum, message)
    check("dpml.new_error", sqlstate, errnum, message)
    return errors.new(errnum, sqlstate, message)
end

function errors.from_packet(packet)
    return errors.new(packet:errnum(), packet:sqlstate(), packet:message())
end

-- Why there is no connection to a server: "failed", or "refused" if the server has said so. Then its message may name
-- the account by which the proxy logs in.
function errors.of_connecting(err, how)
    err.connecting = how
    return err
end

-- Any raised value as text for the log, even if its __tostring fails.
function errors.text(err)
    local shown, text = pcall(tostring, err)
    return shown and type(text) == "string" and text or ("an error that cannot be shown, a " .. type(err))
end

-- Numbers from 2000 to 2999 are the clients' own: MariaDB's clients do not accept them from a server, and report a
-- malformed packet.
local function is_clients_own(errnum)
    return errnum >= 2000 and errnum < 3000
end

-- Any raised value as an error that can be sent to a client. Errors that are not ours may contain script lines
-- and other internals, so clients get a general text instead.
function errors.presentable(err)
    if getmetatable(err) == error_meta and type(err.errnum) == "number" then
        return is_clients_own(err.errnum) and errors.new(1105, "08S01", err.message) or err
    end
    return errors.new(1105, "HY000", "The proxy's script has failed; its log says why")
end

function errors.is_error(err)
    return getmetatable(err) == error_meta
end

-- Whether it tells that a server could not be connected to, or logged in at.
function errors.is_of_connecting(err)
    return errors.is_error(err) and err.connecting ~= nil
end

-- Whether it is a server's refusal of a login.
function errors.is_refused_login(err)
    return errors.is_error(err) and err.connecting == "refused"
end

-- The servers' own numbers for interruptions, which clients know.
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
    if is_clients_own(errnum) then
        sqlstate, errnum = "08S01", 1105
    end
    local packet = dpm.new_err_pkt()
    packet:errnum(errnum)
    packet:sqlstate(sqlstate)
    packet:message(dpm.to_utf8(message))
    checks.relay(dpm.wire_packet, conn, packet)
end

return errors
