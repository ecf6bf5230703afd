-- Requests over HTTP/1.1, for tasks: webhooks, services that are asked, collectors of traces.

local checks = require "dpml.support.checks"
local tasks = require "dpml.tasks"

local http_request = {}

local NAME = "dpml.http_request"
local OPTIONS = {
    url = "a string", method = "a string", headers = "a table", body = "a string", timeout = "a number",
    max_size = "an integer", tls = "a table", redirects = "an integer",
}

local TIMEOUT = 10       -- seconds for the whole request
local MOST_REDIRECTS = 20

-- What an answer says to ask for instead, with the same method.
local MOVED = { [301] = true, [302] = true, [303] = true, [307] = true, [308] = true }
-- With these the method becomes GET, as browsers have it: 303 says so, the other two have meant it for as long as there are.
local AS_GET = { [301] = true, [302] = true, [303] = true }

-- Headers that are for the server alone that they were written for.
local SECRET = { authorization = true, cookie = true }
-- Headers that are about a body.
local OF_BODY = { ["content-type"] = true, ["content-encoding"] = true }

local function fail(url, problem)
    error(("%s: %s: %s"):format(NAME, url, problem), 0)
end

-- The addresses of a host, or nil and why there are none.
local function addresses_of(parsed, left)
    if not parsed.has_name then
        return { parsed.host }
    end
    local answer = tasks.await(NAME, function(resume)
        local timer = dpm.new_timer()
        timer:schedule(0, math.max(1, math.ceil(left)), function()
            timer:cancel()
            resume(true, { problem = "the name was not found in time" })
        end)
        dpm.resolve(parsed.host, function(addresses, problem)
            timer:cancel()
            resume(true, { addresses = addresses, problem = problem })
        end)
        return function()
            timer:cancel()
        end
    end)
    return answer.addresses, answer.problem
end

local function send(request, addresses)
    local outcome = tasks.await(NAME, function(resume)
        local call = checks.relay(dpm.http_request, request, addresses, function(answer, problem)
            resume(true, { answer = answer, problem = problem })
        end)
        return function()
            call:cancel()
        end
    end)
    return outcome.answer, outcome.problem
end

-- One request and its answer, until `deadline`.
local function exchange(request, parsed, deadline)
    local addresses, problem = addresses_of(parsed, deadline - dpm.monotonic())
    if not addresses then
        return fail(parsed.url, ("no address for %s: %s"):format(parsed.host, problem))
    end
    request.url, request.timeout = parsed.url, math.max(deadline - dpm.monotonic(), 1) / 1000
    local answer, why = send(request, addresses)
    return answer or fail(parsed.url, why)
end

local function without(headers, names)
    local kept = {}
    for name, value in pairs(headers or {}) do
        if not names[name:lower()] then
            kept[name] = value
        end
    end
    return kept
end

-- Changes the request to what an answer says to ask for instead.
local function redirect(request, status, from, to)
    if AS_GET[status] and request.method ~= "HEAD" then
        request.method, request.body = "GET", nil
        request.headers = without(request.headers, OF_BODY)
    end
    if from.scheme ~= to.scheme or from.host ~= to.host or from.port ~= to.port then
        request.headers = without(request.headers, SECRET)
    end
end

-- Sends a request, and waits for its answer: { status =, headers = { by their names in small letters }, body =, url = }.
-- Raises an error if there is none; an answer of any status is one. Options: url, method (GET, or POST if there is a body),
-- headers, body, timeout (seconds, 10), max_size (bytes of the answer's body, 1 MiB), redirects (how many are followed, 0),
-- tls (as dpm.connect has it; by default the system's authorities must vouch for the server's name).
function http_request.http_request(options)
    checks.options(NAME, options, OPTIONS)
    checks.argument(NAME, "url", options.url, "a string")
    local redirects = options.redirects or 0
    if redirects < 0 or redirects > MOST_REDIRECTS then
        checks.fail(NAME, ("redirects: expected an integer from 0 to %d, got %d"):format(MOST_REDIRECTS, redirects))
    end
    local timeout = options.timeout or TIMEOUT
    if not (timeout > 0 and timeout <= 86400) then
        checks.fail(NAME, ("timeout: expected seconds, more than 0 and up to 86400, got %s"):format(tostring(timeout)))
    end
    tasks.current(NAME)
    local request = {
        method = options.method, headers = options.headers, body = options.body, max_size = options.max_size,
        tls = options.tls,
    }
    local deadline = dpm.monotonic() + timeout * 1000
    local parsed = checks.relay(dpm.parse_url, options.url)
    for hop = 0, redirects do
        local answer = exchange(request, parsed, deadline)
        local location = answer.headers.location
        if not MOVED[answer.status] or not location or hop == redirects then
            answer.url = parsed.url
            return answer
        end
        local ok, to = pcall(dpm.parse_url, location, parsed.url)
        if not ok then
            return fail(parsed.url, "it redirects to what cannot be asked for: " .. location:sub(1, 200))
        end
        redirect(request, answer.status, parsed, to)
        parsed = to
    end
end

return http_request
