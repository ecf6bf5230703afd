//! What peers can make the proxy hold: each alone, and all together.

use std::time::{Duration, Instant};

use crate::support::dpm::Launch;
use crate::support::wire::{Answer, MockServer, Wire, caps, com, frames};
use crate::support::{Dpm, Stage, eventually, let_time_pass};

const PLAIN: u32 = caps::BASE | caps::MULTI;
const MB: usize = 1_000_000;

/// A service with little memory. `more` is Lua in front.
fn service(more: &str) -> Dpm {
    Launch::script(&format!(
        "dpm.config {{ max_buffered = 40e6 }}
         {more}
         local h = require 'harness'
         h.serve(function(c)
           c:register(dpm.MYC_SENT_CMD, function(cmd, id, conn)
             local ok = dpm.new_ok_pkt()
             ok:message(tostring(#cmd:argument()))
             dpm.wire_packet(conn, ok)
             return dpm.DPM_NOPROXY
           end)
           h.let_in(c)
         end)"
    ))
    .start()
}

/// The beginning of a query whose frame announces 15 MB.
fn part(len: usize) -> Vec<u8> {
    let mut bytes = (15 * MB as u32).to_le_bytes()[..3].to_vec();
    bytes.extend_from_slice(&[0, com::QUERY]);
    bytes.resize(len, b'x');
    bytes
}

#[track_caller]
fn assert_answers(wire: &mut Wire) {
    assert!(matches!(wire.query("x"), Answer::Ok(_)));
}

#[test]
fn the_largest_goes_and_never_the_newcomer() {
    let dpm = service("");
    let port = dpm.port();
    let mut large = Wire::login_empty(port, PLAIN);
    large.raw(&part(14 * MB));
    let mut small: Vec<Wire> = (0..12).map(|_| Wire::login_empty(port, PLAIN)).collect();
    for wire in &mut small {
        wire.raw(&part(2 * MB));
    }
    eventually("all has arrived", || dpm.stat("buffered") >= 38e6);
    assert_eq!(dpm.stat("closed_for_memory"), 0.0);
    let mut newcomer = Wire::login_empty(port, PLAIN);
    newcomer.raw(&part(5 * MB));
    assert!(large.closed());
    dpm.line("max_buffered");
    newcomer.raw(&part(15 * MB + 4)[5 * MB..]);
    newcomer.seq = 1;
    assert!(matches!(newcomer.answer(), Answer::Ok(_)));
    assert_eq!(dpm.stat("closed_for_memory"), 1.0);
    // The others have lost nothing.
    for wire in &mut small[..2] {
        wire.raw(&part(15 * MB + 4)[2 * MB..]);
        wire.seq = 1;
        assert!(matches!(wire.answer(), Answer::Ok(_)));
        assert_answers(wire);
    }
    drop(small);
    drop(newcomer);
    dpm.wait_until_idle();
    assert_eq!(dpm.stat("buffered"), 0.0);
}

#[test]
fn who_has_not_logged_in_goes_first() {
    let dpm = service("");
    let port = dpm.port();
    let mut user = Wire::login_empty(port, PLAIN);
    user.raw(&part(14 * MB));
    let mut strangers: Vec<Wire> = (0..30).map(|_| Wire::connect(port)).collect();
    let mut bytes = (MB as u32).to_le_bytes()[..3].to_vec();
    bytes.extend_from_slice(&[1, 5, 0xA2]);
    bytes.resize(MB, 0);
    for wire in &mut strangers {
        wire.read();
        // It may be closed meanwhile.
        let _ = wire.try_write_raw(&bytes);
    }
    eventually("some are closed", || dpm.stat("closed_for_memory") > 2.0);
    dpm.settle();
    assert!(dpm.stat("buffered") <= 40e6);
    user.raw(&part(15 * MB + 4)[14 * MB..]);
    user.seq = 1;
    assert!(matches!(user.answer(), Answer::Ok(_)));
    // Whoever has done nothing but say hello is not meant.
    assert_answers(&mut Wire::login_empty(port, PLAIN));
}

/// Queues count as well.
#[test]
fn answers_that_nobody_reads() {
    let mut stage = Stage::with("dpm.config { max_buffered = 20e6 } h.serve()", 1);
    let mut wires: Vec<Wire> = (0..6).map(|_| stage.client(PLAIN)).collect();
    stage.lua("for _, c in ipairs(clients) do c:register(dpm.MYC_SENT_CMD, function() return dpm.DPM_NOPROXY end) end");
    for (n, wire) in wires.iter_mut().enumerate() {
        wire.command(com::QUERY, b"x");
        stage.until(&format!("clients[{}]:state() == dpm.MYC_SENT_CMD", n + 1));
        stage.lua(&format!(
            "require('dpml').send_resultset(clients[{}], {{ fields = {{ 'c' }}, rows = {{ {{ ('x'):rep(8e6) }} }} }})",
            n + 1
        ));
    }
    stage.until("dpm.stats().closed_for_memory > 0");
    assert!(stage.dpm.stat("buffered") <= 20e6);
    stage.until("not clients[6]:close_reason()");
}

/// Real time, since there is no other: half a minute, and a few seconds more.
#[test]
fn a_packet_must_go_on() {
    let mock = MockServer::new();
    let dpm = Launch::script(
        "local h = require 'harness'
         h.passthrough()
         first = h.listener
         h.passthrough { [dpm.MYC_SENT_CMD] = function() end }",
    )
    .arg("127.0.0.1")
    .arg(mock.port)
    .start();
    eventually("both listen", || dpm.lines("port ").len() == 2);
    std::thread::scope(|scope| {
        for port in dpm.lines("port ") {
            let port: u16 = port.trim().parse().unwrap();
            for (each, closes) in [(20, true), (1000, false)] {
                let login = std::thread::spawn(move || Wire::login_empty(port, PLAIN));
                let mut server = mock.accept_login(PLAIN);
                let mut wire = login.join().unwrap();
                scope.spawn(move || {
                    wire.timeout(Duration::from_secs(60));
                    server.timeout(Duration::from_secs(60));
                    let bytes = frames(&[&[com::QUERY][..], &[b'x'; 200_000]].concat(), &mut 0);
                    let begun = Instant::now();
                    let mut at = 0;
                    while begun.elapsed() < Duration::from_secs(44) {
                        if wire.try_write_raw(&bytes[at..at + each]).is_err() {
                            break;
                        }
                        at += each;
                        let_time_pass(Duration::from_millis(400));
                    }
                    let took = begun.elapsed();
                    if closes {
                        assert!(wire.closed());
                        assert!(took > Duration::from_secs(29), "{took:?}");
                        assert!(took < Duration::from_secs(43), "{took:?}");
                    } else {
                        wire.raw(&bytes[at..]);
                        assert_eq!(server.read_command().1.len(), 200_000);
                        server.write(&crate::support::wire::ok());
                        wire.seq = 1;
                        assert!(matches!(wire.answer(), Answer::Ok(_)));
                    }
                });
            }
        }
    });
    assert!(dpm.wrote("too slowly"));
}
