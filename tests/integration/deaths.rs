//! One end dies, in every state: the other end is closed or usable, and nothing leaks.

use std::io::Write as _;
use std::time::Duration;

use crate::support::dpm::Launch;
use crate::support::wire::{
    Answer, Greeting, MockServer, Wire, caps, column, com, eof, err, frames, greeting, ok,
};
use crate::support::{Cli, Dpm, Flavour, PASSWORD, Server, USER, both, connect, eventually};
use mysql::prelude::Queryable;

const PLAIN: u32 = caps::BASE | caps::MULTI;

const STARTFILES: [&str; 2] = [
    "require('harness').passthrough()",
    "local h = require('harness') h.passthrough(h.trace(''))",
];

/// How far a server goes before it dies.
const STEPS: usize = 10;

/// Plays a server up to a step, then leaves. An orderly close or a reset.
fn serve(server: &MockServer, steps: usize) -> Wire {
    let mut wire = server.accept();
    let plan: [&dyn Fn(&mut Wire); STEPS - 1] = [
        &|wire| wire.write(&greeting(PLAIN)),
        &|wire| drop(wire.read()),
        &|wire| {
            wire.capabilities = PLAIN;
            wire.write(&ok());
        },
        &|wire| drop(wire.read_command()),
        &|wire| wire.write(&[1]),
        &|wire| wire.write(&column("c")),
        &|wire| wire.write(&eof(2)),
        &|wire| wire.write(b"\x03one"),
        &|wire| wire.raw(&[9, 0, 0, 5, 8, b'x']),
    ];
    for step in plan.into_iter().take(steps) {
        step(&mut wire);
    }
    wire
}

/// Ends the answer that a server has begun with the steps so far, if anybody still takes it.
fn end_answer(wire: &mut Wire, steps: usize) {
    let rest = match steps {
        2 => frames(&ok(), &mut wire.seq),
        4..9 => frames(&err(1317, "70100", "interrupted"), &mut wire.seq),
        9.. => {
            let mut rest = b"xxxxxxx".to_vec();
            rest.extend(frames(&err(1317, "70100", "interrupted"), &mut 6));
            rest
        }
        _ => Vec::new(),
    };
    let _ = wire.stream().write_all(&rest);
}

/// Plays a client as far as possible. Returns what it saw last.
fn client(port: u16) -> String {
    let mut wire = Wire::connect(port);
    let Ok(first) = wire.try_read() else {
        return "nothing".into();
    };
    if first[0] == 0xFF {
        return "an error".into();
    }
    wire.authenticate(&Greeting::parse(&first), USER, PASSWORD, PLAIN);
    let Ok(answer) = wire.try_read() else {
        return "a greeting".into();
    };
    if answer[0] != 0 {
        return "a refusal".into();
    }
    wire.command(com::QUERY, b"SELECT 1");
    match wire.try_read() {
        Err(_) => "a login".into(),
        Ok(answer) if answer[0] == 0xFF => {
            assert_eq!(u16::from_le_bytes([answer[1], answer[2]]), 1105);
            // HY000 (no server) if the command came after the server had gone.
            assert!(
                [b"#08S01", b"#HY000"]
                    .map(|state| &state[..])
                    .contains(&&answer[3..9])
            );
            "an error".into()
        }
        Ok(_) => {
            assert!(wire.closed());
            "some of an answer".into()
        }
    }
}

/// Makes the kernel send a reset instead of an orderly end.
fn reset(wire: &mut Wire) {
    let socket = socket2::SockRef::from(&*wire.stream());
    socket.set_linger(Some(Duration::ZERO)).unwrap();
}

#[test]
fn a_server_dies_in_every_state() {
    for startfile in STARTFILES {
        for hard in [false, true] {
            let server = MockServer::new();
            let dpm = Launch::script(startfile)
                .arg("127.0.0.1")
                .arg(server.port)
                .start();
            let port = dpm.port();
            for steps in 0..STEPS {
                let far = std::thread::spawn(move || client(port));
                let mut wire = serve(&server, steps);
                if hard {
                    dpm.settle();
                    reset(&mut wire);
                }
                drop(wire);
                let saw = far.join().unwrap();
                match steps {
                    // The server went before the command, or with it.
                    3 => assert_eq!(saw, "an error"),
                    4 => assert_eq!(saw, "an error", "none of the answer was sent"),
                    5.. => assert!(saw == "some of an answer" || hard, "{steps}: {saw}"),
                    _ => {}
                }
                dpm.wait_until_idle();
            }
            assert!(!dpm.wrote("panicked"));
        }
    }
}

#[test]
fn a_client_dies_in_every_state() {
    for startfile in STARTFILES {
        for hard in [false, true] {
            let server = MockServer::new();
            let dpm = Launch::script(startfile)
                .arg("127.0.0.1")
                .arg(server.port)
                .start();
            for steps in 0..STEPS {
                let mut wire = Wire::connect(dpm.port());
                let (to, ready) = std::sync::mpsc::channel::<()>();
                std::thread::scope(|scope| {
                    scope.spawn(|| {
                        let mut peer = serve(&server, steps);
                        let _ = to.send(());
                        if !hard {
                            // A client that has ended in order may still wait for its answer.
                            dpm.settle();
                            end_answer(&mut peer, steps);
                        }
                        assert!(peer.closed(), "step {steps}: the server is let go");
                    });
                    // The client takes part as far as the server does.
                    if steps >= 1 {
                        let hello = Greeting::parse(&wire.read());
                        if steps >= 2 {
                            wire.authenticate(&hello, USER, PASSWORD, PLAIN);
                        }
                    }
                    if steps >= 3 {
                        assert_eq!(wire.read()[0], 0);
                    }
                    if steps >= 4 {
                        wire.command(com::QUERY, b"SELECT 1");
                    }
                    ready.recv_timeout(Duration::from_secs(20)).unwrap();
                    if hard {
                        reset(&mut wire);
                    }
                    drop(wire);
                });
                dpm.wait_until_idle();
            }
            assert!(!dpm.wrote("panicked"));
        }
    }
}

