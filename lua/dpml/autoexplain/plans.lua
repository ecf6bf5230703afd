-- Plans of statements, as EXPLAIN gives them: MariaDB's and MySQL's rows, their JSON in its three
-- dialects, and MySQL's tree.
--
-- Only steps and flags are read, which never contain values of the statement. (The conditions in JSON and trees
-- do.) A step is
--   { table =, access =, key =, rows =, condition = boolean, keyless = boolean }
-- where `access` is the `type` of the traditional format, `condition` whether rows have to meet a condition,
-- and `keyless` that no index could have been used.

local plans = {}

local function present(value)
    if value ~= nil and value ~= dpm.NULL and value ~= "" then
        return value
    end
end

-- A name in angle brackets is a temporary table of the server, not a real one.
local function is_table(name)
    return present(name) and name:sub(1, 1) ~= "<"
end

-- Rows -------------------------------------------------------------------------------------------

-- The target table of an INSERT, which is not read.
local INTO = { INSERT = true, REPLACE = true }

-- Rows of the traditional format, each a table by the columns' names.
function plans.of_rows(rows)
    local plan = { steps = {} }
    for _, row in ipairs(rows) do
        local extra = present(row.Extra) or ""
        plan.filesort = plan.filesort or extra:find("Using filesort", 1, true) ~= nil
        plan.temporary = plan.temporary or extra:find("Using temporary", 1, true) ~= nil
        -- "Recursive": what a CTE has found so far, under its name.
        local is_read = not INTO[row.select_type] and not extra:find("^Recursive")
        if is_table(row.table) and present(row.type) and is_read then
            local condition = extra:find("Using where", 1, true) or extra:find("join buffer", 1, true)
            plan.steps[#plan.steps + 1] = {
                table = row.table, access = row.type, key = present(row.key), rows = tonumber(row.rows),
                condition = condition ~= nil, keyless = not present(row.possible_keys),
            }
        end
    end
    return plan
end

-- JSON -------------------------------------------------------------------------------------------

-- A table of MariaDB's format, or of MySQL's first.
local function add_block_table(plan, node, joined_by_buffer)
    local is_target = node.insert ~= nil or node.replace ~= nil -- it is not read
    if is_table(node.table_name) and not node.materialized_from_subquery and not is_target then
        plan.steps[#plan.steps + 1] = {
            table = node.table_name, access = node.access_type, key = present(node.key),
            rows = tonumber(node.rows_examined_per_scan or node.rows),
            condition = node.attached_condition ~= nil or node.using_join_buffer ~= nil or joined_by_buffer,
            keyless = node.possible_keys == nil,
        }
    end
end

