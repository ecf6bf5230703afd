//! Re-entrancy: callbacks that close, unlink and wire in the middle of exchanges, and peers that
//! leave or flood there.

use std::time::Duration;

use crate::support::dpm::Launch;
use crate::support::wire::{Answer, Greeting, MockServer, Wire, caps, com, frames, ok};
use crate::support::{PASSWORD, Stage, USER, eventually, mariadb};

const PLAIN: u32 = caps::BASE | caps::MULTI | caps::LOCAL_FILES;
const MODERN: u32 = PLAIN | caps::DEPRECATE_EOF;

/// Plays a client as far as possible: a login, three answers, the end.
fn visit(port: u16, shape: u32) -> Option<()> {
    let mut wire = Wire::connect(port);
    // Some of this leaves a client without an answer.
    wire.timeout(Duration::from_millis(500));
    wire.lenient = true;
    let first = wire.try_read().ok()?;
    if first[0] != 10 {
        return None;
    }
    wire.authenticate(&Greeting::parse(&first), USER, PASSWORD, shape);
    if wire.try_read().ok()?[0] != 0 {
        return None;
    }
    for sql in [
        "SELECT 1 UNION SELECT 2",
        "SELECT nothing",
        "SELECT 3; SELECT 4",
    ] {
        wire.seq = 0;
        wire.try_write(format!("\x03{sql}").as_bytes()).ok()?;
        // Behind the columns and behind the rows, or behind the rows alone.
        let ends_of_one = if shape == PLAIN { 2 } else { 1 };
        let mut ends = ends_of_one * sql.split(';').count();
        while ends > 0 {
            match *wire.try_read().ok()? {
                [0xFF, ..] => break,
                [0xFE, ref rest @ ..] if rest.len() < 8 => ends -= 1,
                _ => {}
            }
        }
    }
    Some(())
}

/// A passthrough in which one state of every connection runs `what` with `c` and `s`, and says so.
fn mischievous(state: &str, what: &str) -> Launch {
    let ends = match state {
        _ if state.starts_with("MYC_") => "client",
        _ if state.starts_with("MYS_") => "server",
        _ => "client, server",
    };
    Launch::script(&format!(
        "local h = require('harness')
         h.listen(function(client)
           local server = dpm.connect(arg[1], tonumber(arg[2]))
           -- Callbacks that held their own connections would keep them for ever.
           local both = setmetatable({{ client, server }}, {{ __mode = 'v' }})
           for _, one in ipairs {{ {ends} }} do
             one:register(dpm.{state}, function(...)
               local conn = select(select('#', ...), ...)
               local c, s = unpack(both, 1, 2)
               print('acted') {what}
             end)
           end
           dpm.proxy_connect(client, server)
         end)"
    ))
}

const STATES: [&str; 15] = [
    "MYC_WAIT_AUTH",
    "MYC_WAITING",
    "MYC_SENT_CMD",
    "MYS_CONNECT",
    "MYS_WAIT_AUTH",
    "MYS_SENDING_OK",
    "MYS_WAIT_CMD",
    "MYS_RECV_ERR",
    "MYS_GOT_CMD",
    "MYS_SENT_RSET",
    "MYS_SENDING_FIELDS",
    "MYS_SENT_FIELDS",
    "MYS_SENDING_ROWS",
    "MYS_SENDING_EOF",
    "MY_CLOSING",
];

#[track_caller]
fn survives(what: &str) {
    std::thread::scope(|scope| {
        for half in STATES.chunks(8) {
            scope.spawn(move || {
                for state in half {
                    let dpm = mischievous(state, what).server(mariadb()).start();
                    for shape in [PLAIN, MODERN] {
                        let before = dpm.count("acted");
                        visit(dpm.port(), shape);
                        dpm.wait_until_idle();
                        assert!(dpm.count("acted") > before, "{state}, {shape:#x}: {what}");
                    }
                    assert!(!dpm.wrote("panicked"), "{state}: {what}");
                    let errors = dpm.stats();
                    assert_eq!(errors["protocol_errors"], 0.0, "{state}: {what}");
                }
            });
        }
    });
}

#[test]
fn closing_the_client_in_every_state() {
    survives("dpm.close(c)");
}

#[test]
fn closing_the_server_in_every_state() {
    survives("dpm.close(s) return dpm.DPM_NOPROXY");
}

#[test]
fn closing_both_in_every_state() {
    survives("dpm.close(s) dpm.close(c) return dpm.DPM_FLUSH_DISCONNECT");
}

#[test]
fn unlinking_in_every_state() {
    survives(
        "dpm.proxy_disconnect(c) pcall(dpm.wire_packet, c, dpm.new_err_pkt()) dpm.close(c) dpm.close(s)",
    );
}

#[test]
fn relinking_at_once_in_every_state() {
    survives("dpm.proxy_disconnect(s) pcall(dpm.proxy_connect, c, s)");
}

#[test]
fn collecting_in_every_state() {
    survives("c, s = nil, nil collectgarbage() collectgarbage()");
}

