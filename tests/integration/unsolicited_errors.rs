//! Unsolicited packets of a server, and unknown commands.

use std::time::Duration;

use crate::support::dpm::Launch;
use crate::support::wire::{Answer, MockServer, Wire, caps, com, err, ok};
use crate::support::{Dpm, Flavour, Server, Stage, connect, eventually, mariadb, python};
use mysql::prelude::Queryable;

const PLAIN: u32 = caps::BASE | caps::MULTI | caps::LOCAL_FILES;

const STARTFILES: [&str; 2] = [
    "require('harness').passthrough()",
    "local h = require('harness') h.passthrough(h.trace(''))",
];

/// A server of a script's, linked to a client or not.
fn pooled(linked: bool) -> (Stage, Wire, Wire) {
    let mock = MockServer::new();
    let mut stage = Stage::before(mock.port);
    let wire = stage.client(PLAIN);
    stage.begin_server("");
    let server = mock.accept_login(PLAIN);
    stage.ready();
    if linked {
        stage.link(1, 1);
    }
    (stage, wire, server)
}

#[test]
fn of_a_pooled_server_it_reaches_nobody_and_closes_only_the_server() {
    for linked in [false, true] {
        for traced in [false, true] {
            let (mut stage, mut wire, mut server) = pooled(linked);
            if traced {
                stage.lua("servers[1]:register(dpm.MYS_RECV_ERR, function(e) print('told', e:errnum()) end)");
            }
            server.seq = 0;
            server.write(&err(4031, "HY000", "inactive for too long"));
            assert!(server.closed());
            stage.until("servers[1]:close_reason() ~= nil");
            let reason = stage.lua("return servers[1]:close_reason()");
            assert!(
                reason.contains("4031") && reason.contains("inactive"),
                "{reason}"
            );
            if traced {
                stage.dpm.line("told\t4031");
            }
            assert!(stage.dpm.count("told") <= usize::from(traced));
            assert!(
                wire.silent(Duration::from_millis(50)),
                "the client hears nothing"
            );
            assert!(matches!(wire.query("SELECT 1"), Answer::Err(1105, ..)));
        }
    }
}

#[test]
fn of_a_pooled_server_it_is_not_the_answer_to_the_next_command() {
    let (stage, mut wire, mut server) = pooled(true);
    // It crosses the command on its way.
    wire.command(com::QUERY, b"SELECT 1");
    server.read_command();
    server.write(&ok());
    assert_eq!(wire.read(), ok());
    server.seq = 0;
    server.write(&err(1053, "08S01", "Server shutdown in progress"));
    stage.dpm.settle();
    assert!(matches!(wire.query("SELECT 2"), Answer::Err(1105, ..)));
}

#[test]
fn in_an_idle_passed_through_pair_it_reaches_the_client_and_ends_both() {
    for startfile in STARTFILES {
        let mock = MockServer::new();
        let dpm = Launch::script(startfile)
            .arg("127.0.0.1")
            .arg(mock.port)
            .start();
        let port = dpm.port();
        let client = std::thread::spawn(move || Wire::login(port, PLAIN));
        let mut server = mock.accept_login(PLAIN);
        let mut wire = client.join().unwrap();
        server.seq = 0;
        server.write(&err(1053, "08S01", "Server shutdown in progress"));
        wire.seq = 0;
        let packet = wire.read();
        assert_eq!(packet, err(1053, "08S01", "Server shutdown in progress"));
        assert!(wire.closed() && server.closed());
        dpm.wait_until_idle();
    }
}

/// `wait_timeout` ends an idle connection of a real server.
#[test]
fn wait_timeout_of_a_real_server() {
    for flavour in [Flavour::MariaDb, Flavour::MySql] {
        if flavour == Flavour::MySql && crate::support::mysql().is_none() {
            return;
        }
        let server = match flavour {
            Flavour::MariaDb => mariadb(),
            _ => crate::support::mysql().unwrap(),
        };
        for startfile in STARTFILES {
            let dpm = Dpm::start(startfile, server);
            let mut conn = connect(dpm.port());
            conn.query_drop("SET SESSION wait_timeout = 1").unwrap();
            eventually("the server goes", || dpm.stat("servers") == 0.0);
            assert!(conn.query_drop("SELECT 1").is_err());
            drop(conn);
            dpm.wait_until_idle();
        }
    }
}

