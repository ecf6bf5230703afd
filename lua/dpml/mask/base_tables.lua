-- Asks the client's own server, in the client's own session, which names are those of base tables: of tables that have
-- rows of their own, and are neither views nor tables of engines that show the rows of others.

local queries = require "dpml.servers.queries"

local base_tables = {}

local MOST = 50 -- names in one query
local MOST_KEPT = 10000 -- answers; beyond it they begin anew
local VALID = 60 -- seconds for which an answer is believed

local ENGINES = "'MRG_MyISAM', 'FEDERATED', 'CONNECT', 'SPIDER', 'S3', 'OQGRAPH', 'SPHINX', 'PERFORMANCE_SCHEMA'"
local SCHEMAS = "'mysql', 'information_schema', 'performance_schema', 'sys'"

-- Names have no quotes: see Policy:kind_by_name.
local function count_of(entry)
    local schema = entry.schema and "'" .. entry.schema .. "'" or "DATABASE()"
    return ("(SELECT COUNT(*) FROM information_schema.tables WHERE table_schema = %s AND table_name = '%s'"
        .. " AND (@@lower_case_table_names <> 0 OR HEX(table_name) = HEX('%s'))"
        .. " AND table_type IN ('BASE TABLE', 'SYSTEM VERSIONED', 'SEQUENCE') AND engine NOT IN (%s)"
        .. " AND table_schema NOT IN (%s))"):format(schema, entry.name, entry.name, ENGINES, SCHEMAS)
end

local Known = {}
Known.__index = Known

-- What is known of the tables of one client. `shared` is of all clients: its `generation` changes with each definition of
-- a table or view that passes, whoever it is by.
function base_tables.new(shared)
    return setmetatable({ shared = shared, answers = {}, count = 0, temporary = {} }, Known)
end

local function key_of(entry)
    return (entry.schema or "") .. "\0" .. entry.name
end

-- The same as it was written, before it was known in which schema it is.
local function written(entry)
    entry.written = entry.written or key_of(entry)
    return entry.written
end

-- Whether it is a base table; nil if the server has to be asked. What was found out is noted in the entry, which may be
-- that of a prepared statement: it means the same table for ever, and its temporary table, if it is one, can be gone.
function Known:is_base(entry)
    local temporary = self.temporary[written(entry)]
    if entry.temporary or temporary then
        entry.temporary = entry.temporary or temporary
        return entry.temporary == temporary
    end
    local answer = self.answers[key_of(entry)]
    if answer and answer.generation == self.shared.generation and dpm.monotonic() - answer.at < VALID * 1000 then
        entry.schema = entry.schema or answer.schema
        self.answers[key_of(entry)] = answer
        return answer.is_base
    end
end

-- Names mean other tables from now on.
function Known:forget()
    self.answers, self.temporary = {}, {}
end

-- Tables are defined, renamed or dropped.
function Known:forget_defined(info)
    if not info.temporary or info.statements > 1 then
        self.shared.generation = self.shared.generation + 1
    end
    for _, entry in ipairs(info) do
        for key, temporary in pairs(self.temporary) do
            if entry.write and temporary.name == entry.name:lower() then
                self.temporary[key] = nil
            end
        end
    end
end

-- The client has made these temporary tables. Each is told apart from others of its name, before it and after it.
function Known:add_temporary(info)
    for _, entry in ipairs(info) do
        if entry.write then
            self.temporary[written(entry)] = { name = entry.name:lower() }
        end
    end
end

-- Asks about all of these tables, then calls done(). What the server does not say counts as no base table.
function Known:ask(server, entries, done)
    local columns, asked = { "DATABASE()" }, {}
    self.count = self.count + #entries
    if self.count > MOST_KEPT then
        self.answers, self.count = {}, #entries
    end
    for i, entry in ipairs(entries) do
        local answer = { at = dpm.monotonic(), generation = self.shared.generation, is_base = false }
        self.answers[key_of(entry)] = answer
        if i <= MOST then
            columns[#columns + 1], asked[i] = count_of(entry), answer
        end
    end
    queries.run(server, queries.new_command(dpm.COM_QUERY, "SELECT " .. table.concat(columns, ", ")), {
        row = function(_, values)
            local schema = values[1]
            for i, answer in ipairs(asked) do
                answer.schema = schema
                answer.is_base = tostring(values[i + 1]) == "1"
            end
        end,
        finish = function()
            done()
        end,
    })
end

return base_tables