#[test]
fn a_server_that_is_not_there() {
    for startfile in STARTFILES {
        let dpm = Launch::script(startfile)
            .arg("127.0.0.1")
            .arg(crate::support::process::free_port())
            .start();
        let mut wire = Wire::connect(dpm.port());
        assert!(wire.closed());
        dpm.wait_until_idle();
    }
}

/// A real server, killed while idle, in a query and in the middle of a large result.
fn a_real_server_is_killed(flavour: Flavour) {
    let server = Server::start_own(flavour, &[]);
    for startfile in STARTFILES {
        let dpm = Dpm::start(startfile, &server);
        let mut idle = connect(dpm.port());
        let mut busy = Cli::client(flavour, dpm.port())
            .args(["-e", "SELECT SLEEP(100)"])
            .start();
        let mut reading = Cli::client(flavour, dpm.port())
            .args(["--quick", "-e"])
            .arg(
                "SELECT REPEAT('x', 1000) FROM information_schema.collations a, \
                 information_schema.collations b, information_schema.collations c",
            )
            .start();
        // In the middle of a result: some of it has arrived, and the rest is not read.
        let mut some = [0; 10_000];
        std::io::Read::read_exact(reading.stdout.as_mut().unwrap(), &mut some).unwrap();
        eventually("three logins", || dpm.stat("servers") == 3.0);
        server.kill();
        assert!(idle.query_drop("SELECT 1").is_err());
        // The client may stay open, since its server died between two commands.
        drop(idle);
        for child in [&mut busy, &mut reading] {
            drop(child.stdout.take());
            let status = crate::support::process::wait(child, Duration::from_secs(20));
            assert!(status.is_some_and(|status| !status.success()));
        }
        dpm.wait_until_idle();
        server.restart(&[]);
        assert_eq!(Cli::query(flavour, dpm.port(), "SELECT 1"), "1\n");
    }
}

#[test]
fn a_real_mariadb_is_killed() {
    a_real_server_is_killed(Flavour::MariaDb);
}

#[test]
fn a_real_mysql_is_killed() {
    if crate::support::mysql().is_some() {
        a_real_server_is_killed(Flavour::MySql);
    }
}

both! {
    /// A client is killed in a query and in the middle of a result: its server connection is
    /// closed, too.
    fn a_real_client_is_killed(server) {
        let dpm = Dpm::passthrough(server);
        let marker = format!("killed_{:?}", server.flavour);
        for sql in ["SELECT SLEEP(100)", "SELECT REPEAT('x', 1000) FROM information_schema.collations a, \
            information_schema.collations b, information_schema.collations c"]
        {
            let mut client = Cli::client(server.flavour, dpm.port())
                .args(["--quick", "-e", &format!("{sql} /* {marker} */")])
                .arg("--comments")
                .start();
            eventually("it runs", || {
                server.sql("SHOW FULL PROCESSLIST").lines().any(|line| line.contains(&marker))
            });
            client.kill().unwrap();
            client.wait().unwrap();
            dpm.wait_until_idle();
        }
    }
}

both! {
    /// KILL of a connection by another: the victim learns of it, whether idle or busy.
    fn a_connection_is_killed_by_sql(server) {
        let dpm = Dpm::passthrough(server);
        let mut victim = connect(dpm.port());
        let id: u64 = victim.query_first("SELECT CONNECTION_ID()").unwrap().unwrap();
        server.sql(&format!("KILL {id}"));
        assert!(victim.query_drop("SELECT 1").is_err());
        drop(victim);
        let mut victim = connect(dpm.port());
        let id: u64 = victim.query_first("SELECT CONNECTION_ID()").unwrap().unwrap();
        let sql = format!("SELECT SLEEP(100), {id}");
        let asked = sql.clone();
        let busy = std::thread::spawn(move || victim.query_drop(asked));
        eventually("it runs", || server.running(&sql) == 1);
        server.sql(&format!("KILL {id}"));
        // MySQL's SLEEP says that it was interrupted before the connection goes.
        let _ = busy.join().unwrap();
        dpm.wait_until_idle();
    }
}

#[test]
fn a_client_between_commands_stays_when_its_server_dies() {
    let server = MockServer::new();
    let dpm = Launch::script(STARTFILES[0])
        .arg("127.0.0.1")
        .arg(server.port)
        .start();
    let port = dpm.port();
    let (to, gone) = std::sync::mpsc::channel::<()>();
    let far = std::thread::spawn(move || {
        let mut wire = Wire::login(port, PLAIN);
        assert_eq!(wire.query("first"), Answer::Ok(ok()));
        gone.recv_timeout(Duration::from_secs(20)).unwrap();
        // It has no server any more, and the script gives it none.
        assert!(matches!(wire.query("second"), Answer::Err(1105, ..)));
        assert!(wire.silent(Duration::from_millis(100)), "it is still open");
    });
    let mut peer = server.accept_login(PLAIN);
    peer.read_command();
    peer.write(&ok());
    drop(peer);
    eventually("the server is gone", || dpm.stat("servers") == 0.0);
    to.send(()).unwrap();
    far.join().unwrap();
    dpm.wait_until_idle();
}
