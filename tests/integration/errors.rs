//! Errors in callbacks: logged with their traceback, counted, never fatal, and no packet passes
//! unchecked.

use crate::support::wire::{Answer, Wire, caps};
use std::time::Duration;

use crate::support::{Dpm, eventually, let_time_pass, mariadb};

const PLAIN: u32 = caps::BASE | caps::MULTI;

/// A passthrough in which a callback of one end raises an error, only on the first connection.
fn raising(end: &str, state: &str) -> Dpm {
    Dpm::start(
        &format!(
            "local h = require('harness')
             local client, server = {{}}, {{}}
             {end}[dpm.{state}] = function()
               if h.armed == false then return end
               error('oops in {state}')
             end
             dpm.on_signal('USR2', function() h.armed = false print('disarmed') end)
             h.passthrough(client, server)"
        ),
        mariadb(),
    )
}

/// It was logged with its traceback and counted, and after that the next client is served.
#[track_caller]
fn survives(dpm: &Dpm, state: &str) {
    disarmed(dpm, state);
    dpm.wait_until_idle();
}

fn disarmed(dpm: &Dpm, state: &str) {
    dpm.line(&format!("oops in {state}"));
    dpm.line("stack traceback");
    dpm.line("start.lua:");
    dpm.signal("USR2");
    dpm.line("disarmed");
    assert!(dpm.stat("callback_errors") >= 1.0);
    let mut wire = Wire::login(dpm.port(), PLAIN);
    assert_eq!(wire.rows("SELECT 'still here'"), [["still here"]]);
    drop(wire);
}

#[test]
fn in_a_state_of_the_login() {
    for (end, state) in [
        ("client", "MYC_WAIT_AUTH"),
        ("client", "MYC_WAITING"),
        ("server", "MYS_CONNECT"),
        ("server", "MYS_WAIT_AUTH"),
        ("server", "MYS_SENDING_OK"),
        ("server", "MYS_WAIT_CMD"),
    ] {
        let dpm = raising(end, state);
        let mut wire = Wire::connect(dpm.port());
        if let Ok(first) = wire.try_read()
            && first[0] == 10
        {
            let greeting = crate::support::wire::Greeting::parse(&first);
            wire.authenticate(
                &greeting,
                crate::support::USER,
                crate::support::PASSWORD,
                PLAIN,
            );
        }
        if state != "MYC_WAITING" {
            assert!(wire.closed(), "{state}");
        }
        survives(&dpm, state);
    }
}

#[test]
fn in_a_command_it_becomes_an_error_for_the_client() {
    let dpm = raising("client", "MYC_SENT_CMD");
    let mut wire = Wire::login(dpm.port(), PLAIN);
    for _ in 0..3 {
        match wire.query("SELECT 1") {
            Answer::Err(1105, state, _) => assert_eq!(state, "HY000"),
            other => panic!("{other:?}"),
        }
    }
    disarmed(&dpm, "MYC_SENT_CMD");
    assert_eq!(
        wire.rows("SELECT 1"),
        [["1"]],
        "the connection is as good as before"
    );
    drop(wire);
    dpm.wait_until_idle();
}

#[test]
fn before_the_answer_began_it_becomes_an_error_for_the_client() {
    for state in ["MYS_SENT_RSET", "MYS_RECV_ERR"] {
        let dpm = raising("server", state);
        let mut wire = Wire::login(dpm.port(), PLAIN);
        let sql = if state == "MYS_RECV_ERR" {
            "SELEKT"
        } else {
            "SELECT 1"
        };
        match wire.query(sql) {
            Answer::Err(1105, state, _) => assert_eq!(state, "HY000"),
            other => panic!("{state}: {other:?}"),
        }
        drop(wire);
        survives(&dpm, state);
    }
}

#[test]
fn in_the_middle_of_an_answer_the_pair_is_closed() {
    for state in [
        "MYS_SENDING_FIELDS",
        "MYS_SENT_FIELDS",
        "MYS_SENDING_ROWS",
        "MYS_SENDING_EOF",
    ] {
        let dpm = raising("server", state);
        let mut wire = Wire::login(dpm.port(), PLAIN);
        wire.command(3, b"SELECT 1; SELECT 2");
        assert!(wire.closed(), "{state}");
        survives(&dpm, state);
    }
}

