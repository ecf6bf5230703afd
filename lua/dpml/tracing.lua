-- Traces: the spans of queries, which are made natively, on their way to an OpenTelemetry collector (OTLP over HTTP, in JSON).
--
-- One batch is under way at a time. What the collector does not take for a while waits, up to a limit, beyond which spans are
-- dropped and counted: a collector that is slow or dead costs nobody anything but its spans.

local checks = require "dpml.support.checks"
local http_request = require "dpml.http_request"
local tasks = require "dpml.tasks"
local warnings = require "dpml.support.warnings"

local tracing = {}

local Tracing = {}
Tracing.__index = Tracing

local NAME = "dpml.tracing"
local OPTIONS = {
    endpoint = "a string", service_name = "a string", attributes = "a table", headers = "a table", tls = "a table",
    timeout = "a number", interval = "a number", retries = "an integer", sample = "a number", slower_than = "a number",
    statements = "a string", comment = "a boolean", max_text = "an integer", queue = "an integer", batch = "an integer",
}
-- Those that are about which spans there are, and what is in them.
local OF_SPANS = { "sample", "slower_than", "statements", "comment", "max_text", "queue", "batch" }

local ENDPOINT = "http://127.0.0.1:4318/v1/traces" -- a collector's usual one
local SCHEMA = "https://opentelemetry.io/schemas/1.40.0" -- whose names spans use
local TIMEOUT, INTERVAL, RETRIES = 10, 5, 4
local MOST_RETRIES, MOST_SECONDS = 20, 3600
local FIRST_PAUSE, LONGEST_PAUSE = 1, 30 -- seconds before a batch is sent again

-- The statuses that ask for the same once more, later.
local AGAIN = { [429] = true, [502] = true, [503] = true, [504] = true }

-- The resource: what all spans are from ------------------------------------------------------------

local function attribute(key, value)
    local kinds = { string = "stringValue", boolean = "boolValue", number = "doubleValue" }
    local kind = kinds[type(value)]
    if type(key) ~= "string" or not kind then
        checks.fail(NAME, "attributes: expected names with strings, numbers or booleans")
    end
    return { key = key, value = { [kind] = value } }
end

