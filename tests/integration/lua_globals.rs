//! The library and the demos use no global variable that nobody has set: a module that is not required, or a
//! name that is misspelt, would only show when that line runs.

use std::path::Path;

use crate::support::dpm::Launch;

/// Prints the globals that each file reads and has not written, but for those that Lua and the program have;
/// and those that the library writes, but for its own name. LuaJIT's bytecode names them.
const SCRIPT: &str = "
    local util = require 'jit.util'
    local function opcode(chunk) return bit.band(util.funcbc(assert(loadstring(chunk)), 1), 0xFF) end
    -- The one that writes follows the one that reads.
    local READS = opcode 'return some_name'
    -- The last is given by the program of demos/table_counter.rs.
    local given = { arg = true, counter = true }
    for name in pairs(_G) do given[name] = true end

    -- Calls fn(name, whether it is written) for each use of a global.
    local function uses(proto, fn)
      for pc = 1, util.funcinfo(proto).bytecodes - 1 do
        local instruction = util.funcbc(proto, pc)
        local code = bit.band(instruction, 0xFF)
        -- Constants are counted down from -1, and so are the functions within.
        if code == READS or code == READS + 1 then
          fn(util.funck(proto, -bit.rshift(instruction, 16) - 1), code ~= READS)
        end
      end
      for at = 1, util.funcinfo(proto).gcconsts do
        local constant = util.funck(proto, -at)
        if type(constant) == 'proto' then uses(constant, fn) end
      end
    end

    for _, file in ipairs(arg) do
      local chunk, written = assert(loadfile(file)), {}
      uses(chunk, function(name, is_written)
        if is_written then written[name] = true end
      end)
      local is_library = file:find('/lua/', 1, true)
      uses(chunk, function(name, is_written)
        local is_own = written[name] and (not is_library or name == 'dpml')
        if is_written and not is_own or not given[name] and not is_own then
          print(('GLOBAL %s: %s'):format(file, name))
        end
      end)
    end
    print('looked at ' .. #arg)";

/// All files of Lua in this folder and those in it.
fn sources(folder: &Path, found: &mut Vec<String>) {
    for entry in std::fs::read_dir(folder).expect("a folder") {
        let path = entry.expect("a file").path();
        if path.is_dir() {
            sources(&path, found);
        } else if path.extension().is_some_and(|kind| kind == "lua") {
            found.push(path.display().to_string());
        }
    }
}

#[test]
fn nothing_uses_a_global_that_is_not_there() {
    let root = Path::new(env!("CARGO_MANIFEST_DIR"));
    let mut files = Vec::new();
    for folder in ["lua/dpml", "demos"] {
        sources(&root.join(folder), &mut files);
    }
    for file in ["lua/dpml.lua", "lua/startup.lua"] {
        files.push(root.join(file).display().to_string());
    }
    let count = files.len();
    let dpm = files
        .into_iter()
        .fold(Launch::script(SCRIPT), Launch::arg)
        .start();
    dpm.line(&format!("looked at {count}"));
    let found = dpm.lines("GLOBAL ");
    assert!(found.is_empty(), "{}", found.join("\n"));
}