#[test]
fn unregistering_itself_in_every_state() {
    for state in STATES {
        let dpm = mischievous(state, &format!("conn:register(dpm.{state}, nil)"))
            .server(mariadb())
            .start();
        for shape in [PLAIN, MODERN] {
            let before = dpm.count("acted");
            assert!(visit(dpm.port(), shape).is_some(), "{state}");
            dpm.wait_until_idle();
            assert!(dpm.count("acted") > before, "{state}, {shape:#x}");
        }
        dpm.assert_no_errors();
    }
}

fn pair(shape: u32) -> (Stage, Wire, Wire) {
    let mock = MockServer::new();
    let mut stage = Stage::before(mock.port);
    let wire = stage.client(shape);
    stage.begin_server("");
    let server = mock.accept_login(shape);
    stage.ready();
    stage.link(1, 1);
    (stage, wire, server)
}

#[test]
fn a_client_that_dies_inside_a_command_takes_the_server_with_it() {
    let (mut stage, mut wire, mut server) = pair(PLAIN);
    wire.raw(&[0x40, 0x42, 0x0F, 0, com::QUERY, b'S', b'E']);
    wire.raw(&[b' '; 300_000]);
    assert_eq!(server.exact(7)[4..], *b"\x03SE");
    drop(wire);
    assert!(
        server.closed(),
        "half a command must not be taken for a whole one"
    );
    stage.until("dpm.stats().servers == 0");
}

#[test]
fn a_command_wired_while_another_streams_waits_behind_it() {
    let (mut stage, mut wire, mut server) = pair(PLAIN);
    let long = frames(&[&b"\x03"[..], &vec![b'x'; 400_000]].concat(), &mut 0);
    wire.raw(&long[..200_000]);
    server.exact(100_000);
    stage.lua(
        "local cmd = dpm.new_cmd_pkt() cmd:command(dpm.COM_PING) dpm.wire_packet(servers[1], cmd)",
    );
    assert_eq!(server.exact(100_000), long[100_000..200_000]);
    assert!(server.silent(Duration::from_millis(30)), "it waits");
    wire.raw(&long[200_000..]);
    assert_eq!(server.exact(200_004 + 1), long[200_000..]);
    assert_eq!(server.read_command().0, com::PING);
    // The answers come in that order, and the second is dropped.
    for _ in 0..2 {
        server.seq = 1;
        server.write(&ok());
    }
    wire.seq = 1;
    assert_eq!(wire.read(), ok());
    assert!(wire.silent(Duration::from_millis(30)));
}

#[test]
fn what_is_wired_to_a_client_waits_behind_a_row_that_streams() {
    let (mut stage, mut wire, mut server) = pair(PLAIN);
    wire.command(com::QUERY, b"SELECT");
    server.read_command();
    server.write(&[1]);
    server.write(&crate::support::wire::column("c"));
    server.write(&crate::support::wire::eof(2));
    let row = crate::support::wire::pack_row(&[Some(&vec![b'r'; 400_000])]);
    let framed = frames(&row, &mut server.seq);
    server.raw(&framed[..200_000]);
    for _ in 0..3 {
        wire.read();
    }
    wire.exact(100_000);
    stage.lua(
        "local rset, field, row = dpm.new_rset_pkt(), dpm.new_field_pkt(), dpm.new_row_pkt()
         rset:add_field(field) rset:pack_row(row, { 'wired' })
         dpm.wire_packet(clients[1], row)",
    );
    server.raw(&framed[200_000..]);
    server.write(&crate::support::wire::eof(2));
    assert_eq!(wire.exact(framed.len() - 100_000), framed[100_000..]);
    wire.seq += 1;
    assert_eq!(wire.read(), b"\x05wired");
    assert_eq!(wire.read()[0], 0xFE);
    stage.dpm.assert_no_errors();
}

#[test]
fn five_thousand_commands_in_one_go() {
    for traced in [false, true] {
        let mut stage = Stage::before(mariadb().port);
        let mut wire = stage.client(PLAIN);
        stage.server();
        stage.link(1, 1);
        if traced {
            stage.lua("clients[1]:register(dpm.MYC_SENT_CMD, function() end)");
        }
        let ping = frames(&[com::PING], &mut 0).repeat(5000);
        wire.raw(&ping);
        for n in 0..5000 {
            wire.seq = 1;
            assert_eq!(wire.read()[0], 0, "{n}");
        }
        assert_eq!(wire.rows("SELECT 1"), [["1"]]);
    }
}