local function resource(options)
    local list = { attribute("service.name", options.service_name or "dpm") }
    for key, value in pairs(options.attributes or {}) do
        list[#list + 1] = attribute(key, value)
    end
    return dpm.json_encode { attributes = list }
end

-- Sending ------------------------------------------------------------------------------------------

-- A number from 0 to 1 that is another one in each program.
local function jitter()
    local _, microseconds = dpm.gettimeofday()
    return microseconds / 1e6
end

-- How many seconds an answer says to wait; HTTP's dates are not looked at.
local function told_pause(answer)
    local digits = answer and (answer.headers["retry-after"] or ""):match("^%d+$")
    return digits and math.min(tonumber(digits), LONGEST_PAUSE)
end

-- How many of a batch's spans an answer says that the collector has not taken, and why.
local function rejected(answer, count)
    local answered = answer.body ~= "" and dpm.json_decode(answer.body)
    local partial = type(answered) == "table" and answered.partialSuccess
    if type(partial) ~= "table" then
        return 0
    end
    -- (JSON has it as a number or as a text.)
    local digits = tostring(partial.rejectedSpans):match("^%d+$")
    return math.min(tonumber(digits or 0), count), partial.errorMessage
end

-- Sends a batch until the collector has taken it, or refuses it, or has not taken it several times.
local function send(self, spans, count)
    local body = self.before .. spans .. "]}]}]}"
    local pause, problem = FIRST_PAUSE, nil
    for attempt = 0, self.retries do
        local ok, answer = pcall(http_request.http_request, {
            url = self.endpoint, headers = self.headers, body = body, timeout = self.timeout, tls = self.tls,
        })
        if ok and answer.status >= 200 and answer.status < 300 then
            local failed, why = rejected(answer, count)
            if failed > 0 then
                warnings.warn(NAME, ("%s: the collector has not taken %d of %d spans: %s"):format(NAME, failed, count,
                    tostring(why)))
            end
            return dpm.spans_sent(count - failed, failed)
        end
        problem = ok and ("%s: status %d: %s"):format(self.endpoint, answer.status, answer.body:sub(1, 200))
            or tostring(answer)
        if ok and not AGAIN[answer.status] or attempt == self.retries or dpm.is_stopping() then
            break
        end
        -- Not all at the same moment, when a collector is back that many wait for.
        tasks.sleep(1000 * (told_pause(ok and answer) or pause * (0.75 + jitter() / 2)))
        pause = math.min(pause * 2, LONGEST_PAUSE)
    end
    dpm.spans_sent(0, count)
    warnings.warn(NAME, ("%s: %d spans were not sent: %s"):format(NAME, count, problem))
end

local function send_all(self)
    local spans, count = dpm.take_spans()
    while spans do
        send(self, spans, count)
        spans, count = dpm.take_spans()
    end
end

-- Sends what waits, in a task of its own, unless one does so already.
local function begin(self)
    if self.sending then
        return
    end
    if self.timer then
        self.timer:cancel()
        self.timer = nil
    end
    self.sending = tasks.spawn(function()
        local ok, problem = pcall(send_all, self)
        self.sending = nil
        if not ok then
            error(problem, 0)
        end
    end)
    if self.sending:is_over() then
        self.sending = nil
    end
end

-- There are spans: they are sent at once if they are a batch, or if there is no later.
local function told(self, full)
    if full or dpm.is_stopping() then
        return begin(self)
    end
    if self.timer or self.sending then
        return
    end
    local timer = dpm.new_timer()
    self.timer = timer
    timer:schedule(0, self.interval * 1000, function()
        begin(self)
    end)
end

-- Sends what waits, and returns when that is done. For tasks.
function Tracing:flush()
    tasks.current("tracing:flush")
    begin(self)
    if self.sending then
        pcall(self.sending.wait, self.sending)
    end
end

local function seconds(name, value, usual)
    value = value or usual
    if not (value > 0 and value <= MOST_SECONDS) then
        checks.fail(NAME, ("%s: expected seconds, more than 0 and up to %d, got %s"):format(name, MOST_SECONDS,
            tostring(value)))
    end
    return value
end

local function headers(given)
    local all = {}
    for name, value in pairs(given or {}) do
        all[name] = value
    end
    all["Content-Type"] = "application/json"
    return all
end

-- Makes a span of each query of all clients that is chosen, and sends them to a collector. There is one tracing in a program,
-- so a later call changes how it is done.
--   endpoint, headers, tls, timeout: where spans are sent, and how, as for dpml.http_request
--   service_name, attributes: what is told of this program
--   sample: the share of traces that is recorded, where the client has not decided; slower_than: seconds
--   statements: "digest" or "text"; max_text: bytes; comment = true: servers are told of the trace
--   interval: seconds until spans are sent, if they are fewer than `batch` before; queue: how many may wait; retries
function tracing.tracing(options)
    checks.options(NAME, options, OPTIONS)
    local parsed = checks.relay(dpm.parse_url, options.endpoint or ENDPOINT)
    local retries = options.retries or RETRIES
    if retries < 0 or retries > MOST_RETRIES then
        checks.fail(NAME, ("retries: expected an integer from 0 to %d, got %d"):format(MOST_RETRIES, retries))
    end
    local self = setmetatable({
        endpoint = parsed.url, headers = headers(options.headers), tls = options.tls, retries = retries,
        timeout = seconds("timeout", options.timeout, TIMEOUT), interval = seconds("interval", options.interval, INTERVAL),
        before = ('{"resourceSpans":[{"resource":%s,"schemaUrl":"%s","scopeSpans":[{"scope":{"name":"dpm"},"schemaUrl":"%s","spans":[')
            :format(resource(options), SCHEMA, SCHEMA),
    }, Tracing)
    local of_spans = {}
    for _, name in ipairs(OF_SPANS) do
        of_spans[name] = options[name]
    end
    of_spans.sample = options.sample or (options.slower_than and 0 or 0.01)
    checks.relay(dpm.trace, of_spans, function(full)
        told(self, full)
    end)
    return self
end

return tracing
