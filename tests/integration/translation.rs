//! Ends with different capabilities: a client gets what a server would have sent it directly.

use super::commands::{Record, same, talk};
use crate::support::exchange::{CURSOR_EXISTS, execute_argument};
use crate::support::wire::{MockServer, Wire, caps, column, com, eof, ok};
use crate::support::{Server, Stage, eventually, mariadb, mysql};

const PLAIN: u32 = caps::BASE | caps::MULTI;

/// What the client has negotiated, and what the server has not.
const CLIENTS: [u32; 4] = [
    PLAIN,
    PLAIN | caps::DEPRECATE_EOF,
    PLAIN | caps::SESSION_TRACK,
    PLAIN | caps::DEPRECATE_EOF | caps::SESSION_TRACK,
];
const SERVERS: [(&str, u32); 4] = [
    (
        "dpm.CLIENT_LOCAL_FILES, dpm.CLIENT_DEPRECATE_EOF, dpm.CLIENT_SESSION_TRACK",
        0,
    ),
    (
        "dpm.CLIENT_LOCAL_FILES, dpm.CLIENT_SESSION_TRACK",
        caps::DEPRECATE_EOF,
    ),
    (
        "dpm.CLIENT_LOCAL_FILES, dpm.CLIENT_DEPRECATE_EOF",
        caps::SESSION_TRACK,
    ),
    (
        "dpm.CLIENT_LOCAL_FILES",
        caps::DEPRECATE_EOF | caps::SESSION_TRACK,
    ),
];

/// Each client gets a server of its own, logged in without the capabilities `without`, with the
/// callbacks of the tables `c` and `s`.
fn pooled(without: &str, callbacks: &str) -> Stage {
    pooled_before(mariadb().port, without, callbacks)
}

fn pooled_before(port: u16, without: &str, callbacks: &str) -> Stage {
    Stage::with(
        &format!(
            "local c, s = {{}}, {{}}
             {callbacks}
             h.serve(function(client)
               h.server(function(server)
                 h.let_in(client)
                 h.register(client, c)
                 h.register(server, s)
                 dpm.proxy_connect(client, server)
               end, {{ {without} }})
             end)"
        ),
        port,
    )
}

/// Forgets the changes of the session's state, which a server that was not asked does not tell.
pub fn without_tracking(record: &mut Record) {
    for packet in record.iter_mut().flat_map(|(_, packets)| packets) {
        if !matches!(packet.first(), Some(0 | 0xFE)) || packet.len() < 7 {
            continue;
        }
        let (_, affected) = crate::support::wire::lenenc(&packet[1..]);
        let Some(insert_id) = packet.get(1 + affected..).filter(|rest| !rest.is_empty()) else {
            continue;
        };
        let status = 1 + affected + crate::support::wire::lenenc(insert_id).1;
        if packet.len() > status + 1 && packet[status + 1] & 0x40 != 0 {
            packet[status + 1] &= !0x40;
            packet.truncate(status + 4);
        }
    }
}

/// Forgets the status of EOFs in the middle of an answer: one that a server did not send is made up
/// before its status can be known.
pub fn without_made_up_status(record: &mut Record) {
    for (_, packets) in record.iter_mut() {
        let len = packets.len();
        for packet in packets.iter_mut().take(len.saturating_sub(1)) {
            if packet.first() == Some(&0xFE) && packet.len() == 5 {
                packet[1..].fill(0);
            }
        }
    }
}

fn compare(callbacks: &str, how: &str) {
    for server in [Some(mariadb()), mysql()].into_iter().flatten() {
        compare_before(server, callbacks, how);
    }
}

fn compare_before(real: &Server, callbacks: &str, how: &str) {
    for (without, has) in SERVERS {
        let stage = pooled_before(real.port, without, callbacks);
        for shape in CLIENTS {
            let base = real.database();
            let mut direct = talk(real, real.port, shape, &base);
            real.sql(&format!("DROP DATABASE {base}; CREATE DATABASE {base}"));
            let mut through = talk(real, stage.dpm.port(), shape, &base);
            if shape & caps::SESSION_TRACK != has & caps::SESSION_TRACK {
                without_tracking(&mut direct);
                without_tracking(&mut through);
            }
            if shape & caps::DEPRECATE_EOF == 0 && has & caps::DEPRECATE_EOF != 0 {
                without_made_up_status(&mut direct);
                without_made_up_status(&mut through);
            }
            let how = format!("{how}: a client with {shape:#x}, a server without {without}");
            same(&direct, &through, &how);
        }
        stage.dpm.assert_no_errors();
    }
}

