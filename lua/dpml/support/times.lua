-- Spans of time.

local checks = require "dpml.support.checks"

local times = {}

-- elapsed() starts a clock: it returns a function that returns the milliseconds since then. elapsed(seconds,
-- microseconds), with the results of dpm.gettimeofday(), returns the milliseconds since that time.
function times.elapsed(seconds, microseconds)
    if seconds then
        local now_seconds, now_microseconds = dpm.gettimeofday()
        return (now_seconds - seconds) * 1000 + (now_microseconds - (microseconds or 0)) / 1000
    end
    local started = dpm.monotonic()
    return function()
        return dpm.monotonic() - started
    end
end

local LONG = { { "d", 86400000 }, { "h", 3600000 }, { "min", 60000 }, { "s", 1000 } }

-- Milliseconds as a person says them: "350 µs", "12.4 ms", "1.25 s", "2 min 5 s", "3 d 4 h".
function times.duration(milliseconds)
    checks.argument("dpml.duration", "milliseconds", milliseconds, "a number")
    if milliseconds < 0 then
        return "-" .. times.duration(-milliseconds)
    elseif milliseconds < 1 then
        return ("%.0f µs"):format(milliseconds * 1000)
    elseif milliseconds < 999.95 then
        return ("%.3g ms"):format(milliseconds)
    elseif milliseconds < 59995 then
        return ("%.3g s"):format(milliseconds / 1000)
    end
    local left = math.floor(milliseconds / 1000 + 0.5) * 1000
    for i, unit in ipairs(LONG) do
        local count = math.floor(left / unit[2])
        if count > 0 then
            local next_unit = LONG[i + 1]
            local rest = next_unit and math.floor((left - count * unit[2]) / next_unit[2]) or 0
            return rest > 0 and ("%d %s %d %s"):format(count, unit[1], rest, next_unit[1]) or ("%d %s"):format(count, unit[1])
        end
    end
end

local UNITS = { us = 0.001, ["µs"] = 0.001, ms = 1, s = 1000, min = 60000, m = 60000, h = 3600000, d = 86400000 }

-- The milliseconds of a text: "250ms", "1.5 s", "2 min 5 s", "3h"; a bare number is seconds. nil if it
-- is no duration.
function times.milliseconds(text)
    if tonumber(text) then
        return tonumber(text) * 1000
    end
    local total, at, found = 0, 1, false
    text = tostring(text)
    while at <= #text do
        -- tonumber() decides what of digits and dots is a number.
        local number, unit, behind = text:match("^%s*(%d[%d.]*)%s*([%aµ]+)%s*()", at)
        if not tonumber(number) or not UNITS[unit] then
            return nil
        end
        total, at, found = total + number * UNITS[unit], behind, true
    end
    return found and total or nil
end

return times
