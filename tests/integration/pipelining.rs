//! Commands that are sent before earlier ones are answered.

use std::time::Duration;

use crate::support::wire::{
    Answer, Greeting, MockServer, Wire, auth_packet, caps, com, err, frames, ok,
};
use crate::support::{PASSWORD, Stage, USER, mariadb};

const PLAIN: u32 = caps::BASE | caps::MULTI | caps::LOCAL_FILES;
const MODERN: u32 = PLAIN | caps::DEPRECATE_EOF;

/// Queries as one string of bytes.
fn queries(all: &[&str]) -> Vec<u8> {
    let packet = |sql: &&str| frames(format!("\x03{sql}").as_bytes(), &mut 0);
    all.iter().flat_map(packet).collect()
}

/// The client is gone: it does not just send nothing more.
fn reset(mut wire: Wire) {
    let socket = socket2::SockRef::from(&*wire.stream());
    socket.set_linger(Some(Duration::ZERO)).unwrap();
}

/// The next answer of several.
fn answer(wire: &mut Wire) -> Answer {
    wire.seq = 1;
    wire.answer()
}

/// A client, linked to a mock server that the script has logged in.
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
fn errors_and_several_results_in_one_segment() {
    for traced in [false, true] {
        for shape in [PLAIN, MODERN] {
            let mut stage = Stage::before(mariadb().port);
            let mut wire = stage.client(shape);
            stage.server_without(if shape == PLAIN {
                ""
            } else {
                "dpm.CLIENT_DEPRECATE_EOF"
            });
            stage.link(1, 1);
            if traced {
                stage.trace("servers[1]", "MYS_");
                stage.trace("clients[1]", "MYC_");
            }
            let mut bytes = queries(&["SELECT 1", "SELECT nothing", "SELECT 2; SELECT 3", "DO 0"]);
            // Without an answer of its own.
            bytes.extend(frames(&[com::STMT_CLOSE, 9, 0, 0, 0], &mut 0));
            bytes.extend(queries(&["SELECT 4"]));
            wire.raw(&bytes);
            assert!(matches!(answer(&mut wire), Answer::Rows { .. }));
            assert!(matches!(answer(&mut wire), Answer::Err(1054, ..)));
            wire.seq = 1;
            let results = wire.packets(com::QUERY);
            assert_eq!(
                results
                    .iter()
                    .filter(|p| *p == b"\x012" || *p == b"\x013")
                    .count(),
                2
            );
            assert!(matches!(answer(&mut wire), Answer::Ok(_)));
            match answer(&mut wire) {
                Answer::Rows { rows, .. } => assert_eq!(rows, [[Some(b"4".to_vec())]]),
                other => panic!("{other:?}"),
            }
            stage.dpm.assert_no_errors();
        }
    }
}

#[test]
fn only_without_callbacks_a_command_passes_before_the_answer_of_the_last() {
    let (mut stage, mut wire, mut server) = pair(PLAIN);
    wire.raw(&queries(&["one", "two"]));
    assert_eq!(server.read_command().1, b"one");
    assert_eq!(server.read_command().1, b"two");
    for n in 1..=2 {
        server.seq = 1;
        server.write(&ok());
        wire.seq = 1;
        assert_eq!(wire.read(), ok(), "{n}");
    }
    stage.trace("clients[1]", "MYC_WAITING");
    wire.raw(&queries(&["three", "four"]));
    assert_eq!(server.read_command().1, b"three");
    assert!(
        server.silent(Duration::from_millis(50)),
        "one exchange at a time"
    );
    server.seq = 1;
    server.write(&ok());
    assert_eq!(server.read_command().1, b"four");
}

#[test]
fn the_server_dies_with_commands_outstanding() {
    let (mut stage, mut wire, mut server) = pair(PLAIN);
    wire.raw(&queries(&["one", "two", "three"]));
    for _ in 0..3 {
        server.read_command();
    }
    drop(server);
    assert!(matches!(answer(&mut wire), Answer::Err(1105, state, _) if state == "08S01"));
    assert!(wire.closed(), "the others' answers cannot come either");
    stage.until("dpm.stats().servers == 0");
}

#[test]
fn the_server_dies_with_one_command_outstanding_and_the_client_stays() {
    let (mut stage, mut wire, mut server) = pair(PLAIN);
    wire.raw(&queries(&["one"]));
    server.read_command();
    drop(server);
    assert!(matches!(answer(&mut wire), Answer::Err(1105, state, _) if state == "08S01"));
    assert!(
        matches!(wire.query("SELECT 1"), Answer::Err(1105, ..)),
        "no server"
    );
    assert_eq!(stage.lua("return clients[1]:close_reason()"), "nil");
}

