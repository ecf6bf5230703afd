//! How many clients are accepted, and how the others are refused.

use std::io::Write;

use crate::support::dpm::Launch;
use crate::support::wire::{Wire, caps};
use crate::support::{Dpm, eventually, mariadb};

const PLAIN: u32 = caps::BASE | caps::MULTI;

/// ERR 1040 (08004), in the place of a greeting.
#[track_caller]
fn assert_refused(wire: &mut Wire) {
    let packet = wire.read();
    assert_eq!(&packet[..9], b"\xff\x10\x04#08004", "{packet:?}");
    assert!(wire.closed());
}

/// Whether a client is greeted, rather than refused.
fn is_greeted(wire: &mut Wire) -> bool {
    match wire.read().first() {
        Some(10) => true,
        Some(0xFF) => false,
        other => panic!("neither a greeting nor an ERR: {other:?}"),
    }
}

#[test]
fn beyond_the_limit_on_open_files_there_is_error_1040_and_nobody_else_notices() {
    // Of 80 a quarter is reserved; the listener has one, and each pair two.
    const PAIRS: usize = 29;
    let dpm = Launch::script("require('harness').passthrough()")
        .server(mariadb())
        .open_files(80)
        .start();
    let port = dpm.port();
    let mut inside: Vec<Wire> = (0..PAIRS).map(|_| Wire::login(port, PLAIN)).collect();
    for _ in 0..100 {
        assert_refused(&mut Wire::connect(port));
    }
    for wire in &mut inside {
        assert_eq!(wire.rows("SELECT 1"), [["1"]]);
    }
    assert_eq!(dpm.stat("clients_refused"), 100.0);
    assert!(!dpm.wrote("accepting is paused"));
    dpm.line("the limit on open files is reached");
    let told = |lines: &[String]| -> usize {
        lines
            .iter()
            .filter_map(|line| match line.split_once(" clients were refused") {
                Some((before, _)) => before.rsplit(' ').next()?.parse::<usize>().ok(),
                None => line.contains("a client was refused").then_some(1),
            })
            .sum()
    };
    let log = || {
        let log = String::from_utf8(dpm.output()).unwrap();
        log.lines().map(str::to_owned).collect::<Vec<_>>()
    };
    eventually("the log has told of all of them", || told(&log()) == 100);
    let lines = log().iter().filter(|l| l.contains("refused")).count();
    assert!(lines <= 10, "one line a second, not {lines} at once");

    drop(inside.pop());
    eventually("room again", || {
        dpm.stat("clients") < PAIRS as f64 && dpm.stat("servers") < PAIRS as f64
    });
    assert_eq!(Wire::login(port, PLAIN).rows("SELECT 2"), [["2"]]);
}

#[test]
fn the_limit_goes_for_all_listeners_together() {
    let script = "first = dpm.listener('127.0.0.1', 0) second = dpm.listener('127.0.0.1', 0)
        all = {}
        for _, l in ipairs { first, second } do
          l:register(dpm.MYC_CONNECT, function(c)
            all[#all + 1] = c
            dpm.wire_packet(c, dpm.new_handshake_pkt())
          end)
        end
        print('port ' .. first:socket_port()) print('other ' .. second:socket_port())";
    let dpm = Launch::script(script).open_files(40).start();
    let ports = [
        dpm.port(),
        dpm.line("other ")
            .split_once(' ')
            .unwrap()
            .1
            .parse()
            .unwrap(),
    ];
    let mut greeted = Vec::new();
    for n in 0..40 {
        let mut wire = Wire::connect(ports[n % 2]);
        if is_greeted(&mut wire) {
            greeted.push(wire);
        }
    }
    // Of 30 the listeners have two; no client is logged in, so each may still need a server.
    assert_eq!(greeted.len(), 14);
}

#[test]
fn the_soft_limit_is_raised_to_the_hard_one() {
    let dpm = Launch::script("print('ready') keep = dpm.listener('127.0.0.1', 0)")
        .open_files_between(40, 200)
        .start();
    dpm.line("ready");
    let limits = std::fs::read_to_string(format!("/proc/{}/limits", dpm.pid())).unwrap();
    let line = limits
        .lines()
        .find(|line| line.starts_with("Max open files"))
        .unwrap();
    let values: Vec<_> = line.split_whitespace().skip(3).take(2).collect();
    assert_eq!(values, ["200", "200"]);
}

#[test]
fn one_address_may_have_so_many_clients_and_no_more() {
    let dpm = Dpm::start(
        "require('harness').passthrough(nil, nil, { max_clients_per_address = 2 })",
        mariadb(),
    );
    let first = Wire::login(dpm.port(), PLAIN);
    let mut second = Wire::login(dpm.port(), PLAIN);
    assert_refused(&mut Wire::connect(dpm.port()));
    dpm.line("max_clients_per_address is reached");
    assert_eq!(second.rows("SELECT 2"), [["2"]]);
    drop(first);
    eventually("room again", || dpm.stat("clients") == 1.0);
    assert_eq!(Wire::login(dpm.port(), PLAIN).rows("SELECT 3"), [["3"]]);
}

#[test]
fn behind_a_balancer_the_address_is_that_of_its_client() {
    let dpm = Launch::script(
        "dpm.config { max_clients_per_address = 1 }
         require('harness').listen(function(c)
           c:register(dpm.MY_CLOSING, function() end)
           dpm.wire_packet(c, dpm.new_handshake_pkt())
           kept = kept or {}
           kept[#kept + 1] = c
         end, { proxy_protocol = { '127.0.0.1' } })",
    )
    .start();
    let from = |ip: &str| {
        let mut wire = Wire::connect(dpm.port());
        write!(wire.stream(), "PROXY TCP4 {ip} 10.0.0.9 1000 3306\r\n").unwrap();
        wire
    };
    let mut first = from("10.0.0.1");
    assert!(is_greeted(&mut first));
    assert_refused(&mut from("10.0.0.1"));
    assert!(is_greeted(&mut from("10.0.0.2")));
    drop(first);
    eventually("the first one's place is free", || {
        is_greeted(&mut from("10.0.0.1"))
    });
    dpm.wait_until_idle();
}