-- The members of an object, always in the same order.
local function names_of(object)
    local names = {}
    for name in pairs(object) do
        names[#names + 1] = type(name) == "string" and name or nil
    end
    table.sort(names)
    return names
end

-- The members of a query block, in MySQL's first format, that contain its tables.
local AROUND_TABLES = {
    "nested_loop", "table", "ordering_operation", "grouping_operation", "duplicates_removal", "buffer_result", "windowing",
}

-- What the recursive part of a CTE reads of itself, under its name: MySQL reads it first, but for constant tables.
local function recursive_table(node)
    if type(node) ~= "table" then
        return nil
    elseif type(node.table_name) == "string" then
        return node.access_type ~= "const" and node.access_type ~= "system" and node or nil
    end
    for _, child in ipairs(node) do
        local found = recursive_table(child)
        if found then
            return found
        end
    end
    for _, name in ipairs(AROUND_TABLES) do
        local found = recursive_table(node[name])
        if found then
            return found
        end
    end
end

local function walk_blocks(plan, node, joined_by_buffer)
    if type(node) ~= "table" then
        return
    end
    if node.recursive == true then
        local found = recursive_table(node)
        if found then
            plan.not_read[found] = true
        end
    end
    if type(node.table_name) == "string" and type(node.access_type) == "string" and not plan.not_read[node] then
        add_block_table(plan, node, joined_by_buffer)
    end
    plan.filesort = plan.filesort or node.using_filesort == true or node.filesort ~= nil
    plan.temporary = plan.temporary or node.using_temporary_table == true or node.temporary_table ~= nil
    for _, child in ipairs(node) do
        walk_blocks(plan, child, false)
    end
    for _, name in ipairs(names_of(node)) do
        walk_blocks(plan, node[name], name == "block-nl-join" or joined_by_buffer and name == "table")
    end
end

local INDEX_ACCESSES = {
    index_scan = "index", index_lookup = "ref", index_range_scan = "range", full_text_search = "fulltext",
}

local function walk_operations(plan, node, filtered)
    local kind, name = node.access_type, node.table_name
    plan.filesort = plan.filesort or kind == "sort"
    plan.temporary = plan.temporary or kind == "temp_table_aggregate" or node.temp_table == true
        or type(name) == "string" and name:find("temporary>", 1, true) ~= nil
    local inputs = type(node.inputs) == "table" and node.inputs or {}
    -- An operation with inputs is their result, under its alias; new records are those of a CTE's own.
    if is_table(name) and #inputs == 0 and kind ~= "scan_new_records" then
        local operation = tostring(node.operation)
        local access = kind == "table" and "ALL" or INDEX_ACCESSES[node.index_access_type] or "index"
        if operation:find("^Single%-row") then
            access = "eq_ref"
        end
        plan.steps[#plan.steps + 1] = {
            table = name, access = access, key = present(node.index_name), rows = tonumber(node.estimated_rows),
            condition = filtered, keyless = filtered and access == "ALL",
        }
    end
    for _, input in ipairs(inputs) do
        local filters = kind == "filter" or kind == "join" and node.join_algorithm == "hash"
        walk_operations(plan, input, filters and not input.subquery)
    end
    -- Subqueries that are no condition have lists of their own: those in the select list and in ORDER BY are in
    -- "inputs_from_select_list", and later servers may have others.
    for _, member in ipairs(names_of(node)) do
        local others = member ~= "inputs" and node[member]
        for _, other in ipairs(type(others) == "table" and others or {}) do
            if type(other) == "table" and other.operation then
                walk_operations(plan, other, false)
            end
        end
    end
end

-- Of FORMAT=JSON. nil and why not if it is none.
function plans.of_json(text)
    local document, problem = dpm.json_decode(text)
    if type(document) ~= "table" then
        return nil, problem or "an object expected"
    end
    local plan = { steps = {}, not_read = {} }
    if type(document.query_plan) == "table" then
        if tostring(document.query_plan.operation):find("^<not executable") then
            return nil, "the server has no plan of it in this format"
        end
        walk_operations(plan, document.query_plan, false)
    else
        walk_blocks(plan, document, false)
    end
    plan.not_read = nil
    return plan
end

-- Trees ------------------------------------------------------------------------------------------

-- Patterns for the lines of a tree; the first match counts.
local OPERATIONS = {
    { "^Table scan on (%S+)", "ALL" },
    { "^Covering index scan on (%S+) using (%S+)", "index" },
    { "^Index scan on (%S+) using (%S+)", "index" },
    { "^Single%-row covering index lookup on (%S+) using (%S+)", "eq_ref" },
    { "^Single%-row index lookup on (%S+) using (%S+)", "eq_ref" },
    { "^Covering index lookup on (%S+) using (%S+)", "ref" },
    { "^Index lookup on (%S+) using (%S+)", "ref" },
    { "^Multi%-range index lookup on (%S+) using (%S+)", "ref" },
    { "^Full%-text index search on (%S+) using (%S+)", "fulltext" },
    { "^Count rows in (%S+)", "index" },
    { "^Constant row from (%S+)", "const" },
    { "range scan on (%S+) using (%S+)", "range" },
    { "range scan on (%S+)", "range" },
    { "skip scan on (%S+) using (%S+)", "range" },
}

local function read_operation(text)
    for _, operation in ipairs(OPERATIONS) do
        local name, key = text:match(operation[1])
        if name then
            return { table = name, access = operation[2], key = key, rows = tonumber(text:match("rows=([%d.e+]+)%)")) }
        end
    end
end

-- The plan of MySQL's FORMAT=TREE; nil and the reason if the text is not one.
function plans.of_tree(text)
    local plan, lines = { steps = {} }, {}
    for each in text:gmatch("[^\n]+") do
        local indent, operation = each:match("^( *)%-> (.*)")
        if indent then
            lines[#lines + 1] = { depth = #indent, text = operation }
        end
    end
    if #lines == 0 then
        return nil, "a line of a tree expected"
    elseif lines[1].text:find("^<not executable") then
        return nil, "the server has no plan of it in this format"
    end
    local parents = {} -- of the current line, by their depth
    for i, line in ipairs(lines) do
        plan.filesort = plan.filesort or line.text:find("^Sort") ~= nil
        plan.temporary = plan.temporary or line.text:find("^[^(]*[Tt]emporary") ~= nil
        parents[line.depth] = line.text
        local step, parent, below = read_operation(line.text), parents[line.depth - 4] or "", lines[i + 1]
        if parent == "Hash" then
            parent = parents[line.depth - 8] or ""
        end
        -- A line with lines below it is their result, under its alias.
        if step and is_table(step.table) and not (below and below.depth > line.depth) then
            step.condition = parent:find("^Filter:") ~= nil or parent:find("^[^(]*hash join") ~= nil
            step.keyless = step.condition and step.access == "ALL"
            plan.steps[#plan.steps + 1] = step
        end
    end
    return plan
end

-- Findings ---------------------------------------------------------------------------------------

-- Evaluates a plan, for a statement of this kind ("SELECT", "UPDATE", …): adds full_scan, full_index_scan and
-- no_index; `rows`, the most rows that are read from one table; and `tables`.
function plans.judge(plan, kind)
    local writes = kind == "UPDATE" or kind == "DELETE"
    plan.filesort, plan.temporary = plan.filesort or false, plan.temporary or false
    plan.full_scan, plan.full_index_scan, plan.no_index = false, false, false
    plan.tables = {}
    local seen = {}
    for _, step in ipairs(plan.steps) do
        if not seen[step.table] then
            seen[step.table] = true
            plan.tables[#plan.tables + 1] = step.table
        end
        -- For statements that write to InnoDB a scan of the whole table is shown as one of the primary key.
        local whole = step.access == "ALL" or writes and step.access == "index" and step.key == "PRIMARY" and step.condition
        plan.full_scan = plan.full_scan or whole
        plan.full_index_scan = plan.full_index_scan or step.access == "index" and not whole
        plan.no_index = plan.no_index or (whole or step.access == "index") and step.condition and step.keyless
        if step.rows and step.rows > (plan.rows or -1) then
            plan.rows = step.rows
        end
    end
    return plan
end

return plans
