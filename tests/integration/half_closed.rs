//! Clients that close their sending side only: what they have sent is executed and answered, then
//! the connection ends.

use std::time::{Duration, Instant};

use crate::support::dpm::Launch;
use crate::support::wire::{
    Answer, Greeting, MockServer, Wire, auth_packet, caps, com, frames, ok,
};
use crate::support::{Dpm, Stage, both, eventually, let_time_pass, mariadb};

const PLAIN: u32 = caps::BASE | caps::MULTI | caps::LOCAL_FILES | caps::CONNECT_WITH_DB;
const MODERN: u32 = PLAIN | caps::DEPRECATE_EOF;

/// Passthroughs without and with callbacks.
const STARTFILES: [&str; 2] = [
    "require('harness').passthrough()",
    "local h = require('harness') h.passthrough(h.trace(''))",
];

fn query(sql: &str) -> Vec<u8> {
    frames(format!("\x03{sql}").as_bytes(), &mut 0)
}

/// The next answer of several.
#[track_caller]
fn answer(wire: &mut Wire) -> Answer {
    wire.seq = 1;
    wire.answer()
}

#[track_caller]
fn assert_value(answer: Answer, expected: &str) {
    match answer {
        Answer::Rows { rows, .. } => assert_eq!(rows, [[Some(expected.as_bytes().to_vec())]]),
        other => panic!("{other:?}"),
    }
}

both! {
    fn one_query_and_many(server) {
        for startfile in STARTFILES {
            let dpm = Dpm::start(startfile, server);
            for shape in [PLAIN, MODERN] {
                for sql in ["SELECT 7", "SELECT 7 + SLEEP(0.2)"] {
                    let mut wire = Wire::login_empty(dpm.port(), shape);
                    wire.raw(&query(sql));
                    wire.half_close();
                    assert_value(answer(&mut wire), "7");
                    assert!(wire.closed());
                }
                let mut wire = Wire::login_empty(dpm.port(), shape);
                let mut bytes: Vec<u8> = (0..50)
                    .flat_map(|n| query(&format!("SELECT {n} + SLEEP(0.001)")))
                    .collect();
                // Commands without an answer, in the middle and at the end.
                bytes.extend(frames(&[com::STMT_CLOSE, 9, 0, 0, 0], &mut 0));
                bytes.extend(query("SELECT nothing"));
                bytes.extend(frames(&[com::STMT_CLOSE, 9, 0, 0, 0], &mut 0));
                wire.raw(&bytes);
                wire.half_close();
                for n in 0..50 {
                    assert_value(answer(&mut wire), &n.to_string());
                }
                assert!(matches!(answer(&mut wire), Answer::Err(1054, ..)));
                assert!(wire.closed());
            }
            dpm.wait_until_idle();
            dpm.assert_no_errors();
        }
    }
}

both! {
    /// Whatever ends what the client sends, all whole commands before it are answered.
    fn other_ends(server) {
        for startfile in STARTFILES {
            let dpm = Dpm::start(startfile, server);
            let quit = frames(&[com::QUIT], &mut 0);
            let cut = query("SELECT 'this is cut short'")[..14].to_vec();
            let long = query(&format!("SELECT '{}'", "x".repeat(400_000)))[..300_000].to_vec();
            for end in [quit, cut, vec![9], long] {
                let mut wire = Wire::login_empty(dpm.port(), PLAIN);
                wire.raw(&query("SELECT 1 + SLEEP(0.1)"));
                wire.raw(&query("SELECT 2"));
                wire.raw(&end);
                wire.half_close();
                assert_value(answer(&mut wire), "1");
                assert_value(answer(&mut wire), "2");
                assert!(wire.closed());
            }
            dpm.wait_until_idle();
        }
    }
}

