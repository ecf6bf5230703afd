-- Warnings about what clients and servers do, which may be any number of times: the log gets each of them with its
-- reason, but of one kind no more than it can bear.

local warnings = {}

local BURST, PER_SECOND = 20, 1

local kinds = {} -- kind -> { left = how many may be logged now, at = since when, dropped = }

-- Logs a warning. `kind` is one of few constant texts.
function warnings.warn(kind, text)
    local now = dpm.monotonic()
    local bucket = kinds[kind] or { left = BURST, at = now, dropped = 0 }
    kinds[kind] = bucket
    bucket.left = math.min(BURST, bucket.left + (now - bucket.at) / 1000 * PER_SECOND)
    bucket.at = now
    if bucket.left < 1 then
        bucket.dropped = bucket.dropped + 1
        return
    end
    bucket.left = bucket.left - 1
    if bucket.dropped > 0 then
        text = ("%s (%d more like this were not logged)"):format(text, bucket.dropped)
        bucket.dropped = 0
    end
    dpm.log("warn", text)
end

return warnings