#[test]
fn shutdown_of_a_real_server_while_a_pooled_connection_is_idle() {
    let own = Server::start_own(Flavour::MariaDb, &[]);
    let mut stage = Stage::before(own.port);
    let mut wire = stage.client(PLAIN);
    stage.server();
    stage.link(1, 1);
    assert_eq!(wire.rows("SELECT 1"), [["1"]]);
    own.sql("SHUTDOWN");
    stage.until("servers[1]:close_reason() ~= nil");
    assert!(matches!(wire.query("SELECT 1"), Answer::Err(1105, ..)));
}

#[test]
fn killing_a_pooled_connection() {
    let mut stage = Stage::before(mariadb().port);
    let mut wire = stage.client(PLAIN);
    stage.server();
    stage.link(1, 1);
    let id = wire.rows("SELECT CONNECTION_ID()")[0][0].clone();
    mariadb().sql(&format!("KILL {id}"));
    stage.until("servers[1]:close_reason() ~= nil");
    assert!(wire.silent(Duration::from_millis(30)));
    assert!(matches!(wire.query("SELECT 1"), Answer::Err(1105, ..)));
}

#[test]
fn a_real_server_without_room_says_1040_without_sqlstate() {
    let own = Server::start_own(
        Flavour::MariaDb,
        &["--max-connections=10", "--extra-max-connections=1"],
    );
    for startfile in STARTFILES {
        let dpm = Dpm::start(startfile, &own);
        let mut held = Vec::new();
        let refused = loop {
            let mut wire = Wire::connect(own.port);
            let first = wire.read();
            if first[0] == 0xFF {
                break first;
            }
            held.push(wire);
            assert!(held.len() < 20);
        };
        let mut wire = Wire::connect(dpm.port());
        assert_eq!(wire.read(), refused, "byte for byte");
        assert_eq!(&refused[..4], b"\xff\x10\x04T", "no SQLSTATE");
        assert!(wire.closed());
        drop(held);
        dpm.wait_until_idle();
    }
}

#[test]
fn an_unknown_command_where_somebody_looks_is_refused() {
    for (conn, state) in [
        ("clients[1]", "MYC_SENT_CMD"),
        ("servers[1]", "MYS_SENDING_ROWS"),
    ] {
        let (mut stage, mut wire, mut server) = pooled(true);
        stage.lua(&format!(
            "{conn}:register(dpm.{state}, function() print('seen') end)"
        ));
        for command in [0x20, 0x7F, 0xC8, 0xFF] {
            wire.command(command, b"whatever");
            match wire.answer() {
                Answer::Err(1047, state, _) => assert_eq!(state, "08S01"),
                other => panic!("{command}: {other:?}"),
            }
        }
        assert_eq!(stage.dpm.count("seen"), 0);
        wire.command(com::PING, b"");
        assert_eq!(
            server.read_command().0,
            com::PING,
            "none of them has reached the server"
        );
        server.write(&ok());
        assert_eq!(wire.read(), ok());
    }
}

#[test]
fn an_unknown_command_without_a_server_is_refused() {
    let (_stage, mut wire, _server) = pooled(false);
    wire.command(0xC8, b"");
    assert!(matches!(wire.answer(), Answer::Err(1047, ..)));
    assert!(matches!(wire.query("x"), Answer::Err(1105, ..)));
}

#[test]
fn an_unknown_command_that_nobody_looks_at_makes_the_link_opaque() {
    let (mut stage, mut wire, mut server) = pooled(true);
    stage.lua("clients[1]:register(dpm.MY_CLOSING, function() print('closing') end)");
    wire.command(0xC8, b"what");
    assert_eq!(server.read_command(), (0xC8, b"what".to_vec()));
    // Bytes that are no packets, both ways.
    server.raw(b"\xff\xff");
    assert_eq!(wire.exact(2), b"\xff\xff");
    wire.raw(b"xyz");
    assert_eq!(server.exact(3), b"xyz");
    let said = stage.lua("return pcall(dpm.wire_packet, clients[1], dpm.new_ok_pkt())");
    assert!(said.contains("opaque"), "{said}");
    let _other = stage.client(PLAIN);
    assert!(stage.refused("clients[2]", "servers[1]").contains("opaque"));
    // Half of it is of no use.
    drop(server);
    assert!(wire.closed());
    stage.dpm.line("closing");
}

