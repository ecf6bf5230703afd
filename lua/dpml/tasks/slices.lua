-- Long work in slices, so that all others go on in between: work in a task, which lets others go on when it has had a few
-- milliseconds.

local tasks = require "dpml.tasks"

local slices = {}

local SLICE = 5 -- milliseconds
local LOOK = 16 -- steps between looks at the clock
local RUN = 256 -- elements that are sorted in one step

-- A function to be called at each step of some work; is_long: a step that is worth a look at the clock by itself.
function slices.new()
    local began, steps = dpm.monotonic(), 0
    return function(is_long)
        steps = steps + 1
        if (is_long or steps % LOOK == 0) and dpm.monotonic() - began > SLICE then
            tasks.sleep(1)
            began = dpm.monotonic()
        end
    end
end

local function merge(from, to, first, middle, last, before, breathe)
    local left, right = first, middle + 1
    for place = first, last do
        if left <= middle and (right > last or not before(from[right], from[left])) then
            to[place], left = from[left], left + 1
        else
            to[place], right = from[right], right + 1
        end
        breathe()
    end
end

local function sort_run(list, first, last, before)
    local run = { unpack(list, first, last) }
    table.sort(run, before)
    for i, value in ipairs(run) do
        list[first + i - 1] = value
    end
end

-- Sorts a list; `before` must tell any two of its elements apart. Returns the sorted list, which may be another table.
function slices.sort(list, before, breathe)
    local count = #list
    for first = 1, count, RUN do
        sort_run(list, first, math.min(first + RUN - 1, count), before)
        breathe(true)
    end
    local width, spare = RUN, {}
    while width < count do
        for first = 1, count, 2 * width do
            local middle = math.min(first + width - 1, count)
            merge(list, spare, first, middle, math.min(first + 2 * width - 1, count), before, breathe)
        end
        list, spare, width = spare, list, 2 * width
    end
    return list
end

return slices
