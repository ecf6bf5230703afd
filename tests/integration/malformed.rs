//! Malformed commands are answered as servers answer them, wherever a server would go on.

use crate::support::dpm::Launch;
use crate::support::wire::{Answer, Wire, caps, com, frames};
use crate::support::{Dpm, Server, both, mariadb, mariadb11};

const PLAIN: u32 = caps::BASE | caps::MULTI | caps::CONNECT_WITH_DB;

/// Passthroughs without and with callbacks.
const STARTFILES: [&str; 2] = [
    "require('harness').passthrough()",
    "local h = require('harness') h.passthrough(h.trace(''))",
];

/// Sends a command, and returns all packets that come until the answer of another one: their numbers
/// and payloads. The last one is "closed" if the connection ended.
fn said(port: u16, command: &[u8]) -> Vec<String> {
    let mut wire = Wire::login_empty(port, PLAIN);
    let mut said = Vec::new();
    wire.lenient = true;
    wire.timeout(std::time::Duration::from_secs(9));
    wire.raw(&frames(command, &mut 0));
    if command.first() == Some(&com::CHANGE_USER) {
        let Ok(mut answer) = wire.try_read() else {
            return vec!["closed".to_owned()];
        };
        if answer[0] == 0xFE {
            said.push(format!("{} a switch", wire.seq));
            wire.write(b"");
            let Ok(second) = wire.try_read() else {
                return vec!["a switch".to_owned(), "closed".to_owned()];
            };
            answer = second;
        }
        said.push(format!("{} {}", wire.seq, answer.escape_ascii()));
    }
    // The server may have closed already.
    let _ = wire.try_write_raw(&frames(b"\x03SELECT 'the end'", &mut 0));
    loop {
        let Ok(payload) = wire.try_read() else {
            said.push("closed".to_owned());
            return said;
        };
        if payload == b"\x07the end" {
            // Without the definitions of that answer.
            said.truncate(said.len() - 3);
            return said;
        }
        said.push(format!("{} {}", wire.seq, payload.escape_ascii()));
    }
}

fn commands() -> Vec<Vec<u8>> {
    let mut all: Vec<Vec<u8>> = Vec::new();
    let mut add = |com: u8, argument: &[u8]| all.push([&[com], argument].concat());
    for argument in [
        &b""[..],
        b"empty",
        b"empty\0",
        b"empty\0\x14abc",
        b"empty\0\0",
        b"empty\0\0test",
        b"empty\0\0test\0",
        b"empty\0\0test\0\x2d",
        b"empty\0\0test\0\x2d\0",
        b"empty\0\0test\0\x2d\0mysql_native_password",
        b"empty\0\0test\0\x2d\0mysql_native_password\0",
        b"empty\0\0test\0\x2d\0mysql_native_password\0stray",
        b"empty\0\0test\0\x2d\0mysql_native_password\0\xff\xff\xff",
        b"empty\0\0test\0\x2d\0mysql_native_password\0\x20stray",
    ] {
        add(com::CHANGE_USER, argument);
    }
    for len in [0, 1, 3, 4, 5, 6, 7, 12] {
        for com in [
            com::STMT_CLOSE,
            com::STMT_SEND_LONG_DATA,
            com::STMT_EXECUTE,
            com::STMT_RESET,
            com::STMT_FETCH,
            com::SET_OPTION,
            com::PROCESS_KILL,
            com::STMT_BULK_EXECUTE,
            com::PING,
        ] {
            add(com, &vec![9; len][..]);
        }
    }
    for com in [
        com::INIT_DB,
        com::QUERY,
        com::STMT_PREPARE,
        com::CREATE_DB,
        com::DROP_DB,
        com::FIELD_LIST,
        com::RESET_CONNECTION,
    ] {
        add(com, b"");
    }
    for com in [0x00, 0x0B, 0x0F, 0x10, 0x1D] {
        add(com, b"");
    }
    all
}

fn compare(server: &Server) {
    let proxies = STARTFILES.map(|startfile| Dpm::start(startfile, server));
    let unknown = "2 \\xff\\x17\\x04#08S01Unknown command".to_owned();
    for command in commands().into_iter().chain([Vec::new()]) {
        let mut expected = said(server.port, &command);
        let changes_user = command.first() == Some(&com::CHANGE_USER);
        if changes_user {
            // MySQL ends the connection after its error, and MariaDB does not.
            expected.truncate(1);
        }
        if changes_user && [1, 14].contains(&command.len()) {
            // MariaDB sends another greeting, or takes half a number for a whole one.
            expected[0].clone_from(&unknown);
        }
        for dpm in &proxies {
            let mut got = said(dpm.port(), &command);
            got.truncate(if changes_user { 1 } else { usize::MAX });
            let family = server.flavour;
            assert_eq!(got, expected, "{family:?}: {}", command.escape_ascii());
        }
    }
    for dpm in &proxies {
        dpm.wait_until_idle();
        dpm.assert_no_errors();
    }
}

both! {
    fn as_servers_do(server) {
        compare(server);
    }
}

#[test]
fn as_newer_servers_do() {
    if let Some(server) = mariadb11() {
        compare(server);
    }
}

/// The errors come in their order, and the connection goes on.
#[test]
fn in_the_middle_of_others() {
    for startfile in STARTFILES {
        let dpm = Dpm::start(startfile, mariadb());
        let mut wire = Wire::login_empty(dpm.port(), PLAIN);
        let mut bytes = Vec::new();
        for flawed in [&b""[..], b"\x11empty"] {
            bytes.extend(frames(b"\x03SELECT 1 + SLEEP(0.1)", &mut 0));
            bytes.extend(frames(flawed, &mut 0));
        }
        bytes.extend(frames(b"\x03SELECT 1", &mut 0));
        wire.raw(&bytes);
        for _ in 0..2 {
            wire.seq = 1;
            assert!(matches!(wire.answer(), Answer::Rows { .. }));
            wire.seq = 1;
            assert!(matches!(wire.answer(), Answer::Err(1047, ..)));
        }
        wire.seq = 1;
        assert!(matches!(wire.answer(), Answer::Rows { .. }));
        assert_eq!(wire.rows("SELECT 2"), [["2"]]);
    }
}

/// A service says nothing where there is no answer.
#[test]
fn at_a_service() {
    let dpm = Launch::script(
        "require('dpml').accept_clients(require('harness').listen(function() end), {
           users = { empty = { password = '' } },
           new_command = function(cmd) return { message = cmd:argument() } end })",
    )
    .start();
    let mut wire = Wire::login_empty(dpm.port(), PLAIN);
    for (flawed, number) in [
        (&b""[..], 1047),
        (b"\x11", 1047),
        (b"\x11empty\0\x14abc", 1047),
        (b"\x80", 1047),
    ] {
        wire.raw(&frames(flawed, &mut 0));
        wire.seq = 1;
        match wire.answer() {
            Answer::Err(got, ..) => assert_eq!(got, number, "{}", flawed.escape_ascii()),
            other => panic!("{other:?}"),
        }
        assert!(matches!(wire.query("still there"), Answer::Ok(_)));
    }
    for cut_short in [&b"\x19\x01\0"[..], b"\x18"] {
        wire.raw(&frames(cut_short, &mut 0));
        assert!(matches!(wire.query("still there"), Answer::Ok(_)));
    }
    dpm.assert_no_errors();
}