#[test]
fn every_command_past_lua() {
    compare("", "past Lua");
}

#[test]
fn every_command_through_callbacks() {
    compare("c, s = h.trace('at ')", "through callbacks");
}

#[test]
fn every_command_with_one_callback() {
    for state in ["MYS_SENT_FIELDS", "MYS_SENDING_ROWS", "MYS_WAIT_CMD"] {
        compare(&format!("s[dpm.{state}] = function() end"), state);
    }
}

/// The states of one exchange, without the prefixes and the steps of the command itself.
#[track_caller]
fn states(stage: &Stage, wire: &mut Wire, command: u8, argument: &[u8]) -> String {
    let from = stage.dpm.lines("at ").len();
    wire.exchange(command, argument);
    settled(stage, from)
}

/// The states since then, once the exchange is over.
#[track_caller]
fn settled(stage: &Stage, from: usize) -> String {
    let mut lines = Vec::new();
    eventually("the end of the exchange", || {
        lines = stage.dpm.lines("at ").split_off(from);
        lines.last().is_some_and(|last| last == "MYC_WAITING")
    });
    lines.join(" ").replace("MYS_", "").replace("MYC_", "")
}

#[test]
fn the_states_are_the_same_whatever_the_ends_negotiated() {
    let base = mariadb().database();
    mariadb().sql(&format!("CREATE TABLE {base}.t (a INT, b INT)"));
    for (without, _) in SERVERS {
        let stage = pooled(without, "c, s = h.trace('at ')");
        for shape in CLIENTS {
            let mut wire = Wire::login_empty(stage.dpm.port(), shape);
            for (command, argument, expected) in [
                (
                    com::QUERY,
                    "SELECT 1",
                    "SENT_RSET SENDING_FIELDS SENT_FIELDS SENDING_ROWS WAIT_CMD",
                ),
                (
                    com::QUERY,
                    "SELECT 1 LIMIT 0",
                    "SENT_RSET SENDING_FIELDS SENT_FIELDS WAIT_CMD",
                ),
                (
                    com::STMT_PREPARE,
                    "SELECT ?, ?",
                    "STMT_PREPARED SENDING_PARAMS SENDING_PARAMS SENT_PARAMS \
                     SENDING_FIELDS SENDING_FIELDS SENT_FIELDS WAIT_CMD",
                ),
                (
                    com::STMT_PREPARE,
                    "SELECT 1",
                    "STMT_PREPARED SENDING_FIELDS SENT_FIELDS WAIT_CMD",
                ),
                (
                    com::STMT_PREPARE,
                    "SET @x = ?",
                    "STMT_PREPARED SENDING_PARAMS SENT_PARAMS WAIT_CMD",
                ),
                (com::STMT_PREPARE, "DO 0", "STMT_PREPARED WAIT_CMD"),
                (com::INIT_DB, &base, "WAIT_CMD"),
                (
                    com::FIELD_LIST,
                    "t\0",
                    "SENDING_FIELDS SENDING_FIELDS SENT_FIELDS WAIT_CMD",
                ),
                (com::SET_OPTION, "\0\0", "WAIT_CMD"),
                (com::STATISTICS, "", "SENDING_STATS WAIT_CMD"),
            ] {
                let got = states(&stage, &mut wire, command, argument.as_bytes());
                let whole = format!("SENT_CMD GOT_CMD {expected} WAITING");
                assert_eq!(got, whole, "{argument:?} for {shape:#x} without {without}");
            }
            // A cursor: its rows come by COM_STMT_FETCH.
            let from = stage.dpm.lines("at ").len();
            let number = wire.prepare("SELECT 1 UNION SELECT 2");
            settled(&stage, from);
            let got = states(
                &stage,
                &mut wire,
                com::STMT_EXECUTE,
                &execute_argument(number, 1, &[]),
            );
            assert_eq!(
                got,
                "SENT_CMD GOT_CMD SENT_RSET SENDING_FIELDS SENT_FIELDS WAIT_CMD WAITING"
            );
            let fetch = [number.to_le_bytes(), 5u32.to_le_bytes()].concat();
            let got = states(&stage, &mut wire, com::STMT_FETCH, &fetch);
            assert_eq!(
                got,
                "SENT_CMD GOT_CMD SENDING_ROWS SENDING_ROWS WAIT_CMD WAITING"
            );
        }
        stage.dpm.assert_no_errors();
    }
}

