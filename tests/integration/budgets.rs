//! Callbacks that do not return: they are told, and those with a budget are ended.

use std::time::{Duration, Instant};

use crate::support::dpm::Launch;
use crate::support::wire::{Answer, Wire, caps, com};
use crate::support::{Dpm, PATIENCE, eventually, let_time_pass, mariadb, process};

const PLAIN: u32 = caps::BASE | caps::MULTI;

/// A client's statements are run as Lua, unless they are SELECTs.
const STARTFILE: &str = "
    local listener = dpm.listener('127.0.0.1', 0)
    require('dpml').passthrough_new_clients(listener, {
        new_client = function(client, its_server) server = its_server end,
        new_command = function(cmd)
            local sql = cmd:argument()
            if not sql:find('^SELECT') then
                assert(loadstring(sql))()
                error('it has come to an end: ' .. sql)
            end
        end,
    }, { arg[1], tonumber(arg[2]) })
    print('port ' .. listener:socket_port())";

/// Statements that never return.
const ENDLESS: &[&str] = &[
    "while true do end",
    "for i = 1, math.huge do end",
    "::again:: goto again",
    "repeat local t = {} until false",
    "local function f() return f() end f()",
    // Who catches the error gets no further.
    "while true do pcall(function() while true do end end) end",
    "local function f() while true do pcall(f) end end f()",
    "while true do xpcall(function() while true do end end, debug.traceback) end",
    "while true do pcall(error, 'x') end",
    "local handler = function() return setmetatable({}, { __tostring = error }) end while true do xpcall(error, handler) end",
    "while true do setmetatable({}, { __index = function() while true do end end }).x = nil
         pcall(function() return setmetatable({}, { __index = function() while true do end end }).x end) end",
    // Coroutines.
    "coroutine.wrap(function() while true do end end)()",
    "local co = coroutine.create(function() while true do coroutine.yield() end end)
     while true do coroutine.resume(co) end",
    "while true do coroutine.resume(coroutine.create(function() while true do end end)) end",
    "local function f() pcall(coroutine.wrap(f)) while true do end end f()",
    // C functions that call Lua.
    "('x'):rep(1e6):gsub('x', function() while true do end end)",
    "table.sort({ 1, 2, 3 }, function() while true do end end)",
    "while true do ('x'):gsub('x', function() end) end",
    "while true do require('dpml') end",
    "local f = load(function() while true do end end)",
    // Hooks of its own.
    "while true do debug.sethook() end",
    // Objects of the proxy.
    "while true do dpm.new_cmd_pkt():argument('x') end",
    "while true do dpm.monotonic() end",
    "while true do pcall(dpm.close) end",
    "while true do dpm.limit(1, function() end) end",
    "dpm.limit(3600000, function() while true do end end) while true do end",
];

fn start(budget: &str) -> Dpm {
    let script = format!("dpm.config {{ {budget} }} {STARTFILE}");
    Launch::script(&script).server(mariadb()).quiet().start()
}

#[test]
fn what_takes_longer_than_its_budget_is_ended() {
    let mut dpm = start("budget = 100");
    let port = dpm.port();
    for statement in &ENDLESS[..ENDLESS.len() - 1] {
        let mut client = Wire::login(port, PLAIN);
        client.command(com::QUERY, statement.as_bytes());
        match client.answer() {
            Answer::Err(1105, ..) => {}
            other => panic!("{statement}: {other:?}"),
        }
        assert!(!dpm.wrote("it has come to an end"), "{statement}");
        // The client, too, is served on; nothing of the interruption is left.
        assert_eq!(client.rows("SELECT 1"), [["1"]], "after {statement}");
        assert_eq!(Wire::login(port, PLAIN).rows("SELECT 1"), [["1"]]);
    }
    let told = dpm.line("has run for longer than it may");
    assert!(told.contains("MYC_SENT_CMD of connection"), "{told}");
    assert_eq!(dpm.stop().code(), Some(0));
}

/// Its own limit is a longer one, and holds for what it calls; the callback's holds again afterwards.
#[test]
fn a_limit_within_a_budget() {
    let mut dpm = start("budget = 100");
    let port = dpm.port();
    let statement = "local began = dpm.monotonic()
        local ok, problem = dpm.limit(700, function() while true do end end)
        took = dpm.monotonic() - began
        assert(not ok and problem:find('longer than it may'), problem)
        assert(took > 600, took)
        print('limited')
        while true do end";
    let mut client = Wire::login(port, PLAIN);
    client.command(com::QUERY, statement.as_bytes());
    assert!(matches!(client.answer(), Answer::Err(1105, ..)));
    dpm.line("limited");
    dpm.line("has run for longer than it may");
    assert_eq!(client.rows("SELECT 1"), [["1"]]);
    assert_eq!(dpm.stop().code(), Some(0));
}

/// What is compiled when the budget is set is not run on.
#[test]
fn code_that_is_compiled_already_is_ended_too() {
    let script = format!(
        "function spin(n) local i = 0 while i ~= n do i = i + 1 end end
         spin(1e6)
         dpm.config {{ budget = 100 }} {STARTFILE}"
    );
    let mut dpm = Launch::script(&script).server(mariadb()).quiet().start();
    let mut client = Wire::login(dpm.port(), PLAIN);
    client.command(com::QUERY, b"spin(-1)");
    assert!(matches!(client.answer(), Answer::Err(1105, ..)));
    assert_eq!(client.rows("SELECT 1"), [["1"]]);
    assert_eq!(dpm.stop().code(), Some(0));
}