#[test]
fn a_callback_armed_while_commands_are_in_flight_sees_what_comes_then() {
    let (mut stage, mut wire, mut server) = pair(PLAIN);
    wire.raw(&frames(b"\x03one", &mut 0).repeat(3));
    for _ in 0..3 {
        server.read_command();
    }
    stage.trace("servers[1]", "MYS_WAIT_CMD");
    stage.trace("clients[1]", "MYC_");
    for _ in 0..3 {
        server.seq = 1;
        server.write(&ok());
        wire.seq = 1;
        assert_eq!(wire.read(), ok());
    }
    eventually("three ends", || {
        stage.dpm.count("clients[1] MYC_WAITING") == 3
    });
    assert_eq!(stage.dpm.count("servers[1] MYS_WAIT_CMD"), 3);
    wire.command(com::PING, b"");
    server.read_command();
    stage.dpm.line("clients[1] MYC_SENT_CMD");
    server.write(&ok());
    assert_eq!(wire.read(), ok());
}

#[test]
fn load_data_local_between_unequal_ends_and_by_the_script() {
    let base = mariadb().database();
    mariadb().sql(&format!("CREATE TABLE {base}.t (a INT, b VARCHAR(20))"));
    for (without, shape) in [
        ("", PLAIN),
        ("dpm.CLIENT_DEPRECATE_EOF", MODERN),
        ("", MODERN | caps::SESSION_TRACK),
    ] {
        for traced in [false, true] {
            let mut stage = Stage::before(mariadb().port);
            let mut wire = stage.client(shape);
            stage.server_without(without);
            stage.link(1, 1);
            if traced {
                stage.trace("servers[1]", "MYS_");
                stage.trace("clients[1]", "MYC_");
            }
            for tail in ["", "; SELECT COUNT(*) FROM t"] {
                wire.command(com::INIT_DB, base.as_bytes());
                wire.read();
                wire.query("DELETE FROM t");
                wire.command(
                    com::QUERY,
                    format!("LOAD DATA LOCAL INFILE 'x' INTO TABLE t{tail}").as_bytes(),
                );
                assert_eq!(wire.read(), b"\xfbx");
                wire.write(b"1\tone\n2\t");
                wire.write(b"two\n");
                wire.write(b"");
                let end = wire.read();
                assert_eq!((end[0], end[1]), (0, 2), "two rows");
                if !tail.is_empty() {
                    match wire.answer() {
                        Answer::Rows { rows, .. } => assert_eq!(rows, [[Some(b"2".to_vec())]]),
                        other => panic!("{other:?}"),
                    }
                }
            }
            if traced {
                assert_eq!(stage.dpm.count("clients[1] MYC_SENDING_DATA"), 4);
                assert_eq!(stage.dpm.count("clients[1] MYC_SENT_DATA"), 2);
                assert_eq!(stage.dpm.count("servers[1] MYS_SENT_INFILE"), 2);
            }
            stage.dpm.assert_no_errors();
        }
    }
    // The script answers the request in the client's place.
    let mut stage = Stage::before(mariadb().port);
    let mut wire = stage.client(PLAIN);
    stage.server();
    stage.link(1, 1);
    stage.lua(
        "servers[1]:register(dpm.MYS_SENT_INFILE, function(infile, id, conn)
           print('file', infile:filename())
           local data = dpm.new_data_pkt()
           data:data('7\\tseven\\n')
           dpm.wire_packet(conn, data)
           data:data('')
           dpm.wire_packet(conn, data)
           return dpm.DPM_NOPROXY
         end)",
    );
    match wire.query(&format!("LOAD DATA LOCAL INFILE 'y' INTO TABLE {base}.t")) {
        Answer::Ok(packet) => assert_eq!(packet[1], 1),
        other => panic!("{other:?}"),
    }
    stage.dpm.line("file\ty");
}

#[test]
fn a_client_that_dies_while_its_file_is_wanted_takes_the_server_with_it() {
    for some in [false, true] {
        let (mut stage, mut wire, mut server) = pair(PLAIN);
        wire.command(com::QUERY, b"LOAD");
        server.read_command();
        server.write(b"\xfbfile");
        wire.read();
        if some {
            wire.write(b"half a f");
            assert_eq!(server.read(), b"half a f");
        }
        drop(wire);
        assert!(server.closed(), "it never gets the empty packet");
        stage.until("dpm.stats().servers == 0");
    }
}

#[test]
fn a_client_that_stops_reading_and_dies_leaves_the_server_free() {
    for traced in [false, true] {
        let mut stage = Stage::before(mariadb().port);
        let mut wire = stage.client(PLAIN);
        stage.server();
        stage.link(1, 1);
        if traced {
            stage.lua("servers[1]:register(dpm.MYS_SENDING_ROWS, function() end)");
        }
        wire.command(
            com::QUERY,
            b"SELECT REPEAT('x', 1000) FROM information_schema.collations a, \
              information_schema.collations b LIMIT 30000",
        );
        wire.wait_for_data();
        stage.dpm.settle();
        drop(wire);
        stage.until("clients[1]:close_reason() ~= nil");
        // The rest is drained.
        stage.until("servers[1]:state() == dpm.MYS_WAIT_CMD");
        let mut other = stage.client(PLAIN);
        stage.link(2, 1);
        assert_eq!(other.rows("SELECT 1"), [["1"]]);
    }
}
