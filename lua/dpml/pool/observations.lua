-- What a server says about its part in a cluster.
--
-- An observation is { id = what its replicas call it, writable = whether it accepts writes,
-- replication = nil, or { source = the id of the server that it follows, lag = seconds, or nil if it is not known now },
-- group = nil, or { member = whether it may be used, why = if it may not, role = "primary" or "replica", or nil where
-- each member can write, index = its place, galera = whether it is Galera's } }. Groups are Galera's and those of Group Replication.

local errors = require "dpml.support.errors"

local observations = {}

-- ER_UNKNOWN_COM_ERROR is how a node of Galera's refuses that is not (or not yet) a part of its cluster.
local NOT_PREPARED = 1047
-- The account lacks a grant: what the query would have told stays unknown.
local DENIED = { [1044] = true, [1142] = true, [1227] = true }

local STATE_SYNCED = "4"

-- The rows of an answer, each { column name in lower case = value }; none where the account may not ask.
local function rows_of(db, sql)
    local result, err = db:try_query(sql)
    if not result then
        if DENIED[err.errnum] then
            return {}
        end
        error(err, 0)
    end
    local rows = {}
    for i, row in ipairs(result.rows or {}) do
        rows[i] = {}
        for column, name in ipairs(result.columns) do
            rows[i][name:lower()] = row[column]
        end
    end
    return rows
end

-- A number that the server has sent as text or as a number.
local function number(value)
    return value ~= nil and value ~= dpm.NULL and tonumber(value) or nil
end

-- MariaDB and older MySQL say slave and master where today's MySQL says replica and source.
local function either(row, todays, older)
    local value = row[todays]
    if value == nil then
        value = row[older]
    end
    return value
end

-- How a replica follows its source. With several sources it is as late as the latest.
local function replication_of(rows)
    local replication
    for _, row in ipairs(rows) do
        local source = either(row, "source_uuid", "master_server_id")
        local applies = either(row, "replica_sql_running", "slave_sql_running") == "Yes"
        local receives = either(row, "replica_io_running", "slave_io_running") == "Yes"
        local lag = applies and receives and number(either(row, "seconds_behind_source", "seconds_behind_master")) or nil
        if not replication then
            replication = { source = tostring(source), lag = lag }
        else
            replication.lag = replication.lag and lag and math.max(replication.lag, lag)
        end
    end
    return replication
end

local function galera_of(rows)
    local status = {}
    for _, row in ipairs(rows) do
        status[row.variable_name:lower()] = tostring(row.value)
    end
    if (status.wsrep_provider_name or "") == "" then
        return nil
    end
    local why
    if status.wsrep_cluster_status ~= "Primary" then
        why = "Galera: not in the primary component"
    elseif status.wsrep_local_state ~= STATE_SYNCED then
        why = "Galera: " .. (status.wsrep_local_state_comment or "not synced")
    elseif status.wsrep_ready ~= "ON" then
        why = "Galera: not ready"
    end
    return { member = why == nil, why = why, index = number(status.wsrep_local_index) or 0, galera = true }
end

-- A member that has lost the majority sees the others as UNREACHABLE, and itself as ONLINE.
local function group_of(rows, id)
    local own, reachable, primaries = nil, 0, 0
    for _, row in ipairs(rows) do
        if row.member_state ~= "UNREACHABLE" then
            reachable = reachable + 1
        end
        if row.member_role == "PRIMARY" then
            primaries = primaries + 1
        end
        if row.member_id == id then
            own = row
        end
    end
    if not own then
        return nil
    end
    local why
    if own.member_state ~= "ONLINE" then
        why = "Group Replication: " .. own.member_state
    elseif reachable * 2 <= #rows then
        why = "Group Replication: the majority is unreachable"
    end
    local role = own.member_role == "PRIMARY" and "primary" or "replica"
    return { member = why == nil, why = why, role = role, index = 0 }
end

local GALERA = "SHOW GLOBAL STATUS WHERE Variable_name IN ('wsrep_provider_name', 'wsrep_ready', 'wsrep_local_state', "
    .. "'wsrep_local_state_comment', 'wsrep_cluster_status', 'wsrep_local_index')"
local MEMBERS = "SELECT member_id AS member_id, member_state AS member_state, member_role AS member_role "
    .. "FROM performance_schema.replication_group_members WHERE member_id <> ''"

local function of_mariadb(db)
    local galera = galera_of(rows_of(db, GALERA))
    if galera and not galera.member then
        return { id = "", writable = false, group = galera } -- other queries would be refused
    end
    local own = rows_of(db, "SELECT @@GLOBAL.read_only AS read_only, @@GLOBAL.server_id AS id")[1]
    return {
        id = tostring(own.id),
        writable = number(own.read_only) == 0,
        replication = replication_of(rows_of(db, "SHOW ALL SLAVES STATUS")),
        group = galera,
    }
end

-- Whether SHOW REPLICA STATUS is known: since MySQL 8.0.22.
local function knows_replicas(version)
    local major, minor, patch = version:match("^(%d+)%.(%d+)%.(%d+)")
    major, minor, patch = tonumber(major) or 0, tonumber(minor) or 0, tonumber(patch) or 0
    return major > 8 or major == 8 and (minor > 0 or patch >= 22)
end

local function of_mysql(db)
    local own = rows_of(db, "SELECT @@GLOBAL.read_only AS read_only, @@GLOBAL.server_uuid AS id")[1]
    local group = galera_of(rows_of(db, GALERA)) or group_of(rows_of(db, MEMBERS), own.id)
    local show = knows_replicas(db.version) and "SHOW REPLICA STATUS" or "SHOW SLAVE STATUS"
    return {
        id = own.id,
        writable = number(own.read_only) == 0,
        -- The channels of a group are not replication from a source.
        replication = not group and replication_of(rows_of(db, show)) or nil,
        group = group,
    }
end

-- Asks a server, by a connection of dpml.connect. Raises an error if it does not answer as it should.
function observations.ask(db)
    local ask = db.version:find("MariaDB", 1, true) and of_mariadb or of_mysql
    local ok, observation = pcall(ask, db)
    if ok then
        return observation
    end
    local err = observation
    if errors.is_error(err) and err.errnum == NOT_PREPARED then
        local group = { member = false, why = "Galera: not in the primary component", index = 0 }
        return { id = "", writable = false, group = group }
    elseif errors.is_error(err) then
        error(err, 0)
    end
    -- Neither a server of these kinds nor any other would answer so.
    error(errors.new(1105, "HY000", "its answer to the health query is not understood: " .. errors.text(err)), 0)
end

return observations
