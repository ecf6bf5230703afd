-- What servers greet with, by their addresses: kept from each login at one, so that clients that log in at the proxy
-- can be greeted as by the servers behind it.

local bit = require "bit"
local lru = require "dpml.support.lru"

local greetings = {}

local MOST = 1000     -- servers of which it is kept
local FRESH = 30000   -- milliseconds; a server may have been restarted since, unnoticed

local known = lru.new(MOST) -- address -> { version =, collation =, capabilities =, autocommit =, seen_at = }

-- A number that changes with each change of what is known.
local edition = 0

function greetings.edition()
    return edition
end

-- A server has greeted so.
function greetings.keep(address, handshake)
    local greeting = {
        version = handshake:server_version(), collation = handshake:server_language(),
        capabilities = handshake:server_capabilities(),
        autocommit = handshake:server_status(dpm.SERVER_STATUS_AUTOCOMMIT),
    }
    local before = known:get(address)
    local is_other = not before
    for name, value in pairs(greeting) do
        is_other = is_other or before[name] ~= value
    end
    if is_other then
        known:put(address, greeting)
        edition = edition + 1
    end
    known:get(address).seen_at = dpm.monotonic()
end

-- The server has gone, or cannot be reached: it may greet otherwise when it is back.
function greetings.doubt(address)
    local greeting = known:get(address)
    if greeting then
        greeting.seen_at = nil
    end
end

-- Whether the server has greeted so a short while ago.
function greetings.is_fresh(address)
    local greeting = known:get(address)
    return greeting ~= nil and greeting.seen_at ~= nil and dpm.monotonic() - greeting.seen_at < FRESH
end

local HALF = 2 ^ 32

local function both(a, b)
    local low, high = bit.band(a % HALF, b % HALF) % HALF, bit.band(math.floor(a / HALF), math.floor(b / HALF))
    return high * HALF + low
end

local function is_mariadb(greeting)
    return greeting.version:find("MariaDB", 1, true) ~= nil
end

-- Whether version a is lower than b, both as servers greet with them.
local function is_lower(a, b)
    local function parts(version)
        -- MariaDB puts this before its version up to 10.11.
        return version:gsub("^5%.5%.5%-", ""):gmatch("%d+")
    end
    local of_a, of_b = parts(a), parts(b)
    for _ = 1, 3 do
        local x, y = tonumber(of_a()) or 0, tonumber(of_b()) or 0
        if x ~= y then
            return x < y
        end
    end
    return false
end

-- What clients may count on whichever of the servers they get: the capabilities that all have, autocommit if all have it
-- on, and the version and collation of the lowest version among the first that is known and those of its family
-- (MariaDB or MySQL). Nil if none is known.
function greetings.common(addresses)
    local lowest, capabilities, autocommit
    for _, address in ipairs(addresses) do
        local greeting = known:get(address)
        if greeting then
            if not lowest or is_mariadb(greeting) == is_mariadb(lowest) and is_lower(greeting.version, lowest.version) then
                lowest = greeting
            end
            capabilities = capabilities and both(capabilities, greeting.capabilities) or greeting.capabilities
            autocommit = autocommit ~= false and greeting.autocommit
        end
    end
    return lowest and {
        version = lowest.version, collation = lowest.collation, capabilities = capabilities, autocommit = autocommit,
    }
end

return greetings