#[test]
fn between_unequal_ends_no_link_becomes_opaque() {
    // What one of them has not negotiated has to be translated.
    let mock = MockServer::new();
    let mut stage = Stage::before(mock.port);
    let mut wire = stage.client(PLAIN | caps::DEPRECATE_EOF);
    assert_ne!(wire.capabilities & caps::DEPRECATE_EOF, 0);
    stage.begin_server("");
    let mut server = mock.accept_login(PLAIN);
    stage.ready();
    stage.link(1, 1);
    wire.command(0xC8, b"what");
    assert!(matches!(wire.answer(), Answer::Err(1047, ..)));
    wire.command(com::PING, b"");
    assert_eq!(server.read_command().0, com::PING);
    assert!(!stage.dpm.wrote("opaque"));

    // A password that comes over TLS must not be forwarded unchecked.
    let dpm = Dpm::start(
        "local h = require('harness')
         h.listen(function(c)
           local s = dpm.connect(arg[1], tonumber(arg[2]), { tls = false })
           h.pairs[c:id()] = { c, s }
           dpm.proxy_connect(c, s)
         end, { tls = true })",
        mariadb(),
    );
    let said = python(
        dpm.port(),
        "import ssl\n\
         c = connect(ssl=ssl._create_unverified_context())\n\
         c._execute_command(0x60, b'')\n\
         try: c._read_packet()\n\
         except Exception as e: print(e.args[0])\n\
         c.ping(False)\n",
    );
    assert_eq!(said, "1047\n");
    assert!(!dpm.wrote("opaque"));
}

#[test]
fn registering_on_an_opaque_link_closes_both() {
    for (conn, state) in [
        ("clients[1]", "MYC_SENT_CMD"),
        ("servers[1]", "MYS_SENDING_ROWS"),
    ] {
        let (mut stage, mut wire, mut server) = pooled(true);
        wire.command(0xC8, b"what");
        server.read_command();
        stage.lua(&format!("{conn}:register(dpm.MY_DRAINED, function() end)"));
        assert_eq!(stage.lua(&format!("return {conn}:close_reason()")), "nil");
        stage.lua(&format!("{conn}:register(dpm.{state}, function() end)"));
        assert!(wire.closed() && server.closed());
        let reason = stage.lua(&format!("return {conn}:close_reason()"));
        assert!(reason.contains("opaque"), "{reason}");
    }
}

#[test]
fn unlinking_an_opaque_link_closes_both() {
    let (mut stage, mut wire, mut server) = pooled(true);
    wire.command(0xC8, b"what");
    server.read_command();
    stage.lua("dpm.proxy_disconnect(clients[1])");
    assert!(wire.closed() && server.closed());
}

#[test]
fn a_command_over_max_packet_is_refused_with_1153() {
    for limit in [1000, 0x100_0000 + 50] {
        let mut stage = Stage::with(
            &format!("dpm.config {{ max_packet = {limit} }} h.serve()"),
            1,
        );
        let mut wire = stage.client(PLAIN);
        wire.command(com::QUERY, &vec![b' '; limit - 1]);
        assert!(
            matches!(wire.answer(), Answer::Err(1105, ..)),
            "just short enough"
        );
        let sent = std::panic::catch_unwind(std::panic::AssertUnwindSafe(|| {
            wire.command(com::QUERY, &vec![b' '; limit]);
        }));
        drop(sent);
        wire.lenient = true;
        match wire.try_read() {
            Ok(packet) => assert_eq!(&packet[..9], b"\xff\x81\x04#08S01"),
            // The rest of it was still on its way: a reset.
            Err(_) => assert!(limit > 1000),
        }
        assert!(wire.closed());
        stage.until("dpm.stats().protocol_errors == 1");
    }
}
