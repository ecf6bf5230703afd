-- Addresses of servers: { host =, port = }, or { path = } for a unix socket; { "host", port } and { "/path" }
-- mean the same. Other options may be added.

local checks = require "dpml.support.checks"

local addresses = {}

-- The keys of an address, for checks.options.
addresses.KEYS = { host = "a string", port = "an integer", path = "a string", true, true }

local DEFAULT_PORT = 3306

-- A copy of `from` that has the parts of its address by name; a host that is a path becomes one.
function addresses.named(from)
    local named = {}
    for name, value in pairs(from) do
        if name ~= 1 and name ~= 2 then
            named[name] = value
        end
    end
    if named.host == nil then
        named.host = from[1]
    end
    if named.port == nil then
        named.port = from[2]
    end
    if type(named.host) == "string" and named.host:sub(1, 1) == "/" then
        named.host, named.path = nil, named.host
    end
    return named
end

-- The same, after checking that there is an address, and only options of `known` besides.
function addresses.read(what, from, known)
    checks.argument(what, "address", from, "a table")
    checks.options(what, from, known)
    local named = addresses.named(from)
    if named.path == nil then
        checks.argument(what, "host", named.host, "a string")
    end
    checks.argument(what, "port", named.port, "an integer or nil")
    return named
end

-- The address for error messages.
function addresses.show(address)
    return address.path or ("%s:%d"):format(address.host, address.port or DEFAULT_PORT)
end

-- Starts to connect there, with options of dpm.connect.
function addresses.connect(address, options)
    if address.path then
        return checks.relay(dpm.connect_unix, address.path, options)
    end
    return checks.relay(dpm.connect, address.host, address.port or DEFAULT_PORT, options)
end

return addresses
