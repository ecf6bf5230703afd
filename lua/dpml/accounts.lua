-- Who may log in, and what those who may not are told apart by: nothing.

-- Chance, the same for as long as this process lives.
local SALT = dpm.new_handshake_pkt():scramble_buff()

local function number_of(user, count)
    local number = 0
    for _, byte in ipairs({ (SALT .. user):byte(1, 64) }) do
        number = (number * 31 + byte) % 2 ^ 32
    end
    return number % count + 1
end

-- Makes accounts a function: user -> credential or nil, and a credential that one who does not exist
-- is treated like. The method that a client is asked for depends on its account's credential; so
-- that nobody can tell by it who has an account, each name without one goes with the credential of
-- some account, always the same. Which accounts a function knows only it can tell: its second result
-- is that credential.
return function(accounts)
    local credential_of, users, examples = accounts, {}, {}
    if type(accounts) ~= "function" then
        credential_of = function(user)
            return accounts[user]
        end
        for user in pairs(accounts) do
            users[#users + 1] = user
        end
        table.sort(users)
        for i, user in ipairs(users) do
            examples[i] = accounts[user]
        end
    end
    return function(user, client)
        local credential, like = credential_of(user, client)
        return credential, like or examples[number_of(user, math.max(#examples, 1))]
    end
end
