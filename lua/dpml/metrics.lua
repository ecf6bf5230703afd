-- What watches the program over HTTP: /metrics for Prometheus, /healthz and /readyz for probes, and a live page.

local checks = require "dpml.support.checks"
local families = require "dpml.metrics.families"
local snapshots = require "dpml.metrics.snapshots"

local metrics = {}

local NAME = "dpml.metrics"
local OPTIONS = { page = "a boolean", ready = "a function", digests = "an integer" }

local DIGESTS, MOST_DIGESTS = 15, 100 -- how many the page shows

local held = {} -- the listeners, each until it is closed

local function hold(http)
    for each in pairs(held) do
        if not each:is_open() then
            held[each] = nil
        end
    end
    held[http] = true
end

-- Nothing is fetched from elsewhere, nothing is run but what is in the page, and nobody may show the page in theirs.
local PAGE_HEADERS = {
    ["Content-Type"] = "text/html; charset=utf-8",
    ["Cache-Control"] = "no-store",
    ["X-Content-Type-Options"] = "nosniff",
    ["Referrer-Policy"] = "no-referrer",
    ["Content-Security-Policy"] = "default-src 'none'; script-src '%s'; style-src '%s'; connect-src 'self'; "
        .. "img-src data:; base-uri 'none'; form-action 'none'; frame-ancestors 'none'",
}

local function text(status, body)
    return status, { ["Cache-Control"] = "no-store", ["X-Content-Type-Options"] = "nosniff" }, body .. "\n"
end

local function exposed(request, exchange)
    families.everywhere(function(all)
        local written, content_type = dpm.exposition(all, request.headers.accept)
        exchange:answer(200, { ["Content-Type"] = content_type, ["Cache-Control"] = "no-store" }, written)
    end)
end

local function healthy()
    return text(200, "ok")
end

-- Whether new clients should be sent here.
local function readiness(ready)
    return function()
        if dpm.is_stopping() then
            return text(503, "stopping")
        end
        local is_ready, why = true, nil
        if ready then
            is_ready, why = ready()
        end
        if is_ready then
            return text(200, "ready")
        end
        return text(503, why and tostring(why) or "not ready")
    end
end

-- The hash of what is between a tag and its end, by which the policy allows just that.
local function hash_of(page, tag)
    return dpm.integrity(page:match(("<%s>(.-)</%s>"):format(tag, tag)))
end

local function live_page()
    local page = dpm.library_file("dpml/metrics/page.html")
    local headers = {}
    for name, value in pairs(PAGE_HEADERS) do
        headers[name] = value
    end
    local policy = headers["Content-Security-Policy"]
    headers["Content-Security-Policy"] = policy:format(hash_of(page, "script"), hash_of(page, "style"))
    return function()
        return 200, headers, page
    end
end

-- Answers GET and HEAD of certain paths. All others are for the function that the listener has had before.
local function handler(routes, otherwise)
    return function(request, exchange)
        local route = routes[request.path]
        if not route then
            if otherwise then
                return otherwise(request, exchange)
            end
            return text(404, "nothing is here")
        end
        if request.method ~= "GET" and request.method ~= "HEAD" then
            return 405, { Allow = "GET, HEAD" }, "only GET and HEAD\n"
        end
        return route(request, exchange)
    end
end

-- Shows the figures of the program over a listener of dpm.http_listener, which is held until it is closed. What the listener
-- has answered before it still answers. Options: page = false (no live page), ready = function() that returns whether new
-- clients are welcome, and why not; digests: how many of them the page shows.
function metrics.metrics(http, options)
    checks.argument(NAME, "listener", http, "an http_listener")
    options = options or {}
    checks.options(NAME, options, OPTIONS)
    local count = options.digests or DIGESTS
    if count < 0 or count > MOST_DIGESTS then
        checks.fail(NAME, ("digests: expected an integer from 0 to %d, got %d"):format(MOST_DIGESTS, count))
    end
    families.answer()
    snapshots.answer()
    local routes = { ["/metrics"] = exposed, ["/healthz"] = healthy, ["/readyz"] = readiness(options.ready) }
    if options.page ~= false then
        routes["/"] = live_page()
        routes["/events"] = snapshots.watcher(count)
    end
    http:handler(handler(routes, http:handler()))
    hold(http)
end

return metrics
