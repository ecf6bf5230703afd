-- The passwords that clients have shown and a server has found right, by their users: in memory only, as objects that nobody
-- can read or print. Those that no client uses any more are kept for some users only.

local errors = require "dpml.support.errors"
local lru = require "dpml.support.lru"

local passwords = {}

-- A user's account at the servers. A *generation* is one of its passwords; connections that were made with one that is no longer
-- current have to retire.
local Account = {}
Account.__index = Account

local MOST_VALID = 2 -- as many as MySQL lets a user have at a time (RETAIN CURRENT PASSWORD)

local Passwords = {}
Passwords.__index = Passwords

-- A name for the account of this user: printable ASCII.
function passwords.key(user)
    return (user:gsub("[^%w_.@-]", function(character)
        return ("%%%02X"):format(character:byte())
    end))
end

-- Remembers `most` users that have no client; changed(account) is called when a generation is no longer current.
function passwords.new(most, changed)
    return setmetatable({
        changed = changed,
        used_last = lru.new(most),
        accounts = setmetatable({}, { __mode = "v" }), -- user -> account, as long as anybody has it
    }, Passwords)
end

-- What is known of a user; nil if that is nothing.
function Passwords:of(user)
    return self.used_last:get(user) or self.accounts[user]
end

local function position(account, password)
    for i, known in ipairs(account.passwords) do
        if known.password == password then
            return i
        end
    end
end

-- How many generations there have been.
function Passwords:generations(user)
    local account = self:of(user)
    return account and account.generations or 0
end

-- A server has found the password right, when it was asked at the time of that many generations. A password that is new
-- takes the place of those before it. One of these that is right nevertheless stays beside it: both are valid.
function Passwords:accepted(user, password, generations)
    local account = self:of(user)
    if not account then
        account = setmetatable({
            key = passwords.key(user), user = user, passwords = {}, generations = 0, changed = self.changed,
        }, Account)
        self.accounts[user] = account
    end
    self.used_last:put(user, account)
    local at = position(account, password)
    if at then
        local known = account.passwords[at]
        if known.is_current or account.generations == generations then
            known.is_current = true
            table.insert(account.passwords, 1, table.remove(account.passwords, at))
        end
        return account
    end
    local had_one = account.passwords[1] ~= nil
    for _, known in ipairs(account.passwords) do
        known.is_current = false
    end
    account.generations = account.generations + 1
    table.insert(account.passwords, 1, { password = password, generation = account.generations, is_current = true })
    account.passwords[MOST_VALID + 1] = nil
    if had_one then
        account.changed(account)
    end
    return account
end

-- A server has found it wrong.
function Passwords:refused(user, password)
    local account = self:of(user)
    local at = account and position(account, password)
    if at then
        table.remove(account.passwords, at)
        account.changed(account)
    end
end

-- The user and the password to log in with, and its generation; nil and an error if there is none any more, until a client
-- shows one.
function Account:login()
    local newest = self.passwords[1]
    if not newest then
        local text = "Access denied for user '%s': the password that it has logged in with is no longer right"
        return nil, errors.new(1045, "28000", text:format(self.user))
    end
    return { user = self.user, password = newest.password }, newest.generation
end

-- The password that a client may prove that it has, rather than show it.
function Account:known()
    local newest = self.passwords[1]
    return newest and newest.password
end

-- The password that only its clients have shown, as an object.
Account.shown = Account.known

-- Whether connections that were made with this generation can stay.
function Account:is_current(generation)
    for _, known in ipairs(self.passwords) do
        if known.generation == generation then
            return known.is_current
        end
    end
    return false
end

-- A server has refused a login with this generation, since the password is wrong.
function Account:refused(generation)
    for i, known in ipairs(self.passwords) do
        if known.generation == generation then
            table.remove(self.passwords, i)
            self.changed(self)
            return
        end
    end
end

return passwords
