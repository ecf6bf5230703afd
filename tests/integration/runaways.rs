//! Callbacks that recurse without an end, or fill the memory: an error each, and everybody else is served.

use std::time::{Duration, Instant};

use crate::support::dpm::Launch;
use crate::support::wire::{Answer, Wire, caps, com};
use crate::support::{Dpm, mariadb};

const PLAIN: u32 = caps::BASE | caps::MULTI;

/// Statements that a client sends, and the callback runs. Each fails, with an error that names one of these.
const RECURSION: &[&str] = &[
    // Lua calls Lua.
    "local function f() return 1 + f() end f()",
    "local t = setmetatable({}, { __index = function(t, k) return t[k .. 'x'] .. '' end }) return t.x",
    "local t = setmetatable({}, {}) getmetatable(t).__concat = function(a, b) return (a .. b) .. '' end return t .. t",
    // Functions of Lua's library call Lua.
    "local function f() return (('x'):gsub('x', f)) end f()",
    "local function f() return ('x'):gsub('x', f) end f()",
    "local t = setmetatable({}, { __index = function(t) return (('x'):gsub('x', t)) end }) return (('x'):gsub('x', t))",
    "local function f() table.sort({ 1, 2, 3 }, f) end f()",
    "local function f() table.foreach({ 1 }, f) end f()",
    "local function f() table.foreachi({ 1 }, f) end f()",
    "local t = setmetatable({}, { __lt = function(a, b) table.sort { a, b } end }) table.sort { t, t }",
    "local n = 0 local function f() local first = true
         local ok, problem = load(function() if first then first = false f() return 'return 1' end end)
         assert(ok, problem) end f()",
    // The reader of a deeply nested text reads the next one.
    "local function f() local part = 0
         assert(load(function()
             part = part + 1
             if part == 1 then return 'return ' .. ('('):rep(190) end
             if part == 2 then f() return '1' end
             if part == 3 then return (')'):rep(190) end
         end))
     end f()",
    "package.preload.endless = function() package.loaded.endless = nil require('endless') end require('endless')",
    "local t = setmetatable({}, { __tostring = function(t) return (tostring(t)) end }) tostring(t)",
    "local t = setmetatable({}, { __tostring = function(t) return tostring(t) .. 'x' end }) print(t)",
    "local t = setmetatable({}, { __tostring = function(t) return string.format('%s', t) end }) tostring(t)",
    "local t = setmetatable({}, { __tostring = function(t) return (('%s'):format(t)) end }) tostring(t)",
    "local t = setmetatable({}, { __tostring = function(t) print(t) return '' end }) print(t)",
    // Coroutines call coroutines.
    "local function f() coroutine.wrap(f)() end f()",
    "local function f() assert(coroutine.resume(coroutine.create(f))) end f()",
    "local function f() coroutine.wrap(function() local s = ('x'):gsub('x', f) end)() end f()",
    "local function f() coroutine.wrap(function() return 1 + f() end)() end f()",
    // Errors.
    "local function f() local ok, problem = pcall(f) error('again') end f()",
    "local function f(problem) error('again') end assert(xpcall(error, f))",
    "local function f() assert(xpcall(f, debug.traceback)) end assert(pcall(error, 'as f takes too long'))",
    "error(setmetatable({}, { __tostring = function(t) return (tostring(t)) end }))",
    "error(setmetatable({}, { __tostring = function(t) return string.format('%s', t) end }))",
    "error(setmetatable({}, { __tostring = function(t) error(t) end }))",
    "error(setmetatable({}, { __tostring = function(t) return {} end }))",
    // Never ends, by tail calls.
    "error(setmetatable({}, { __tostring = function(t) return tostring(t) end }))",
    "error()",
    "error(nil)",
    "error({})",
    "error(coroutine.create(print))",
    // A packet that is sent runs the callback that sends it.
    "local function f() local cmd = dpm.new_cmd_pkt() cmd:command(dpm.COM_PING) dpm.wire_packet(server, cmd) end
     server:register(dpm.MYS_GOT_CMD, f) f() error('the callback of a packet sent within one only logs')",
    // Texts.
    "assert(loadstring('return ' .. ('('):rep(1e6)))",
    "assert(loadstring('return ' .. ('{'):rep(1e6)))",
    "assert(loadstring(('do '):rep(1e6)))",
    "assert(loadstring('return ' .. ('1^'):rep(1e6) .. '1'))",
    "assert(dpm.json_decode(('['):rep(1e6)))",
    "local t = {} t.t = t dpm.json_encode(t)",
    "string.find(('x'):rep(1000), ('(x)'):rep(1000))",
];