both! {
    fn a_login_with_a_command_behind_it(server) {
        for startfile in STARTFILES {
            let dpm = Dpm::start(startfile, server);
            let mut wire = Wire::connect(dpm.port());
            let greeting = Greeting::parse(&wire.read());
            let mut auth = auth_packet(&greeting.nonce, "empty", "", PLAIN);
            auth.extend_from_slice(greeting.plugin.as_bytes());
            auth.push(0);
            let mut bytes = frames(&auth, &mut 1);
            bytes.extend(query("SELECT 3"));
            wire.raw(&bytes);
            wire.half_close();
            wire.seq = 2;
            assert_eq!(wire.read()[0], 0);
            wire.capabilities = PLAIN;
            assert_value(answer(&mut wire), "3");
            assert!(wire.closed());
            dpm.wait_until_idle();
        }
    }
}

both! {
    fn a_file(server) {
        let base = server.database();
        server.sql(&format!("SET GLOBAL local_infile = 1; CREATE TABLE {base}.t (v VARCHAR(99))"));
        for startfile in STARTFILES {
            let dpm = Dpm::start(startfile, server);
            let mut wire = Wire::login_empty(dpm.port(), PLAIN);
            wire.command(
                com::QUERY,
                format!("LOAD DATA LOCAL INFILE 'x' INTO TABLE {base}.t").as_bytes(),
            );
            assert_eq!(wire.read()[0], 0xFB);
            wire.write(b"a\nb\n");
            wire.write(b"");
            wire.raw(&query(&format!("SELECT COUNT(*) FROM {base}.t")));
            wire.half_close();
            assert_eq!(wire.read()[0], 0);
            assert_value(answer(&mut wire), "2");
            assert!(wire.closed());

            // Without its end it is half a file, and the server must not take it for a whole one.
            let mut wire = Wire::login_empty(dpm.port(), PLAIN);
            wire.command(
                com::QUERY,
                format!("LOAD DATA LOCAL INFILE 'x' INTO TABLE {base}.t").as_bytes(),
            );
            assert_eq!(wire.read()[0], 0xFB);
            wire.write(b"c\n");
            wire.half_close();
            assert!(wire.closed());
            dpm.wait_until_idle();
            let count = format!("SELECT COUNT(*) FROM {base}.t");
            let mut wire = Wire::login_empty(dpm.port(), PLAIN);
            assert_value(wire.query(&count), "2");
            wire.query(&format!("TRUNCATE {base}.t"));
        }
    }
}

#[test]
fn a_slow_reader_gets_all_of_a_large_answer() {
    for startfile in STARTFILES {
        let dpm = Dpm::start(startfile, mariadb());
        let mut wire = Wire::login_empty(dpm.port(), PLAIN);
        wire.raw(&query("SELECT REPEAT('x', 10000000)"));
        wire.half_close();
        dpm.settle();
        // Longer than a closing connection gets for its queue.
        let_time_pass(Duration::from_secs(6));
        assert_value(answer(&mut wire), &"x".repeat(10_000_000));
        assert!(wire.closed());
        dpm.wait_until_idle();
    }
}

#[test]
fn services_and_proxied_clients() {
    let dpm = Launch::script(
        "local dpml, h = require 'dpml', require 'harness'
         local users = { empty = { password = '' } }
         dpml.accept_clients(h.listen(function() end), { users = users,
           new_command = function(cmd)
             dpml.sleep(100)
             return { fields = { 'v' }, rows = { { cmd:argument() } } }
           end })
         dpml.proxy_new_clients(h.listen(function() end), {}, { users = users,
           backend = { host = arg[1], port = tonumber(arg[2]), user = 'empty', password = '' } })",
    )
    .server(mariadb())
    .start();
    dpm.port();
    eventually("both listen", || dpm.lines("port ").len() == 2);
    for port in dpm.lines("port ") {
        let mut wire = Wire::login_empty(port.trim().parse().unwrap(), PLAIN);
        for n in 0..3 {
            wire.raw(&query(&format!("SELECT {n}")));
        }
        wire.half_close();
        for _ in 0..3 {
            assert!(matches!(answer(&mut wire), Answer::Rows { .. }));
        }
        assert!(wire.closed());
    }
    dpm.wait_until_idle();
    dpm.assert_no_errors();
}

