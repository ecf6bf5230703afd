-- print, io.write, io.stdout, io.stderr: what they write goes to the threads that write the standard
-- streams, in the order in which it was written. So a reader who does not read cannot stop the loop.
local to_stdout, to_stderr, flush = ...
local io, os = io, os
local stdout, stderr = io.stdout, io.stderr
local error, select, type = error, select, type
local concat = table.concat
local file = getmetatable(stdout).__index
local raw_write = file.write

-- Reads the global `tostring` each time, as the original does.
local globals = _G
function print(...)
    local texts = { ... }
    for i = 1, select("#", ...) do
        local text = globals.tostring(texts[i])
        if type(text) ~= "string" and type(text) ~= "number" then
            error("'tostring' must return a string to 'print'", 2)
        end
        texts[i] = text
    end
    to_stdout(concat(texts, "\t") .. "\n")
end

local function write(write_text, ...)
    local texts = { ... }
    for i = 1, select("#", ...) do
        local kind = type(texts[i])
        if kind ~= "string" and kind ~= "number" then
            local got = texts[i] == nil and "nil" or kind
            error(("bad argument #%d to 'write' (string expected, got %s)"):format(i, got), 3)
        end
    end
    write_text(concat(texts))
    return true
end

function file.write(self, ...)
    if self == stdout then
        return write(to_stdout, ...)
    elseif self == stderr then
        return write(to_stderr, ...)
    end
    return raw_write(self, ...)
end

local raw_io_write = io.write
function io.write(...)
    local output = io.output()
    if output == stdout then
        return write(to_stdout, ...)
    elseif output == stderr then
        return write(to_stderr, ...)
    end
    return raw_io_write(...)
end

-- Other processes write to the same streams, and the process may end: what was written before comes before.
local function after_flush(original)
    return function(...)
        flush()
        return original(...)
    end
end
os.execute, os.exit, io.popen = after_flush(os.execute), after_flush(os.exit), after_flush(io.popen)
