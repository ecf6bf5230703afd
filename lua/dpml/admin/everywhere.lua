-- Tables of figures over all workers. Rows that are about the same, such as one server, become one; those of tables that
-- list things one by one are told by each worker for itself, which is named in their last column.

local errors = require "dpml.support.errors"
local figures = require "dpml.figures"
local merging = require "dpml.metrics.merging"
local workers = require "dpml.tasks.workers"

local everywhere = {}

local QUESTION = "dpml.admin.rows"
local PAGE = 200            -- rows of an answer
local PAGE_BYTES = 2 ^ 18   -- of texts in them, beyond which none is added
local LONGEST_WAIT = 60     -- seconds after which rows that nobody has asked for are forgotten
local MOST_READERS = 64     -- answers that are read in pages at a time

-- Tables that are about the whole program in each worker.
local OF_PROGRAM = { log = true, config = true, workers = true }

local WORKER = { name = "Worker", type = dpm.MYSQL_TYPE_LONGLONG, charset_number = 63, length = 20 }

-- Answering -----------------------------------------------------------------------------------------

local readers = {} -- number -> { next_row =, asked = }: answers of which there is more
local last_reader = 0

local function forget_old(now)
    for number, reader in pairs(readers) do
        if now - reader.asked > LONGEST_WAIT * 1000 then
            readers[number] = nil
        end
    end
end

local function keep(next_row, asked)
    forget_old(asked)
    local count = 0
    for _ in pairs(readers) do
        count = count + 1
    end
    if count >= MOST_READERS then
        error(errors.new(1040, "08004", "Too many long answers are read at the moment"), 0)
    end
    last_reader = last_reader + 1
    readers[last_reader] = { next_row = next_row, asked = asked }
    return last_reader
end

local function is_finite(value)
    return value == value and value ~= math.huge and value ~= -math.huge
end

-- A row as JSON can have it: nothing is an empty table. Distributions are left out.
local function packed(row, count)
    local values, bytes = {}, 0
    for i = 1, count do
        local value = row[i]
        if type(value) == "string" then
            value = dpm.to_utf8(value)
            bytes = bytes + #value
        elseif value == nil or type(value) == "table" or type(value) == "number" and not is_finite(value) then
            value = {}
        end
        values[i] = value
    end
    return values, bytes
end

local function unpacked(values)
    local row = {}
    for i, value in ipairs(values) do
        if type(value) ~= "table" then
            row[i] = value
        end
    end
    return row
end

-- Where a subject of figures is found by its name, and told its name: { find(name), name_of(subject), tables(subject) }.
local subjects

-- Lets other workers ask this one for rows. `of` finds what tables are about that are not for all to see.
function everywhere.answer(of)
    subjects = of
    workers.answer(QUESTION, function(question)
        local reader = question.reader and readers[question.reader]
        local next_row = reader and reader.next_row
        local subject = question.subject and subjects.find(question.subject)
        local its = everywhere.named(question.subject and subjects.tables(subject) or figures.all(), question.table)
        if question.reader and not reader or question.subject and not subject or not its then
            error(errors.new(1105, "HY000", "There is nothing of this name"), 0)
        end
        next_row = next_row or its:each({ literals = question.literals }, subject)
        local rows, bytes = {}, 0
        while #rows < PAGE and bytes < PAGE_BYTES do
            local row = next_row()
            if not row then
                readers[question.reader or 0] = nil
                return { rows = rows }
            end
            local size
            rows[#rows + 1], size = packed(row, #its.all)
            bytes = bytes + size
        end
        local number = question.reader
        if number then
            reader.asked = dpm.monotonic()
        else
            number = keep(next_row, dpm.monotonic())
        end
        return { rows = rows, reader = number }
    end)
end

-- The table of this name in a list.
function everywhere.named(tables, name)
    for _, each in ipairs(tables) do
        if each.name == name then
            return each
        end
    end
end

-- Asking --------------------------------------------------------------------------------------------

-- An iterator over the rows of another worker, as arrays.
local function rows_of(worker, its, options, subject)
    local question = { table = its.name, literals = options.literals, subject = subject and subjects.name_of(subject) }
    local page, at, is_last = {}, 0, false
    return function()
        at = at + 1
        while not page[at] and not is_last do
            local ok, answer = pcall(workers.ask, worker, QUESTION, question)
            if not ok then
                dpm.log("warn", ("SHOW %s: the rows of worker %d are missing: %s"):format(its.name:upper(), worker, tostring(answer)))
                return nil
            end
            page, at, is_last, question.reader = answer.rows, 1, not answer.reader, answer.reader
        end
        return page[at] and unpacked(page[at])
    end
end

-- An iterator over the rows of all workers, one after the other, each with its worker's number behind its `count` values.
local function one_by_one(its, options, subject)
    local own, total = dpm.worker()
    local worker, next_row, count = 0, nil, #its.all
    return function()
        while true do
            local row = next_row and next_row()
            if row then
                row[count + 1] = worker
                return row
            end
            worker = worker + 1
            if worker > total then
                return nil
            end
            next_row = worker == own and its:each(options, subject) or rows_of(worker, its, options, subject)
        end
    end
end

local function record_of(its, row)
    local record = {}
    for i, column in ipairs(its.all) do
        record[column.name] = type(row[i]) ~= "table" and row[i] or nil
    end
    return record
end

-- Its rows by the names of columns, those of all workers added up. To be called in a task.
function everywhere.merged(its, options, subject)
    local own, total = dpm.worker()
    local sums = {}
    for worker = 1, total do
        local rows = {}
        for row in worker == own and its:each(options, subject) or rows_of(worker, its, options, subject) do
            rows[#rows + 1] = record_of(its, row)
        end
        sums = merging.rows(its, sums, rows)
    end
    return sums
end

-- The same as arrays.
local function added_up(its, options, subject)
    local records, at
    return function()
        records, at = records or everywhere.merged(its, options, subject), (at or 0) + 1
        local record = records[at]
        if not record then
            return nil
        end
        local row = {}
        for i, column in ipairs(its.all) do
            row[i] = record[column.name]
        end
        return row
    end
end

local function has_labels(its)
    for _, column in ipairs(its.all) do
        if column.kind == "label" then
            return true
        end
    end
    return its.list
end

local function delegates(its)
    return { __index = its }
end

-- A table as all workers have it, to be shown in a task; the table itself if there is one worker.
function everywhere.over(its)
    local _, total = dpm.worker()
    if total == 1 or OF_PROGRAM[its.name] then
        return its
    end
    local over = setmetatable({}, delegates(its))
    if has_labels(its) then
        function over.each(_, options, subject)
            return added_up(its, options or {}, subject)
        end
        return over
    end
    function over.columns()
        local columns = its:columns()
        columns[#columns + 1] = WORKER
        return columns
    end
    function over.shown(_, options, subject)
        return one_by_one(its, options or {}, subject)
    end
    return over
end

return everywhere