/// Likewise, with little memory.
const MEMORY: &[&str] = &[
    "local t = {} for i = 1, 1e9 do t[i] = ('x'):rep(1e6) .. i end",
    "local t = {} for i = 1, 1e10 do t[i] = i end",
    "local t = {} for i = 1, 1e10 do t[i] = {} end",
    "local s = 'x' while true do s = s .. s end",
    "string.rep('x', 2 ^ 31 - 1)",
    "local t = {} for i = 1, 3000 do t[i] = ('x'):rep(1e6) end table.concat(t)",
    "local t = {} for i = 1, 1e9 do t[i] = coroutine.create(function() end) end",
    "local t = {} for i = 1, 1e9 do t[i] = function() return i end end",
    "local t = {} for i = 1, 1e9 do t[i] = newproxy(true) end",
    "local t = {} for i = 1, 1e9 do t[i] = dpm.new_row_pkt and dpm.new_err_pkt() end",
    "local s = ('x'):rep(1e8) local t = {} for i = 1, 1e9 do t[i] = s:gsub('x', 'y') .. i end",
    "local s = ('x'):rep(1e8) local t = {} for i = 1, 1e9 do t[i] = dpm.json_encode({ s .. i }) end",
];

/// A client's statements are run as Lua, unless they are SELECTs.
const STARTFILE: &str = "
    local listener = dpm.listener('127.0.0.1', 0)
    require('dpml').passthrough_new_clients(listener, {
        new_client = function(client, its_server) server = its_server end,
        new_command = function(cmd)
            local sql = cmd:argument()
            if not sql:find('^SELECT') then
                local result = assert(loadstring(sql))()
                error('it has come to an end: ' .. sql)
            end
        end,
    }, { arg[1], tonumber(arg[2]) })
    print('port ' .. listener:socket_port())";

fn fails(dpm: &mut Dpm, statement: &str) {
    let port = dpm.port();
    let begun = Instant::now();
    let mut client = Wire::login(port, PLAIN);
    client.command(com::QUERY, statement.as_bytes());
    match client.answer() {
        Answer::Err(1105, ..) => {}
        other => panic!("{statement}: {other:?}"),
    }
    assert!(!dpm.wrote("it has come to an end"), "{statement}");
    assert!(begun.elapsed() < Duration::from_secs(20), "{statement}");
    assert_eq!(
        Wire::login(port, PLAIN).rows("SELECT 1"),
        [["1"]],
        "after {statement}"
    );
}

#[test]
fn recursion_without_an_end_is_an_error() {
    let mut dpm = Launch::script(STARTFILE).server(mariadb()).quiet().start();
    for statement in RECURSION {
        fails(&mut dpm, statement);
    }
    assert!(dpm.wrote("C stack overflow"));
}

#[test]
fn memory_without_an_end_is_an_error() {
    let script = format!("dpm.config {{ max_lua_memory = 64 * 2^20 }} {STARTFILE}");
    let mut dpm = Launch::script(&script).server(mariadb()).quiet().start();
    for statement in MEMORY {
        fails(&mut dpm, statement);
    }
    assert!(dpm.wrote("not enough memory"));
    assert!(dpm.memory_kib("VmHWM") < 400 << 10);
}

/// Without a word of the script, half of what the system allows.
#[test]
fn the_limit_of_memory_is_known() {
    let launch = Launch::script(STARTFILE).server(mariadb()).quiet();
    let mut dpm = launch.address_space(1000).start();
    for statement in ["local s = 'x' while true do s = s .. s end", MEMORY[2]] {
        fails(&mut dpm, statement);
        assert!(dpm.wrote("not enough memory"));
    }
}
