-- Failures of scripts' functions that serve a client.

local errors = require "dpml.support.errors"
local warnings = require "dpml.support.warnings"

local failures = {}

-- Logs why `what` ("its handler", ...) has failed, unless the error is one that the client alone needs to know: a bug,
-- or a server that could not be connected to.
function failures.log(client, what, problem)
    if not errors.is_error(problem) then
        dpm.log("error", ("client %d: %s has failed: %s"):format(client:id(), what, errors.text(problem)))
    elseif errors.is_of_connecting(problem) then
        warnings.warn("failures", ("client %d: %s has no server: %s"):format(client:id(), what, tostring(problem)))
    end
end

return failures