#[test]
fn the_client_dies_and_nobody_else_gets_its_answers() {
    for traced in [false, true] {
        let (mut stage, mut wire, mut server) = pair(PLAIN);
        stage.trace("servers[1]", "MYS_WAIT_CMD");
        stage.trace(
            "servers[1]",
            if traced { "MYS_SENDING_ROWS" } else { "none" },
        );
        if !traced {
            stage.lua("servers[1]:register(dpm.MYS_WAIT_CMD, nil)");
        }
        let commands: &[&str] = if traced {
            &["one"]
        } else {
            &["one", "two", "three"]
        };
        wire.raw(&queries(commands));
        for _ in commands {
            server.read_command();
        }
        reset(wire);
        stage.until("clients[1]:close_reason() ~= nil");
        stage.trace("servers[1]", "MYS_WAIT_CMD");
        let mut other = stage.client(PLAIN);
        let why = stage.refused("clients[2]", "servers[1]");
        assert!(why.contains("another client's exchange"), "{why}");
        for n in 0..commands.len() {
            assert_eq!(stage.dpm.count("servers[1] MYS_WAIT_CMD"), 0, "{n} answers");
            server.seq = 1;
            server.send_rows(&["c"], &[&[Some(b"not yours")]]);
        }
        stage.dpm.line("servers[1] MYS_WAIT_CMD");
        assert_eq!(stage.dpm.count("MYS_WAIT_CMD"), 1, "once it is drained");
        assert_eq!(stage.dpm.count("MYS_SENDING_ROWS"), 0);
        stage.link(2, 1);
        other.command(com::QUERY, b"mine");
        assert_eq!(server.read_command().1, b"mine");
        server.send_rows(&["c"], &[&[Some(b"yours")]]);
        match other.answer() {
            Answer::Rows { rows, .. } => assert_eq!(rows, [[Some(b"yours".to_vec())]]),
            other => panic!("{other:?}"),
        }
    }
}

#[test]
fn an_abandoned_exchange_that_ends_in_an_error_fires_recv_err() {
    let (mut stage, mut wire, mut server) = pair(PLAIN);
    stage.trace("servers[1]", "MYS_");
    wire.raw(&queries(&["one"]));
    server.read_command();
    reset(wire);
    stage.until("clients[1]:close_reason() ~= nil");
    server.write(&err(1317, "70100", "interrupted"));
    stage.dpm.line("servers[1] MYS_RECV_ERR");
    let _other = stage.client(PLAIN);
    stage.link(2, 1);
}

