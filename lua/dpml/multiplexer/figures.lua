-- The servers of all multiplexers, among the figures of the program.

local figures = require "dpml.figures"

local multiplexer_figures = {}

local fleets = {}

local function seconds(milliseconds)
    return milliseconds and milliseconds / 1000
end

local function entries()
    local list = {}
    for _, each in ipairs(fleets) do
        for _, server in ipairs(each.fleet:all()) do
            list[#list + 1] = {
                multiplexer = each.name, server = server.label, connected = server.active and 1 or 0,
                waiting = #server.queue + server.in_flight, disconnects = server.disconnects, retries = server.retries,
                queries = server.queries, p50 = seconds(server:percentile(0.5)), p95 = seconds(server:percentile(0.95)),
                problem = server.last_error and tostring(server.last_error),
            }
        end
    end
    return list
end

local function counter(name, help)
    return { name = name, kind = "counter", help = help }
end

local function quantile(name, from, help)
    return { name = name, kind = "gauge", type = "number", unit = "seconds", help = help, read = function(entry)
        return entry[from]
    end }
end

-- Shows the servers of a fleet from now on; its multiplexer is that of this listener.
function multiplexer_figures.add(fleet, listener)
    if not fleets[1] then
        figures.declare {
            name = "multiplexer_servers", help = "the servers that multiplexers ask", entries = entries,
            columns = {
                { name = "multiplexer", kind = "label", help = "the address of its listener" },
                { name = "server", kind = "label", help = "its label" },
                { name = "connected", kind = "gauge", help = "1 if it is" },
                { name = "waiting", kind = "gauge", help = "queries that it has not answered yet" },
                counter("disconnects", "how often the connection was lost"),
                counter("retries", "how often it was tried in vain to connect"),
                counter("queries", "queries that it was sent"),
                quantile("p50_seconds", "p50", "half of its last answers took no longer"),
                quantile("p95_seconds", "p95", "95 of 100 took no longer"),
                { name = "problem", kind = "note", help = "its last error" },
            },
        }
    end
    fleets[#fleets + 1] = { fleet = fleet, name = figures.place_of(listener) }
end

return multiplexer_figures
