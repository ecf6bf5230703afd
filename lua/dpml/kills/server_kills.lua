-- KILL of clients that have a server connection each: it becomes a KILL of that connection, and goes to the server as the
-- killer's own command, so that the server judges whether it may.

local databases = require "dpml.databases"
local kills = require "dpml.kills"
local results = require "dpml.results"

local server_kills = {}

-- The target of a client: its thread at the server of this address, where the proxy has logged in with `login`.
function server_kills.target(handshake, address, login)
    return { thread_id = handshake:thread_id(), address = address, login = login }
end

-- The account at the server does not tell two users of the proxy apart.
local function is_hidden_from_server(own, target)
    return own.login.user == target.login.user
end

local function little_endian(number)
    local bytes = {}
    for i = 1, 4 do
        bytes[i] = string.char(math.floor(number / 256 ^ (i - 1)) % 256)
    end
    return table.concat(bytes)
end

local function rewrite(cmd, list, threads)
    if cmd:command() == dpm.COM_PROCESS_KILL then
        return cmd:argument(little_endian(threads[1]))
    end
    local sql, parts, at = cmd:argument(), {}, 1
    for i, kill in ipairs(list) do
        if threads[i] then
            parts[#parts + 1] = sql:sub(at, kill.from - 1)
            parts[#parts + 1] = ("%.0f"):format(threads[i])
            at = kill.to + 1
        end
    end
    parts[#parts + 1] = sql:sub(at)
    cmd:argument(table.concat(parts))
end

-- Whether the command is nothing but a KILL.
local function is_alone(cmd)
    if cmd:command() ~= dpm.COM_QUERY then
        return cmd:command() == dpm.COM_PROCESS_KILL
    end
    local kind, info = dpm.statement_kind(cmd:argument())
    return kind == "KILL" and info.multi == 1
end

-- What another worker is told of a client of this one.
function server_kills.answer(target)
    return { thread_id = target.thread_id, address = target.address, account = target.login.user }
end

-- Kills in a task of its own what find() returns: a login, and a thread at the server where one logs in with it.
local function kill_by_login(client, query_only, find)
    kills.answer_after(client, function()
        local login, thread_id = find()
        local db = databases.connect(login)
        local killed, refusal = pcall(db.query, db, ("KILL %s%d"):format(query_only and "QUERY " or "", thread_id))
        db:close()
        if not killed then
            error(refusal, 0)
        end
    end)
end

-- At another server than the killer's own, with the login of the target, whose user the killer is.
local function kill_elsewhere(client, target, query_only)
    kill_by_login(client, query_only, function()
        return target.login, target.thread_id
    end)
end

-- Of a client of another worker, with the killer's own login, so that the server judges whether it may.
local function kill_at_worker(realm, kill, client)
    kill_by_login(client, kill.query_only, function()
        local own, target = realm.targets[client:id()], realm:ask(kill, client:id())
        if not target.is_own_user and (own.login.user == target.account or own.address ~= target.address) then
            error(kills.not_owner(kill), 0)
        elseif own.address ~= target.address then
            error(kills.NOT_HERE, 0)
        end
        return own.login, target.thread_id
    end)
end

-- Translates the KILLs of a command, in place. Returns "changed" if it is to be sent to the client's own server, "done"
-- if it is or will be answered, nil if there is none in it.
function server_kills.translate(realm, cmd, client)
    local list = cmd:kills()
    if not list then
        return nil
    end
    local client_id = client:id()
    local own, threads = realm.targets[client_id], {}
    for i, kill in ipairs(list) do
        if not kill.computed and realm:worker_of(kill) and is_alone(cmd) then
            kill_at_worker(realm, kill, client)
            return "done"
        elseif not kill.computed then
            local target, is_own_user, err = realm:find(kill, client_id)
            if target and not is_own_user and (is_hidden_from_server(own, target) or own.address ~= target.address) then
                err = kills.not_owner(kill)
            end
            if target and not err and own.address ~= target.address and not is_alone(cmd) then
                err = kills.NOT_HERE
            end
            if err then
                results.end_answer(client, err)
                return "done"
            elseif own.address ~= target.address then
                kill_elsewhere(client, target, kill.query_only)
                return "done"
            end
            threads[i] = target.thread_id
        end
    end
    rewrite(cmd, list, threads)
    return "changed"
end

return server_kills
