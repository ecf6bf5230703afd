-- Looks through compiled code, without running it, for globals that nobody defines and modules that cannot be
-- found. function(chunk) -> { "file:line: what is wrong", … }
--
-- Bytecode rather than source: LuaJIT has parsed it, so there is no second opinion on what is a global. The numbers
-- of the instructions differ between versions of LuaJIT, so they are taken from code that is known.

local util = require "jit.util"
local band, rshift = bit.band, bit.rshift

-- The fields of `package` with which a script decides where modules are found.
local MOVES_MODULES = { path = true, cpath = true, preload = true, loaders = true, loaded = true }

-- What functions set globals with that are not named so.
local CHANGES_GLOBALS = { _G = true, getfenv = true, setfenv = true, module = true }

-- The instruction at pc: its operation, A and D; nil after the last one.
local function instruction(fn, pc)
    local ins = util.funcbc(fn, pc)
    if ins then return band(ins, 0xFF), band(rshift(ins, 8), 0xFF), rshift(ins, 16) end
end

local function operation(source, pc) return (instruction(loadstring(source), pc)) end

local GGET = operation("return x", 1) -- A = global D
local GSET = operation("x = 1", 2) -- global D = A
local KSTR = operation("local s = 's'", 1) -- A = string D
local TSETV = operation("local t, k = nil, nil t[k] = t", 2) -- a key that is computed
local CALL = operation("f(1)", 3) -- A(…), the low byte of D: arguments + 1
local CALLT = operation("return f(1)", 3) -- the same, D: arguments + 1

-- The D of an instruction that names a string, as that string.
local function constant(fn, d) return util.funck(fn, -d - 1) end

-- The name of the module, if the instruction at pc begins `require "name"`.
local function required(fn, pc, a)
    local operation, register, d = instruction(fn, pc + 1)
    if operation ~= KSTR or (register ~= a + 1 and register ~= a + 2) then return end
    local name = constant(fn, d)
    -- (Between the argument and the call of `return require "name"` the function's upvalues may be closed.)
    for call = pc + 2, pc + 3 do
        operation, register, d = instruction(fn, call)
        local called = operation == CALL and band(d, 0xFF) == 2 or operation == CALLT and d == 2
        if called and register == a then return name end
    end
end

-- What is known of all code so far.
local function new_findings()
    return {
        reads = {}, -- { name =, at = }, in order
        requires = {}, -- the same of modules
        defined = {}, -- names
    }
end

-- Adds what a function does, and the functions in it.
local function look_at(fn, findings)
    local function at(pc)
        local info = util.funcinfo(fn, pc)
        return ("%s:%d"):format((info.source:gsub("^[@=]", "")), info.currentline)
    end
    local reads_package, reads_environment, computes_keys = false, false, nil
    local pc = 1
    local operation, a, d = instruction(fn, pc)
    while operation do
        if operation == GSET then
            findings.defined[constant(fn, d)] = true
        elseif operation == TSETV then
            computes_keys = computes_keys or at(pc)
        elseif operation == GGET then
            local name = constant(fn, d)
            findings.reads[#findings.reads + 1] = { name = name, at = at(pc) }
            if name == "package" then reads_package = true end
            if CHANGES_GLOBALS[name] then reads_environment = true end
            local module = name == "require" and required(fn, pc, a)
            if module then findings.requires[#findings.requires + 1] = { name = module, at = at(pc) } end
        end
        pc = pc + 1
        operation, a, d = instruction(fn, pc)
    end
    if reads_environment and computes_keys then findings.computed = findings.computed or computes_keys end
    local index = -1
    local value = util.funck(fn, index)
    while value ~= nil do
        if type(value) == "proto" then
            look_at(value, findings)
        elseif type(value) == "string" then
            -- It may be a field of _G, or a reason why modules are found that are not there now.
            if reads_environment then findings.defined[value] = true end
            if reads_package and MOVES_MODULES[value] then findings.moves_modules = true end
        end
        index = index - 1
        value = util.funck(fn, index)
    end
end

-- The code of a module in Lua, true for one that is not to be looked at, or nil and why it is not there.
local function find(name)
    if package.loaded[name] ~= nil or package.preload[name] then return true end
    local root = name:match("^[^.]*")
    if package.searchpath(name, package.cpath) or package.searchpath(root, package.cpath) then return true end
    -- The second loader is that of Lua's files, the last one knows the library. Neither runs anything.
    local loaders = package.loaders
    for _, loader in ipairs { loaders[2], loaders[#loaders] } do
        local ok, code = pcall(loader, name)
        if not ok then return nil, "cannot be loaded: " .. (tostring(code):gsub("%s+", " ")) end
        if type(code) == "function" then return code end
    end
    return nil, "cannot be found"
end

return function(chunk)
    local findings = new_findings()
    local problems, seen, known = {}, {}, {}
    local function complain(at, text)
        local problem = at .. ": " .. text
        if not seen[problem] then
            seen[problem] = true
            problems[#problems + 1] = problem
        end
    end

    look_at(chunk, findings)
    local missing = {}
    local next_module = 1
    while findings.requires[next_module] do
        local module = findings.requires[next_module]
        next_module = next_module + 1
        if known[module.name] == nil then
            local code, why = find(module.name)
            known[module.name] = why or false
            if type(code) == "function" then
                look_at(code, findings)
                -- `module(...)` in it makes a global of the module.
                findings.defined[module.name:match("^[^.]*")] = true
            end
        end
        if known[module.name] then missing[#missing + 1] = module end
    end

    if not findings.moves_modules then
        for _, module in ipairs(missing) do
            complain(module.at, ("the module '%s' %s"):format(module.name, known[module.name]))
        end
    end
    if findings.computed then
        complain(findings.computed, "globals are set by computed names here, so undefined ones are not looked for")
        return problems
    end
    for _, read in ipairs(findings.reads) do
        if not findings.defined[read.name] and rawget(_G, read.name) == nil then
            complain(read.at, ("the global '%s' is read, and nobody defines it"):format(read.name))
        end
    end
    return problems
end
