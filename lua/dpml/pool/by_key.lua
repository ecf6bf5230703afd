-- Chooses servers by keys: each key has its server, and if one is gone, only its own keys move (rendezvous hashing).

local bit = require "bit"

local checks = require "dpml.support.checks"

local by_key = {}

local NAME = "dpml.by_key"
local WORD = 2 ^ 32

-- The product of two 32-bit numbers, modulo 2^32, in numbers that are exact up to 2^53.
local function multiply(a, b)
    local low, high = a % 65536, math.floor(a / 65536)
    return (low * b + high * b % 65536 * 65536) % WORD
end

local function mix(value, shift, factor)
    return multiply(bit.bxor(value, bit.rshift(value, shift)) % WORD, factor)
end

-- FNV-1a, whose bits are mixed once more so that names that differ in their ends alone differ throughout.
local function hash(text)
    local value = 2166136261
    for place = 1, #text do
        value = multiply(bit.bxor(value, text:byte(place)) % WORD, 16777619)
    end
    value = mix(mix(value, 16, 0x85ebca6b), 13, 0xc2b2ae35)
    return bit.bxor(value, bit.rshift(value, 16)) % WORD
end

-- A policy for the option `choose` of pools: `key_of(client, user)` returns a string, or nil for any server.
function by_key.by_key(key_of)
    checks.argument(NAME, "key_of", key_of, "a function")
    return function(names, client, user)
        local key = key_of(client, user)
        if key == nil then
            return nil
        end
        local best, highest
        for _, name in ipairs(names) do
            local value = hash(tostring(key) .. "\0" .. name)
            if not highest or value > highest then
                best, highest = name, value
            end
        end
        return best
    end
end

return by_key
