-- The families of series that /metrics tells. With several workers each series has a label more, its worker: Prometheus
-- adds them up.

local everywhere = require "dpml.metrics.everywhere"
local figures = require "dpml.figures"

local families = {}

local QUESTION = "dpml.metrics.families"
local MOST_SAMPLES = 200 -- of a family, that one worker tells another, as a message has its limit

-- In the form of JSON, which has no infinite numbers and only UTF-8.
local function sent()
    local all = figures.families()
    for _, family in ipairs(all) do
        for i = #family.samples, 1, -1 do
            local sample = family.samples[i]
            if i > MOST_SAMPLES then
                family.samples[i] = nil
            elseif type(sample.value) == "table" then
                local buckets = sample.value.buckets
                buckets[#buckets] = { "inf", buckets[#buckets][2] }
            end
            for place, label in ipairs(sample.labels) do
                sample.labels[place] = dpm.to_utf8(label)
            end
        end
    end
    return { families = all }
end

local function received(family)
    for _, sample in ipairs(family.samples) do
        local buckets = type(sample.value) == "table" and sample.value.buckets
        if buckets then
            buckets[#buckets][1] = math.huge
        end
    end
end

local function add(all, by_name, family, worker)
    local key = family.name .. " " .. (family.unit or "")
    local into = by_name[key]
    if not into then
        into = { name = family.name, help = family.help, kind = family.kind, unit = family.unit, labels = { "worker" },
            samples = {} }
        for _, label in ipairs(family.labels) do
            table.insert(into.labels, label)
        end
        by_name[key] = into
        all[#all + 1] = into
    end
    for _, sample in ipairs(family.samples) do
        -- (A copy: the columns of a row have their labels in common.)
        table.insert(into.samples, { labels = { tostring(worker), unpack(sample.labels) }, value = sample.value })
    end
end

-- Calls done(families) with those of all workers.
function families.everywhere(done)
    local own, count = dpm.worker()
    if count == 1 then
        return done(figures.families())
    end
    everywhere.ask(QUESTION, {}, function() return { families = figures.families() } end, function(answers)
        local all, by_name = {}, {}
        for worker = 1, count do
            for _, family in ipairs(answers[worker] and answers[worker].families or {}) do
                if worker ~= own then
                    received(family)
                end
                add(all, by_name, family, worker)
            end
        end
        done(all)
    end)
end

-- This worker answers others.
function families.answer()
    everywhere.answer(QUESTION, sent)
end

return families