#[test]
fn what_keeps_to_its_budget_is_left_alone() {
    let mut dpm = start("budget = 2000");
    let mut client = Wire::login(dpm.port(), PLAIN);
    let begun = Instant::now();
    // Many short ones take longer than the budget of one.
    while begun.elapsed() < Duration::from_millis(2500) {
        assert_eq!(client.rows("SELECT 1"), [["1"]]);
    }
    assert!(!dpm.wrote("longer than it may"));
    dpm.assert_no_errors();
    assert_eq!(dpm.stop().code(), Some(0));
}

#[test]
fn a_budget_is_lifted_and_checked() {
    let script = "
        dpm.config { budget = 50 }
        dpm.config { budget = 0 }
        for _, wrong in ipairs { -1, 0.5, 'x', 1e12, true } do
          assert(not pcall(dpm.config, { budget = wrong }), tostring(wrong))
        end
        assert(not pcall(dpm.limit, 'x', print))
        assert(not pcall(dpm.limit, 1))
        assert(jit.status())
        assert(select('#', dpm.limit(10, function(...) return ... end, nil, 2, nil)) == 4)
        assert(jit.status())
        local ok, problem = dpm.limit(1000, error, 'as planned')
        assert(not ok and problem:find('as planned'))
        dpm.new_timer():schedule(0, 1, function(timer)
          local began = dpm.monotonic()
          while dpm.monotonic() < began + 300 do end
          print('returned')
          timer:cancel()
        end)";
    let mut dpm = Launch::script(script).start();
    dpm.line("returned");
    assert_eq!(dpm.wait_for_end().code(), Some(0));
}

#[test]
fn timers_signals_and_closings_have_a_budget_too() {
    let script = "
        dpm.config { budget = 50 }
        for _, name in ipairs { 'HUP', 'USR2' } do
          dpm.on_signal(name, function() print('got ' .. name) while true do end end)
        end
        local listener = dpm.listener('127.0.0.1', 0)
        listener:on_close(function() while true do end end)
        dpm.new_timer():schedule(0, 50, function() print('ticks') while true do end end)
        dpm.new_timer():schedule(3600, 0, function() end)
        dpm.on_signal('USR1', function() dpm.close(listener) end)";
    let mut dpm = Launch::script(script).start();
    for what in ["timer", "signal HUP", "signal USR2"] {
        if let Some(name) = what.strip_prefix("signal ") {
            dpm.signal(name);
        }
        eventually(what, || {
            let ended = dpm.lines("[");
            ended
                .iter()
                .any(|line| line.contains(what) && line.contains("longer than it may"))
        });
    }
    assert_eq!(dpm.stop().code(), Some(0));
    dpm.line("on_close of connection 1: ");
}

/// Without a budget, too.
#[test]
fn what_does_not_return_is_told() {
    let mut dpm = start("");
    let mut client = Wire::login(dpm.port(), PLAIN);
    client.command(com::QUERY, b"while true do end");
    let told = dpm.line("has been running for 1 s");
    assert!(told.contains("MYC_SENT_CMD of connection "), "{told}");
    dpm.signal("TERM");
    let_time_pass(Duration::from_millis(200));
    dpm.signal("TERM");
    assert_eq!(dpm.wait_for_end().code(), Some(0));
}

/// Statements that cannot be ended: C functions, handlers of errors and hooks that do not return, finalizers.
const UNSTOPPABLE: [&str; 4] = [
    "debug.sethook(function() while true do end end, '', 1) while true do end",
    "(('a'):rep(5000)):find(('a-'):rep(20) .. 'b')",
    "xpcall(function() while true do end end, function() while true do end end)",
    "local proxy = newproxy(true)
     getmetatable(proxy).__gc = function() while true do end end
     proxy = nil
     collectgarbage()",
];

#[test]
fn what_cannot_be_ended_is_told() {
    for statement in UNSTOPPABLE {
        let mut dpm = start("budget = 100");
        let mut client = Wire::login(dpm.port(), PLAIN);
        client.command(com::QUERY, statement.as_bytes());
        let told = dpm.line("has been running for 1 s");
        assert!(told.contains("MYC_SENT_CMD of connection "), "{told}");
        dpm.signal("TERM");
        let_time_pass(Duration::from_millis(200));
        dpm.signal("TERM");
        assert_eq!(dpm.wait_for_end().code(), Some(0));
    }
}

/// Files that never return, as they are loaded or in their self-tests.
#[test]
fn a_plugin_that_does_not_return_is_not_used() {
    let good = "return { new_command = function() print('the good one') end }";
    for endless in [
        "while true do end return {}",
        "return { selftest = function() while true do pcall(function() while true do end end) end end }",
    ] {
        let folder = process::folder("reload");
        let plugin = folder.join("plugin.lua");
        std::fs::write(&plugin, good).unwrap();
        let mut dpm = Launch::script(
            "local listener = dpm.listener('127.0.0.1', 0)
             local dpml = require('dpml')
             dpml.passthrough_new_clients(listener, dpml.reloadable(arg[3], 3600), { arg[1], tonumber(arg[2]) })
             print('port ' .. listener:socket_port())",
        )
        .server(mariadb())
        .arg(plugin.display())
        .start();
        let port = dpm.port();
        std::fs::write(&plugin, endless).unwrap();
        let begun = Instant::now();
        dpm.signal("HUP");
        dpm.line("has run for longer than it may");
        assert!(begun.elapsed() < PATIENCE);
        assert_eq!(Wire::login(port, PLAIN).rows("SELECT 1"), [["1"]]);
        dpm.line("the good one");
        assert_eq!(dpm.stop().code(), Some(0));
    }
}
