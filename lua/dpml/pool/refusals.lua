-- Errors by which servers refuse logins: what they say of the account.

local errors = require "dpml.support.errors"

local refusals = {}

-- The password is wrong, or there is no such user.
function refusals.is_denied(err)
    return errors.is_refused_login(err) and (err.errnum == 1045 or err.errnum == 1698)
end

-- There is no room for this user, which a server says only to those whose password is right.
function refusals.is_full_for_user(err)
    return errors.is_refused_login(err)
        and (err.errnum == 1203 or err.errnum == 1226 and err.message:find("'max_user_connections'", 1, true) ~= nil)
end

-- There may be room later.
function refusals.is_about_room(err)
    return errors.is_refused_login(err) and err.errnum == 1040 or refusals.is_full_for_user(err)
end

return refusals
