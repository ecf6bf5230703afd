//! SIGTERM and SIGINT end the program, whatever it is doing.

use std::time::{Duration, Instant};

use crate::support::dpm::Launch;
use crate::support::wire::{Wire, caps};
use crate::support::{Dpm, PATIENCE, eventually, let_time_pass, mariadb};

const PLAIN: u32 = caps::BASE | caps::MULTI;

/// Startfiles in which something runs for ever once "here" has been printed.
const ENDLESS: [&str; 4] = [
    "dpm.new_timer():schedule(0, 1, function() print('here') while true do end end)",
    // The startfile itself.
    "print('here') while true do end",
    // A callback that runs in another, and catches all errors.
    "dpm.new_timer():schedule(0, 1, function()
         pcall(function() coroutine.wrap(function() print('here') while true do end end)() end)
     end)",
    // What waits in the system is not Lua.
    "local ffi = require('ffi')
     ffi.cdef 'unsigned sleep(unsigned)'
     dpm.new_timer():schedule(0, 1, function() print('here') while true do ffi.C.sleep(3600) end end)",
];

fn start(script: &str, drain: &str) -> Dpm {
    let dpm = Launch::script(&format!("dpm.config {{ drain = {drain} }} {script}")).start();
    dpm.line("here");
    dpm
}

#[test]
fn an_endless_callback_is_given_the_time_to_drain() {
    for script in ENDLESS {
        for name in ["TERM", "INT"] {
            let mut dpm = start(script, "1");
            let begun = Instant::now();
            dpm.signal(name);
            assert_eq!(dpm.wait_for_end().code(), Some(0), "{script}");
            assert!(begun.elapsed() >= Duration::from_secs(1), "{script}");
            assert!(begun.elapsed() < Duration::from_secs(10), "{script}");
            dpm.line("a callback has not returned");
        }
    }
}

#[test]
fn a_second_signal_ends_an_endless_callback_at_once() {
    for script in ENDLESS {
        for names in [["TERM", "TERM"], ["TERM", "INT"], ["INT", "INT"]] {
            let mut dpm = start(script, "3600");
            let begun = Instant::now();
            dpm.signal(names[0]);
            // Two equal signals that are both pending are one.
            let_time_pass(Duration::from_millis(200));
            assert!(dpm.runs(), "{script}");
            dpm.signal(names[1]);
            assert_eq!(dpm.wait_for_end().code(), Some(0), "{script}");
            assert!(begun.elapsed() < PATIENCE, "{script}");
        }
    }
}

/// The loop has seen the signal, and drains; then a callback does not return.
#[test]
fn a_callback_that_begins_while_it_drains_has_no_longer() {
    let mut dpm = Dpm::start(
        "dpm.config { drain = 1 }
         local listener = dpm.listener('127.0.0.1', 0)
         require('dpml').passthrough_new_clients(listener, {
             closing = function() print('here') while true do end end,
         }, { arg[1], tonumber(arg[2]) })
         print('second ' .. listener:socket_port())",
        mariadb(),
    );
    let port = dpm
        .line("second ")
        .rsplit(' ')
        .next()
        .unwrap()
        .parse()
        .unwrap();
    let _idle = Wire::login(port, PLAIN);
    let begun = Instant::now();
    dpm.signal("TERM");
    dpm.line("here");
    assert_eq!(dpm.wait_for_end().code(), Some(0));
    assert!(begun.elapsed() < Duration::from_secs(15));
}

/// A finalizer that runs when Lua's state is closed.
#[test]
fn an_endless_finalizer_does_not_keep_it() {
    let script = "
        local proxy = newproxy(true)
        getmetatable(proxy).__gc = function() print('here') while true do end end
        kept = proxy";
    let mut dpm = Launch::script(&format!(
        "dpm.config {{ drain = 3600 }} {script} dpm.exit(5)"
    ))
    .start();
    dpm.line("here");
    dpm.signal("TERM");
    let_time_pass(Duration::from_millis(200));
    dpm.signal("TERM");
    assert_eq!(dpm.wait_for_end().code(), Some(5));
}

/// Where the loop runs, it ends in order: what the script does at the end is done.
#[test]
fn a_second_signal_ends_a_loop_in_order() {
    let mut dpm = Launch::script(
        "dpm.config { drain = 3600 }
         local proxy = newproxy(true)
         getmetatable(proxy).__gc = function() print('finalized') end
         kept = proxy
         dpm.new_timer():schedule(0, 10, function() print('here') end)
         harness_listener = dpm.listener('127.0.0.1', 0)
         local server = dpm.connect('127.0.0.1', harness_listener:socket_port())
         kept_server = server
         print('port ' .. harness_listener:socket_port())",
    )
    .start();
    let _port = dpm.port();
    dpm.line("here");
    dpm.signal("TERM");
    eventually("it stops", || dpm.wrote("stopping"));
    dpm.signal("TERM");
    assert_eq!(dpm.wait_for_end().code(), Some(0));
    dpm.line("finalized");
}
