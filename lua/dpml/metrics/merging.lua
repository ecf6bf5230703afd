-- Adds up what several workers tell for the live page: rows that are about the same become one.

local figures = require "dpml.figures"

local merging = {}

local COMBINE = {
    sum = function(one, other) return one + other end,
    largest = math.max,
    smallest = math.min,
}
local GROWS = { counter = true, gauge = true }

-- How many were at most so large; both have the same limits.
local function add_distribution(into, more)
    for i, count in ipairs(more.counts) do
        into.counts[i] = (into.counts[i] or 0) + count
    end
end

-- What cannot be added up stays as it is in the first.
local function add_row(of, into, row)
    for _, column in ipairs(of.all) do
        local name = column.name
        local one, other = into[name], row[name]
        if type(one) == "table" and type(other) == "table" then
            add_distribution(one, other)
        elseif one == nil then
            into[name] = other
        elseif type(one) == "number" and type(other) == "number" then
            local combine = COMBINE[column.merge or "sum"]
            if GROWS[column.kind] or column.merge ~= nil and column.merge ~= "sum" then
                into[name] = combine(one, other)
            end
        end
    end
    if into.mean_us and into.total_us and (into.calls or 0) > 0 then
        into.mean_us = math.floor(into.total_us / into.calls + 0.5)
    end
end

local function key_of(of, row)
    local parts = {}
    for _, column in ipairs(of.all) do
        if column.kind == "label" then
            parts[#parts + 1] = tostring(row[column.name]) .. "\0"
        end
    end
    return table.concat(parts)
end

local function add_rows(of, rows, more)
    local by_key = {}
    for _, row in ipairs(rows) do
        by_key[key_of(of, row)] = row
    end
    for _, row in ipairs(more) do
        local into = by_key[key_of(of, row)]
        if into then
            add_row(of, into, row)
        else
            rows[#rows + 1] = row
        end
    end
end

-- Adds rows of a table, by the names of columns, to others, and returns these. A list has one.
function merging.rows(of, rows, more)
    if of.list and rows[1] and more[1] and key_of(of, rows[1]) == "" then
        add_row(of, rows[1], more[1])
    else
        add_rows(of, rows, more)
    end
    return rows
end

-- Adds the tables of one worker to those of others, and returns these.
function merging.merge(tables, more)
    for _, of in ipairs(figures.all()) do
        local one, other = tables[of.name], more[of.name]
        if one and other and of.list then
            add_row(of, one, other)
        elseif one and other then
            add_rows(of, one, other)
        else
            tables[of.name] = one or other
        end
    end
    return tables
end

return merging
