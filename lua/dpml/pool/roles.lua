-- The part that each server of a pool has, from what all of them say: a pure function.
--
-- A server is { name =, declared = "primary", "replica" or nil, observation = the last one, failure = why it did not
-- answer, behind = seconds that it is late }. Its judgement is { role =, usable =, lag =, why = if it is not usable,
-- silent = whether that is because it does not answer }.

local roles = {}

-- How many of the servers follow the one with this id.
local function followers_of(servers, id)
    local count = 0
    for _, server in ipairs(servers) do
        local replication = not server.failure and server.observation and server.observation.replication
        if replication and replication.source == id then
            count = count + 1
        end
    end
    return count
end

-- Whether `a` is the better primary. A primary stays one as long as it can; but servers that replicate know better, so
-- that a primary that comes back after another was promoted is not taken for one.
local function is_better(a, b, present)
    if a.followers ~= b.followers then
        return a.followers > b.followers
    elseif a.server.name == present or b.server.name == present then
        return a.server.name == present
    elseif a.index ~= b.index then
        return a.index < b.index
    end
    return a.place < b.place
end

-- The one server that writes go to, of those whose role is to be found out; nil if there is none.
local function elected(servers, present)
    local best, best_is_free
    for place, server in ipairs(servers) do
        local seen = not server.declared and not server.failure and server.observation
        local group = seen and seen.group
        if seen and seen.writable and (not group or group.member and not group.role) then
            local candidate = {
                server = server,
                place = place,
                index = group and group.index or 0,
                followers = followers_of(servers, seen.id),
            }
            -- A server that follows another is one only where all do, as in a ring.
            local is_free = not seen.replication or group ~= nil
            local is_first = not best or is_free and not best_is_free
            if is_first or is_free == best_is_free and is_better(candidate, best, present) then
                best, best_is_free = candidate, is_free
            end
        end
    end
    return best and best.server.name
end

local function out(role, why)
    return { role = role, usable = false, why = why }
end

local function judge(server, primary)
    local seen, declared = server.observation, server.declared
    if server.failure then
        return { role = declared, usable = false, why = server.failure, silent = true }
    elseif not seen then
        return out(declared, "it has not answered yet")
    end
    local group = seen.group
    local role = declared or group and group.role or (server.name == primary and "primary" or "replica")
    if group and not group.member then
        return out(declared, group.why)
    elseif role == "primary" and not seen.writable then
        return out(role, "it is read-only")
    elseif role == "primary" or group then
        return { role = role, usable = true, lag = 0, galera = group ~= nil and group.galera or nil }
    elseif declared or seen.replication then
        return { role = role, usable = true, lag = server.behind or 0 }
    elseif seen.writable then
        return out(nil, "it accepts writes, but another server is the primary")
    end
    return out(role, "it is read-only and follows no other server")
end

-- The judgement of each server, by its name, and the name of the elected primary. `present` is the one that was elected
-- before.
function roles.assign(servers, present)
    local primary = elected(servers, present)
    local judgements = {}
    for _, server in ipairs(servers) do
        judgements[server.name] = judge(server, primary)
    end
    return judgements, primary
end

return roles