#[test]
fn the_synthesised_eof_is_an_eof_with_autocommit() {
    let mut stage = pooled(
        "dpm.CLIENT_LOCAL_FILES",
        "s[dpm.MYS_SENT_FIELDS] = function(eof) print('eof', eof:warning_count(), eof:server_status()) return dpm.DPM_NOPROXY end",
    );
    for shape in CLIENTS {
        let mut wire = stage.client(shape);
        assert_eq!(
            wire.rows("SELECT 5"),
            [["5"]],
            "its verdict changes nothing"
        );
    }
    assert_eq!(stage.dpm.count("eof\t0\t2"), 4);
}

/// The end of OUT parameters may leave out that an OK follows; the client is told all the same.
#[test]
fn the_end_of_out_parameters_says_that_more_follows() {
    const MORE: u16 = 8;
    const OUT: u16 = 4096;
    for shape in [PLAIN, PLAIN | caps::DEPRECATE_EOF] {
        for callbacks in ["", "h.trace_all = true"] {
            let mock = MockServer::new();
            let mut stage = Stage::before(mock.port);
            let mut wire = stage.client(shape | caps::LOCAL_FILES);
            stage.begin_server("");
            let mut server = mock.accept_login(PLAIN);
            stage.ready();
            stage.link(1, 1);
            if !callbacks.is_empty() {
                stage.trace("servers[1]", "MYS_");
            }
            wire.command(com::STMT_EXECUTE, &execute_argument(1, 0, &[]));
            server.read_command();
            server.write(&[1]);
            server.write(&column("o"));
            server.write(&eof(MORE | OUT | 2));
            server.write(b"\0\0\x015");
            server.write(&eof(2));
            server.write(&ok());
            let answer = wire.packets(com::STMT_EXECUTE);
            assert_eq!(answer.last().unwrap(), &ok());
            let end = &answer[answer.len() - 2];
            assert_eq!(end[0], 0xFE);
            assert_eq!(answer.len(), if shape == PLAIN { 6 } else { 5 });
        }
    }
}

#[test]
fn a_cursor_of_a_modern_server_is_announced_to_an_old_client() {
    let mock = MockServer::new();
    let mut stage = Stage::before(mock.port);
    let mut wire = stage.client(PLAIN | caps::LOCAL_FILES);
    stage.begin_server("");
    let mut server = mock.accept_login(PLAIN | caps::DEPRECATE_EOF);
    stage.ready();
    stage.link(1, 1);
    wire.command(com::STMT_EXECUTE, &execute_argument(1, 1, &[]));
    server.read_command();
    server.write(&[1]);
    server.write(&column("c"));
    server.write(&[0xFE, 0, 0, 2 | CURSOR_EXISTS as u8, 0, 0, 0]);
    let answer = wire.packets(com::STMT_EXECUTE);
    assert_eq!(answer.len(), 3, "no rows follow: one EOF is all");
    assert_eq!(answer[2], eof(2 | CURSOR_EXISTS));
    // A cursor without that flag would be rows.
    wire.command(com::STMT_EXECUTE, &execute_argument(1, 0, &[]));
    server.read_command();
    server.write(&[1]);
    server.write(&column("c"));
    server.write(b"\0\0\x011");
    server.write(&[0xFE, 0, 0, 2, 0, 0, 0]);
    let answer = wire.packets(com::STMT_EXECUTE);
    assert_eq!(answer.len(), 5);
    assert_eq!((&answer[2], &answer[4]), (&eof(2), &eof(2)));
}