#[test]
fn who_waits_for_nothing_is_closed_at_once() {
    for startfile in STARTFILES {
        let mock = MockServer::new();
        let dpm = Launch::script(startfile)
            .arg("127.0.0.1")
            .arg(mock.port)
            .start();
        for commands in [vec![], frames(&[com::STMT_CLOSE, 9, 0, 0, 0], &mut 0)] {
            let port = dpm.port();
            let client = std::thread::spawn(move || Wire::login_empty(port, PLAIN));
            let mut server = mock.accept_login(PLAIN);
            let mut wire = client.join().unwrap();
            wire.raw(&commands);
            wire.half_close();
            assert!(wire.closed() && server.closed());
        }
        dpm.wait_until_idle();
    }
}

/// A client that is gone altogether does not look different at first. The first bytes that are sent
/// to it tell.
#[test]
fn who_is_gone_is_let_go_when_that_shows() {
    for startfile in STARTFILES {
        let mock = MockServer::new();
        let dpm = Launch::script(startfile)
            .arg("127.0.0.1")
            .arg(mock.port)
            .start();
        for reset in [false, true] {
            let port = dpm.port();
            let client = std::thread::spawn(move || Wire::login_empty(port, PLAIN));
            let mut server = mock.accept_login(PLAIN);
            let mut wire = client.join().unwrap();
            wire.raw(&query("SELECT 1"));
            assert_eq!(server.read_command().0, com::QUERY);
            if reset {
                socket2::SockRef::from(&*wire.stream())
                    .set_linger(Some(Duration::ZERO))
                    .unwrap();
                drop(wire);
            } else {
                drop(wire);
                dpm.settle();
                assert_eq!(dpm.stat("clients"), 1.0, "it may wait");
                server.write(&[1]);
                let begun = Instant::now();
                let column = crate::support::wire::column("c");
                while server.try_write(&column).is_ok() && begun.elapsed() < Duration::from_secs(9)
                {
                    let_time_pass(Duration::from_millis(5));
                }
            }
            assert!(server.closed());
            dpm.wait_until_idle();
        }
    }
}

/// The server is gone: its half-closed client hears of it like any other.
#[test]
fn the_server_dies_first() {
    for startfile in STARTFILES {
        let mock = MockServer::new();
        let dpm = Launch::script(startfile)
            .arg("127.0.0.1")
            .arg(mock.port)
            .start();
        let port = dpm.port();
        let client = std::thread::spawn(move || Wire::login_empty(port, PLAIN));
        let mut server = mock.accept_login(PLAIN);
        let mut wire = client.join().unwrap();
        wire.raw(&query("SELECT 1"));
        wire.half_close();
        assert_eq!(server.read_command().0, com::QUERY);
        dpm.settle();
        drop(server);
        assert!(matches!(answer(&mut wire), Answer::Err(1105, ..)));
        assert!(wire.closed());
        dpm.wait_until_idle();
    }
}

/// A server of a pool stays, and its answer is not another client's.
#[test]
fn a_servers_link_to_a_half_closed_client_ends_with_its_answer() {
    let mock = MockServer::new();
    let mut stage = Stage::before(mock.port);
    let mut wire = stage.client(PLAIN);
    stage.begin_server("");
    let mut server = mock.accept_login(PLAIN);
    stage.ready();
    stage.link(1, 1);
    wire.raw(&query("SELECT 1"));
    wire.half_close();
    assert_eq!(server.read_command().0, com::QUERY);
    stage.dpm.settle();
    server.send_rows(&["c"], &[&[Some(b"1")]]);
    assert_value(answer(&mut wire), "1");
    assert!(wire.closed());
    let mut wire = stage.client(PLAIN);
    stage.link(2, 1);
    wire.raw(&query("SELECT 2"));
    wire.half_close();
    assert_eq!(server.read_command().0, com::QUERY);
    server.write(&ok());
    assert!(matches!(answer(&mut wire), Answer::Ok(_)));
    assert!(wire.closed());
}
