-- Statistics of statements by their digests, which are counted natively.

local checks = require "dpml.support.checks"

local digests = {}

local Digests = {}
Digests.__index = Digests

local NAME = "dpml.digests"
local OPTIONS = { max = "an integer", max_length = "an integer", by = "a table" }
local BY = { user = true, schema = true, server = true }

local MAX = 1000
local MAX_LENGTH = 1024 -- bytes of a digest

-- The first `count` digests by a column, from the largest: { digest =, calls =, total_us =, … } for each.
function Digests:top(count, column)
    local names = {}
    for _, declaration in ipairs(dpm.figures()) do
        if declaration.name == "digests" then
            for i, each in ipairs(declaration.columns) do
                names[i] = each.name
            end
        end
    end
    local list = checks.relay(dpm.top_digests, count or 10, column or "total_us")
    for i, row in ipairs(list) do
        local record = {}
        for place, name in ipairs(names) do
            record[name] = row[place]
        end
        list[i] = record
    end
    return list
end

-- Forgets all that was counted.
function Digests:reset()
    dpm.reset_digests()
end

-- Counts the statements of all clients by their digests, from now on: digests{ max =, max_length =, by = { "user", "schema",
-- "server" } }. There are one program's digests, so a later call begins anew.
function digests.digests(options)
    options = options or {}
    checks.options(NAME, options, OPTIONS)
    local by = {}
    for _, what in ipairs(options.by or {}) do
        checks.options(NAME, { [what] = true }, BY, "thing to tell digests apart by:")
        by[what] = true
    end
    checks.relay(dpm.count_digests, options.max or MAX, options.max_length or MAX_LENGTH, by.user == true, by.schema == true,
        by.server == true)
    return setmetatable({}, Digests)
end

return digests
