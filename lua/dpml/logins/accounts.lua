-- Accounts of clients; unknown users cannot be told from wrong passwords.

-- A random salt, the same during the life of this process.
local SALT = dpm.new_handshake_pkt():scramble_buff()

local function number_of(user, count)
    local number = 0
    for _, byte in ipairs({ (SALT .. user):byte(1, 64) }) do
        number = (number * 31 + byte) % 2 ^ 32
    end
    return number % count + 1
end

-- Makes accounts a function: user -> credential or nil, and the credential to treat an unknown user like. The
-- method that a client is asked for depends on its account's credential. So that it does not reveal which
-- accounts exist, each unknown name is treated like some account, always the same one. For accounts that are a
-- function, its second result is that credential.
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
