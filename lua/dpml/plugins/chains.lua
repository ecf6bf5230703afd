-- Chains: several plug-ins as one.

local checks = require "dpml.support.checks"
local keeping = require "dpml.plugins.keeping"
local plugins = require "dpml.plugins"
local records = require "dpml.support.records"

local chains = {}

local function links_with(links, name)
    local having = {}
    for _, link in ipairs(links) do
        having[#having + 1] = link[name]
    end
    return #having > 0 and having or nil
end

local commands_from

-- The verdict of a plug-in that is to be known later, and of those behind it.
local function later(verdict, callbacks, place, cmd, changed, client_id, client)
    return function(go_on)
        verdict(function(settled)
            if type(settled) == "userdata" then
                cmd, changed = settled, true
            elseif settled == dpm.DPM_NOPROXY or settled == dpm.DPM_FLUSH_DISCONNECT then
                return go_on(settled)
            end
            local rest = commands_from(callbacks, place + 1, cmd, changed, client_id, client)
            if type(rest) == "function" then
                return rest(go_on)
            end
            return go_on(rest)
        end)
    end
end

-- A command goes from one plug-in to the next until one holds it back; each sees the command as the one before
-- has changed it.
function commands_from(callbacks, first, cmd, changed, client_id, client)
    for place = first, #callbacks do
        local verdict = callbacks[place](cmd, client_id, client)
        if type(verdict) == "function" then
            return later(verdict, callbacks, place, cmd, changed, client_id, client)
        elseif type(verdict) == "userdata" then
            cmd, changed = verdict, true
        elseif verdict == dpm.DPM_NOPROXY or verdict == dpm.DPM_FLUSH_DISCONNECT then
            return verdict
        end
    end
    return changed and cmd or dpm.DPM_OK
end

local function chain_commands(callbacks)
    return function(cmd, client_id, client)
        return commands_from(callbacks, 1, cmd, false, client_id, client)
    end
end

-- So does a packet of the server; it may become several packets, or none.
local function chain_packets(callbacks)
    return function(packet, client_id, client, rset)
        local packets, replaced, unlinks = { packet }, false, false
        for _, callback in ipairs(callbacks) do
            local passed = {}
            for _, each in ipairs(packets) do
                local results = { callback(each, client_id, client, rset) }
                if type(results[1]) == "userdata" then
                    replaced = true
                    for _, result in ipairs(results) do
                        passed[#passed + 1] = result
                    end
                elseif results[1] ~= dpm.DPM_NOPROXY then
                    passed[#passed + 1] = each
                    unlinks = unlinks or results[1] == dpm.DPM_FLUSH_DISCONNECT
                end
            end
            packets = passed
        end
        if packets[1] == nil then
            return dpm.DPM_NOPROXY
        elseif not replaced then
            return unlinks and dpm.DPM_FLUSH_DISCONNECT or dpm.DPM_OK
        end
        return unpack(packets)
    end
end

-- Each is called, even if one before it fails.
local function call_each(callbacks)
    return function(...)
        local failed, problem = false, nil
        for _, callback in ipairs(callbacks) do
            local ok, err = xpcall(callback, debug.traceback, ...)
            if not ok and not failed then
                failed, problem = true, err
            end
        end
        if failed then
            error(problem, 0)
        end
    end
end

-- What the links know of a client: that of each by its place. nil if one has state of its own and no save.
local function chain_saves(links, is_shared)
    local saves = false
    for _, link in ipairs(links) do
        saves = saves or link.save ~= nil
        if not link.save and not keeping.is_stateless(link, is_shared) then
            return nil
        end
    end
    return saves and function(client)
        local record = { links = #links, texts = {} }
        for i, link in ipairs(links) do
            if link.save then
                local text = link.save(client)
                if text == nil then
                    return nil
                end
                record.texts[i] = text
            end
        end
        return records.write(record)
    end or nil
end

local function chain_restores(links)
    return function(client, text, server, auth)
        local record = records.read(text)
        if not record or record.links ~= #links then
            error("the chain has other links than the one that has saved this client", 0)
        end
        for i, link in ipairs(links) do
            keeping.restore(link, client, server, auth, record.texts[i])
        end
    end
end

local COMPOSITIONS = {
    new_client = call_each, logged_in = call_each, new_command = chain_commands,
    new_statement = chain_packets, new_result = chain_packets, new_field = chain_packets, new_row = chain_packets,
    finished_result = chain_packets, failed_command = chain_packets,
    finished_command = call_each, closing = call_each,
}

local function compose(links, is_shared)
    local chained = { save = chain_saves(links, is_shared), restore = chain_restores(links) }
    for name, composition in pairs(COMPOSITIONS) do
        local callbacks = links_with(links, name)
        chained[name] = callbacks and (#callbacks == 1 and callbacks[1] or composition(callbacks))
    end
    return chained
end

-- Whether the links' callbacks are still those that these copies were made of.
local function are_same(links, copies)
    for i, link in ipairs(links) do
        for name in pairs(COMPOSITIONS) do
            if link[name] ~= copies[i][name] then
                return false
            end
        end
    end
    return true
end

local function copy(links)
    local copies = {}
    for i, link in ipairs(links) do
        copies[i] = {}
        for name in pairs(COMPOSITIONS) do
            copies[i][name] = link[name]
        end
    end
    return copies
end

-- One plug-in of several: each sees commands and results in the order of the list.
function chains.chain(list)
    checks.argument("dpml.chain", "plug-ins", list, "an array")
    local is_shared = true
    for i = 1, table.maxn(list) do -- a hole is a plug-in that was misspelt
        plugins.check("dpml.chain: link " .. i, list[i])
        is_shared = is_shared and plugins.is_shared(list[i])
    end
    local composed, of -- for all clients, as long as the links' callbacks stay the same
    return function(client, server, auth)
        local links = {}
        for i, plugin in ipairs(list) do
            links[i] = plugins.of_client(plugin, client, server, auth)
        end
        if not is_shared then
            return compose(links, false)
        elseif not composed or not are_same(links, of) then
            composed, of = compose(links, true), copy(links)
        end
        return composed
    end
end

return chains
