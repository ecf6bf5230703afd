-- One name for each option. Older names still work.

local checks = require "dpml.support.checks"

local words = {}

local TODAYS = { pass = "password", db = "database", timeout = "timeout_ms", threshold = "threshold_ms" }

-- A copy of a table of options with today's names, and a table of the names that were given, by today's names.
function words.read(what, options)
    local read, given = {}, {}
    for name, value in pairs(options) do
        local todays = TODAYS[name]
        if todays and options[todays] ~= nil then
            checks.fail(what, ("%s and %s are the same, and both are given"):format(todays, name))
        end
        read[todays or name], given[todays or name] = value, name
    end
    return read, given
end

-- The options' time-out in milliseconds; nil if there is none.
function words.timeout_ms(options)
    if options then
        return options.timeout_ms or options.timeout
    end
end

return words
