-- KILL of a pool's clients, with the numbers that they were greeted with. Each has another connection from one command to the
-- next: the one that it has when the KILL comes is not lent to anybody else until the server has answered, so that no KILL
-- hits a stranger.

local databases = require "dpml.databases"
local errors = require "dpml.support.errors"
local identities = require "dpml.logins.identities"
local kills = require "dpml.kills"
local results = require "dpml.results"
local tasks = require "dpml.tasks"

local pool_kills = {}

local LIMIT = 10000 -- milliseconds for a KILL at a server

local Kills = {}
Kills.__index = Kills

-- From now on this client can be killed.
function Kills:add(client)
    self.realm:set(client:id(), client)
end

function Kills:remove(client_id)
    self.realm:set(client_id, nil)
end

-- The KILL that a command is, if it is one of a connection by its number, and nothing else.
local function kill_of(cmd)
    local list = cmd:kills()
    local kill = list and not list[2] and list[1] or nil
    if not kill or cmd:command() == dpm.COM_STMT_PREPARE then
        return nil
    elseif cmd:command() == dpm.COM_QUERY then
        local kind, info = dpm.statement_kind(cmd:argument())
        if kind ~= "KILL" or info.multi ~= 1 then
            return nil
        end
    end
    return kill
end

local function names_itself(cmd, kill)
    local text = kill.computed and cmd:argument():upper():gsub("%s+", " ")
    return text and text:match("^ ?KILL [A-Z ]*CONNECTION_ID ?%( ?%) ?;? ?$") ~= nil
end

-- What a client is told that has killed itself: MariaDB has an error of its own for its connection.
local function killed(self, kill)
    if self.hooks.is_mariadb() and not kill.query_only then
        return errors.new(1927, "70100", "Connection was killed")
    end
    return errors.cancelled()
end

-- A short connection of the killer's account, on which it says what it may: so the server judges that, and no connection of the
-- pool is needed, all of which may be busy.
local function at_server(self, killer, server_name, use)
    local db = databases.connect(self.hooks.login(killer, server_name))
    local ok, result = pcall(tasks.with_timeout, LIMIT, use, db)
    pcall(db.close, db)
    if not ok then
        error(result, 0)
    end
    return result
end

local function kill_at_server(self, killer, kill, present)
    local sql = ("KILL %s%.0f"):format(kill.query_only and "QUERY " or "", present.thread_id)
    local ok, problem = pcall(at_server, self, killer, present.server, function(db)
        db:query(sql)
    end)
    local connection = self.hooks.connections[present.connection]
    if connection then
        self.native:unpin(connection)
    end
    local number = not ok and errors.is_error(problem) and problem.errnum
    if number == 1095 then
        error(kills.not_owner(kill), 0)
    elseif not ok and number ~= 1094 then -- it may have gone by itself
        error(problem, 0)
    end
end

-- Whether the account may kill connections of others: asked where there is no connection for the server to judge by.
local function may_kill_others(self, killer)
    return at_server(self, killer, nil, function(db)
        local grants = db:query("SHOW GRANTS").rows
        for _, row in ipairs(grants) do
            local privileges = row[1]:match("^GRANT (.-) ON %*%.%* TO ")
            for privilege in (privileges or ""):gmatch("[^,]+") do
                privilege = privilege:match("^%s*(.-)%s*$")
                if privilege == "ALL PRIVILEGES" or privilege == "SUPER" or privilege:match("^CONNECTION[_ ]ADMIN$") then
                    return true
                end
            end
        end
        return false
    end)
end

-- Of a client of the same user, whom a server would let do so.
local function kill_own(self, killer, kill, victim)
    if not kill.query_only then
        return dpm.close(victim)
    end
    local doing = self.native:doing(victim)
    if doing == "waiting" then
        self.native:interrupt(victim)
    elseif doing == "executing" then
        kill_at_server(self, killer, kill, self.native:pin(victim))
    end
end

-- Of a client of this worker, for one of another worker's, whose account may do the same as the client's own.
local function kill_for_worker(self, kill, victim, is_own_user)
    if not is_own_user then
        error(kills.not_owner(kill), 0)
    end
    kill_own(self, victim, kill, victim)
end

-- Of another user's.
local function kill_others(self, killer, kill, victim)
    if self.hooks.account(killer) == self.hooks.account(victim) then
        error(kills.not_owner(kill), 0) -- the server does not tell the two apart
    end
    local present = self.native:pin(victim)
    if present then
        kill_at_server(self, killer, kill, present)
    elseif not may_kill_others(self, killer) then
        error(kills.not_owner(kill), 0)
    end
    if not kill.query_only then
        dpm.close(victim)
    elseif not present then
        self.native:interrupt(victim)
    end
end

local function kill(self, cmd, killer)
    local one = kill_of(cmd)
    if not one then
        error(kills.refusal(cmd) or kills.NOT_HERE, 0)
    end
    local victim, is_own_user, err
    if names_itself(cmd, one) then
        victim, is_own_user = killer, true
    else
        if self.realm:worker_of(one) then
            self.realm:ask(one, killer:id())
            return one
        end
        victim, is_own_user, err = self.realm:find(one, killer:id())
        if not victim then
            error(err, 0)
        end
    end
    if victim == killer then
        error(killed(self, one), 0)
    elseif is_own_user then
        kill_own(self, killer, one, victim)
    else
        kill_others(self, killer, one, victim)
    end
    return one, victim
end

-- Whether a command ends the connection of the client that gives it.
local function ends_itself(cmd, client)
    local one = kill_of(cmd)
    return one and not one.query_only and (one.id == client:id() or names_itself(cmd, one))
end

-- Answers a command that has a KILL in it.
function Kills:answer(cmd, client)
    tasks.spawn(function()
        local ok, problem = pcall(kill, self, cmd, client)
        if client:close_reason() then
            return
        elseif ok then
            return results.send_ok(client)
        end
        if not errors.is_error(problem) then
            dpm.log("error", ("client %d: its KILL has failed: %s"):format(client:id(), errors.text(problem)))
        end
        results.end_answer(client, identities.in_own_name(problem, client:id()))
        if ends_itself(cmd, client) then
            dpm.close(client)
        end
    end)
end

-- For a pool. hooks.login(client, server's name) returns the options of connect_mysql_server with which the client's account
-- logs in there; hooks.account(client) is its account; hooks.is_mariadb(): whether the servers are; hooks.connections: { the pool's connections by their numbers }.
function pool_kills.new(native, listener, hooks)
    local self = setmetatable({ native = native, hooks = hooks }, Kills)
    self.realm = kills.new(listener, function(victim, kill, is_own_user)
        return kill_for_worker(self, kill, victim, is_own_user)
    end)
    return self
end

return pool_kills
