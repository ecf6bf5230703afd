-- What is masked, and what is declared to be harmless; and what follows for a table, a routine or a column.

local checks = require "dpml.support.checks"

local policy = {}

local Policy = {}
Policy.__index = Policy

local function set(words)
    local names = {}
    for word in words:gmatch("%S+") do
        names[word] = true
    end
    return names
end

-- Of the servers' own schemas, the tables without values from other tables and without texts of statements. All others
-- (processlist, user_variables, column_statistics, general_log, innodb_buffer_page, …) are not trusted.
local SYSTEM = {
    information_schema = set [[applicable_roles character_sets check_constraints client_statistics
        collation_character_set_applicability collations column_privileges columns columns_extensions enabled_roles engines
        events files global_status global_variables index_statistics innodb_columns innodb_datafiles innodb_fields
        innodb_foreign innodb_foreign_cols innodb_indexes innodb_metrics innodb_tables innodb_tablespaces innodb_tablestats
        innodb_sys_tables innodb_sys_tablestats key_caches key_column_usage keywords parameters partitions periods plugins
        referential_constraints resource_groups routines schema_privileges schemata schemata_extensions sequences
        session_status session_variables st_geometry_columns st_spatial_reference_systems st_units_of_measure statistics
        system_variables table_constraints table_constraints_extensions table_privileges table_statistics tables
        tables_extensions tablespaces triggers user_attributes user_privileges user_statistics view_routine_usage
        view_table_usage views]],
    performance_schema = set [[global_status global_variables session_status session_variables]],
    mysql = set [[columns_priv component db default_roles func global_priv gtid_slave_pos help_category help_keyword
        help_relation help_topic innodb_index_stats innodb_table_stats password_history plugin procs_priv proxies_priv
        role_edges roles_mapping tables_priv time_zone time_zone_leap_second time_zone_name time_zone_transition
        time_zone_transition_type user]],
    sys = {},
}

-- The kinds of tables: one with masked columns, one that has only rows of its own, and any other (a view for example).
policy.MASKED, policy.HARMLESS, policy.UNKNOWN = "masked", "harmless", "unknown"

-- "name" or "schema.name" -> true, in lower case.
local function read_names(what, names)
    local result = {}
    for i = 1, table.maxn(names) do
        checks.argument(what, "number " .. i, names[i], "a string")
        result[names[i]:lower()] = true
    end
    return result
end

-- The masked columns, "table.column" -> true; the tables and the columns alone -> true.
local function read_columns(what, columns)
    local both, tables, names = {}, {}, {}
    for i = 1, table.maxn(columns) do
        local column = columns[i]
        checks.argument(what, "columns: number " .. i, column, "a string")
        local table_name, name = column:lower():match("^([^.]+)%.([^.]+)$")
        if not table_name then
            checks.fail(what, ("columns: expected \"table.column\", got %q"):format(column))
        end
        both[table_name .. "." .. name], tables[table_name], names[name] = true, true, true
    end
    return both, tables, names
end

function policy.new(what, options)
    local self = setmetatable({}, Policy)
    self.columns, self.tables, self.names = read_columns(what, options.columns)
    self.views = read_names(what .. ": views", options.views or {})
    self.routines = read_names(what .. ": routines", options.routines or {})
    for name in pairs(self.columns) do
        self.has_other_letters = self.has_other_letters or name:find("[\128-\255]") ~= nil
    end
    return self
end

local function has(declared, entry)
    local name = entry.name:lower()
    return declared[name] or (entry.schema and declared[entry.schema:lower() .. "." .. name]) or false
end

-- The kind of a table, as far as its name tells; nil if the server has to be asked. Servers compare letters that are not
-- ASCII in ways of their own.
function Policy:kind_by_name(entry)
    local name, schema = entry.name:lower(), entry.schema and entry.schema:lower()
    if self.tables[name] then
        return policy.MASKED
    elseif name:find("[^%w_$ #@-]") or (schema and schema:find("[^%w_$ #@-]")) then
        return policy.UNKNOWN
    elseif SYSTEM[schema] then
        return SYSTEM[schema][name] and policy.HARMLESS or policy.UNKNOWN
    elseif has(self.views, entry) then
        return policy.HARMLESS
    end
end

function Policy:is_harmless_routine(entry)
    return has(self.routines, entry)
end

-- Whether a column of this name may be one whose values are masked, in whatever table.
function Policy:may_be_masked(name)
    return self.names[name:lower()] or name:find("[\128-\255]") ~= nil
end

-- Whether all tables that are written have a masked column of this name.
function Policy:is_masked_where_written(info, name)
    for _, entry in ipairs(info) do
        if entry.write and not self.columns[entry.name:lower() .. "." .. name:lower()] then
            return false
        end
    end
    return true
end

-- The origin of a result's column: table, column; nil if it has none, or one that cannot be compared. Where the session
-- wants its results in a character set like UTF-16, names have bytes of zero.
function Policy:origin(field)
    local schema, table_name, name = field:db(), field:org_table():lower(), field:org_name():lower()
    if schema == "" or schema == "*any*" or table_name == "" or name == "" then
        return nil
    end
    local whole = schema .. table_name .. name
    if whole:find("%z") or self.has_other_letters and whole:find("[?\128-\255]") then
        return nil
    end
    return table_name, name
end

return policy