#[test]
fn commands_wired_to_a_busy_server_are_answered_in_order() {
    let mut stage = Stage::before(mariadb().port);
    stage.server();
    stage.lua(
        "answers = {}
         h.register(servers[1], {
           [dpm.MYS_SENT_RSET] = function(p) rset = p end,
           [dpm.MYS_SENDING_ROWS] = function(row) answers[#answers + 1] = rset:parse_row_array(row)[1] end,
           [dpm.MYS_RECV_ERR] = function(err) answers[#answers + 1] = err:errnum() end,
         })
         for _, sql in ipairs { 'SELECT SLEEP(0.05)', 'SELECT 1', 'SELECT nothing', 'SELECT 2; SELECT 3', 'DO 0', 'SELECT 4' } do
           local cmd = dpm.new_cmd_pkt()
           cmd:command(dpm.COM_QUERY)
           cmd:argument(sql)
           dpm.wire_packet(servers[1], cmd)
         end",
    );
    stage.until("#answers == 6");
    assert_eq!(
        stage.lua("return table.concat(answers, ' ')"),
        "0 1 1054 2 3 4"
    );
}

/// A state in which the script unlinks, what the client sends, and what the server answers.
fn unlinking(state: &str, serve: impl Fn(&mut Wire)) {
    for shape in [PLAIN, MODERN] {
        let (mut stage, mut wire, mut server) = pair(shape);
        stage.lua(&format!(
            "servers[1]:register(dpm.MYS_WAIT_CMD, function() print('free') end)
             servers[1]:register(dpm.MYS_RECV_ERR, function() print('free') end)
             servers[1]:register(dpm.{state}, function(packet, id, conn)
               print('unlinks from', conn:remote_id())
               conn:register(dpm.{state}, nil)
               return dpm.DPM_FLUSH_DISCONNECT
             end)"
        ));
        wire.command(com::QUERY, b"SELECT");
        server.read_command();
        serve(&mut server);
        stage.dpm.line("unlinks from\t");
        if matches!(state, "MYS_WAIT_CMD" | "MYS_RECV_ERR") {
            wire.answer();
        } else {
            stage.dpm.line("free");
            // The script has to complete the answer for the client.
            stage.lua("local e = dpm.new_err_pkt() e:errnum(1234) dpm.wire_packet(clients[1], e)");
            while wire.read()[0] != 0xFF {}
        }
        assert_eq!(
            stage.lua("return clients[1]:remote_id(), servers[1]:remote_id()"),
            "0\t0",
            "{state}"
        );
        // Both can be used as before.
        stage.link(1, 1);
        wire.command(com::PING, b"");
        server.read_command();
        server.write(&ok());
        assert_eq!(wire.read(), ok(), "{state}");
        stage.dpm.assert_no_errors();
    }
}

#[test]
fn flush_disconnect_in_every_state_of_an_answer() {
    let rows = |server: &mut Wire| server.send_rows(&["c"], &[&[Some(b"1")], &[Some(b"2")]]);
    for state in [
        "MYS_SENT_RSET",
        "MYS_SENDING_FIELDS",
        "MYS_SENT_FIELDS",
        "MYS_SENDING_ROWS",
        "MYS_WAIT_CMD",
    ] {
        unlinking(state, rows);
    }
    unlinking("MYS_RECV_ERR", |server| {
        server.write(&err(1064, "42000", "no"))
    });
}

#[test]
fn flush_disconnect_of_a_command_sends_it_and_drains_its_answer() {
    let (mut stage, mut wire, mut server) = pair(PLAIN);
    stage.trace("servers[1]", "MYS_WAIT_CMD");
    stage.lua(
        "clients[1]:register(dpm.MYC_SENT_CMD, function() return dpm.DPM_FLUSH_DISCONNECT end)",
    );
    wire.command(com::QUERY, b"SELECT 1");
    assert_eq!(server.read_command().1, b"SELECT 1");
    assert_eq!(stage.lua("return clients[1]:remote_id()"), "0");
    server.write(&ok());
    stage.dpm.line("servers[1] MYS_WAIT_CMD");
    stage.lua(
        "dpm.wire_packet(clients[1], dpm.new_ok_pkt()) clients[1]:register(dpm.MYC_SENT_CMD, nil)",
    );
    assert_eq!(wire.read(), ok());
    stage.link(1, 1);
    wire.command(com::PING, b"");
    server.read_command();
    server.write(&ok());
    assert_eq!(wire.read(), ok());
}

#[test]
fn flush_disconnect_in_a_login_leaves_it_to_the_script() {
    let mock = MockServer::new();
    let mut stage = Stage::with(
        "h.listen(function(c)
           clients[1] = c
           local s = dpm.connect(arg[1], tonumber(arg[2]))
           servers[1] = s
           s:register(dpm.MYS_WAIT_AUTH, function() return dpm.DPM_FLUSH_DISCONNECT end)
           c:register(dpm.MYC_WAITING, function(auth, id, conn)
             if conn then
               print('user', auth:user(), conn:remote_id())
               dpm.wire_packet(s, auth)
               dpm.wire_packet(conn, dpm.new_ok_pkt())
             end
           end)
           dpm.proxy_connect(c, s)
         end)",
        mock.port,
    );
    let port = stage.dpm.port();
    let client = std::thread::spawn(move || Wire::login(port, PLAIN));
    let _server = mock.accept_login(PLAIN);
    let _client = client.join().unwrap();
    stage.dpm.line("user\thappy\t0");
    stage.until("servers[1]:state() == dpm.MYS_WAIT_CMD");
    stage.link(1, 1);
}

#[test]
fn commands_straight_behind_the_auth_packet_wait_for_the_end_of_the_login() {
    for startfile in [
        "require('harness').passthrough()",
        "local h = require('harness') h.passthrough(h.trace('at '))",
    ] {
        let dpm = crate::support::Dpm::start(startfile, mariadb());
        for quit in [false, true] {
            let mut wire = Wire::connect(dpm.port());
            let greeting = Greeting::parse(&wire.read());
            wire.capabilities = PLAIN & greeting.capabilities;
            let mut auth = auth_packet(&greeting.nonce, USER, PASSWORD, wire.capabilities);
            auth.extend_from_slice(b"mysql_native_password\0");
            let mut bytes = frames(&auth, &mut 1);
            if !quit {
                bytes.extend(queries(&["SELECT 1", "SELECT 2"]));
            }
            bytes.extend(frames(&[com::QUIT], &mut 0));
            wire.raw(&bytes);
            wire.seq = 2;
            assert_eq!(wire.read()[0], 0, "the login");
            if !quit {
                for n in [b"1", b"2"] {
                    match answer(&mut wire) {
                        Answer::Rows { rows, .. } => assert_eq!(rows, [[Some(n.to_vec())]]),
                        other => panic!("{other:?}"),
                    }
                }
            }
            assert!(wire.closed());
        }
        dpm.wait_until_idle();
        dpm.assert_no_errors();
    }
}