#[test]
fn at_accept_the_client_is_closed_and_the_listener_is_not() {
    let dpm = Dpm::start(
        "local h = require('harness')
         local n = 0
         h.passthrough()
         local accept = h.listener:register(dpm.MYC_CONNECT)
         h.listener:register(dpm.MYC_CONNECT, function(...)
           n = n + 1
           if n < 3 then error('no ' .. n) end
           return accept(...)
         end)",
        mariadb(),
    );
    for n in 1..3 {
        let mut wire = Wire::connect(dpm.port());
        assert!(wire.closed());
        dpm.line(&format!("no {n}"));
    }
    let mut wire = Wire::login(dpm.port(), PLAIN);
    assert_eq!(wire.rows("SELECT 1"), [["1"]]);
}

#[test]
fn in_closing_it_is_only_logged() {
    let dpm = raising("server", "MY_CLOSING");
    drop(Wire::login(dpm.port(), PLAIN));
    dpm.line("oops in MY_CLOSING");
    dpm.wait_until_idle();
    survives(&dpm, "MY_CLOSING");
}

#[test]
fn in_a_timer_it_cancels_the_timer() {
    let dpm = Dpm::start(
        "local h = require('harness')
         local t = dpm.new_timer()
         t:schedule(0, 10, function() print('tick') error('tock') end)
         h.passthrough()",
        mariadb(),
    );
    dpm.line("tock");
    let_time_pass(Duration::from_millis(100));
    assert_eq!(dpm.count("tick"), 1);
    let mut wire = Wire::login(dpm.port(), PLAIN);
    assert_eq!(wire.rows("SELECT 1"), [["1"]]);
}

#[test]
fn out_of_a_nested_callback_it_does_not_propagate() {
    let dpm = Dpm::start(
        "local h = require('harness')
         h.passthrough({
           [dpm.MYC_SENT_CMD] = function(cmd, id, conn)
             if cmd:command() ~= dpm.COM_QUERY then return end
             local s = h.pairs[id][2]
             s:register(dpm.MYS_GOT_CMD, function() error('inner') end)
             local ok, problem = pcall(dpm.wire_packet, s, cmd)
             print('outer goes on', ok)
             return dpm.DPM_NOPROXY
           end,
         })",
        mariadb(),
    );
    let mut wire = Wire::login(dpm.port(), PLAIN);
    wire.command(3, b"SELECT 1");
    dpm.line("inner");
    dpm.line("outer goes on\ttrue");
    eventually("it was counted", || dpm.stat("callback_errors") == 1.0);
}

#[test]
fn values_that_are_no_strings_are_raised_too() {
    for value in [
        "nil",
        "{}",
        "42",
        "setmetatable({}, { __tostring = function() error('x') end })",
    ] {
        let dpm = Dpm::start(
            &format!(
                "require('harness').passthrough({{
                   [dpm.MYC_SENT_CMD] = function() error({value}) end }})"
            ),
            mariadb(),
        );
        let mut wire = Wire::login(dpm.port(), PLAIN);
        assert!(
            matches!(wire.query("SELECT 1"), Answer::Err(1105, ..)),
            "{value}"
        );
    }
}

#[test]
fn a_slow_callback_is_logged_with_its_state() {
    let dpm = Dpm::start(
        "require('harness').passthrough({
           [dpm.MYC_SENT_CMD] = function()
             local begun = dpm.monotonic()
             while dpm.monotonic() - begun < 150 do end
           end })",
        mariadb(),
    );
    let mut wire = Wire::login(dpm.port(), PLAIN);
    assert_eq!(wire.rows("SELECT 1"), [["1"]]);
    assert!(dpm.wrote("MYC_SENT_CMD"));
}

#[test]
fn yielding_across_the_proxy_is_an_error_that_says_so() {
    let dpm = Dpm::start(
        "require('harness').passthrough({
           [dpm.MYC_SENT_CMD] = function() coroutine.yield() end })",
        mariadb(),
    );
    let mut wire = Wire::login(dpm.port(), PLAIN);
    assert!(matches!(wire.query("SELECT 1"), Answer::Err(1105, ..)));
    dpm.line("yield");
}
