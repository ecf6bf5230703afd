//! Which connections can be linked, and the effects of a link.

use crate::support::wire::{Answer, MockServer, Wire, caps, com, ok};
use crate::support::{Stage, mariadb};

const PLAIN: u32 = caps::BASE | caps::MULTI | caps::LOCAL_FILES;
const MODERN: u32 = PLAIN | caps::DEPRECATE_EOF;

fn stage() -> Stage {
    Stage::before(mariadb().port)
}

#[track_caller]
fn no_server(wire: &mut Wire) {
    assert!(matches!(wire.query("SELECT 0"), Answer::Err(1105, ..)));
}

#[test]
fn a_server_in_the_middle_of_an_exchange_is_not_taken_away() {
    let mut stage = stage();
    let (mut first, mut second) = (stage.client(PLAIN), stage.client(PLAIN));
    stage.server();
    stage.link(1, 1);
    first.command(com::QUERY, b"SELECT SLEEP(0.5)");
    stage.until("servers[1]:state() == dpm.MYS_GOT_CMD");
    let why = stage.refused("clients[2]", "servers[1]");
    assert!(
        why.contains("in the middle of an exchange of client"),
        "{why}"
    );
    assert!(matches!(first.answer(), Answer::Rows { .. }), "undisturbed");
    stage.link(2, 1);
    assert_eq!(second.rows("SELECT 2"), [["2"]]);
    no_server(&mut first);
}

#[test]
fn a_client_in_the_middle_of_an_exchange_keeps_its_server() {
    let mut stage = stage();
    let mut wire = stage.client(PLAIN);
    stage.server();
    stage.server();
    stage.link(1, 1);
    wire.command(com::QUERY, b"SELECT SLEEP(0.3)");
    stage.until("servers[1]:state() == dpm.MYS_GOT_CMD");
    let why = stage.refused("clients[1]", "servers[2]");
    assert!(why.contains("in the middle of an exchange"), "{why}");
    assert!(matches!(wire.answer(), Answer::Rows { .. }));
    stage.link(1, 2);
    assert_eq!(stage.lua("return servers[1]:remote_id()"), "0");
    assert_eq!(wire.rows("SELECT 1"), [["1"]]);
}

#[test]
fn one_end_logged_in_and_the_other_not() {
    let silent = MockServer::new();
    let mut stage = Stage::before(silent.port);
    let _client = stage.client(PLAIN);
    stage.begin_server("");
    let _server = silent.accept();
    let why = stage.refused("clients[1]", "servers[1]");
    assert!(
        why.contains("one of them is logged in and the other is not"),
        "{why}"
    );
}

#[test]
fn what_is_no_pair_is_named() {
    let mut stage = stage();
    let _client = stage.client(PLAIN);
    stage.server();
    for (a, b) in [
        ("servers[1]", "clients[1]"),
        ("clients[1]", "clients[1]"),
        ("servers[1]", "servers[1]"),
        ("h.listener", "servers[1]"),
    ] {
        let why = stage.refused(a, b);
        assert!(
            why.contains("the first must be a client, the second a server"),
            "{a} {b}: {why}"
        );
    }
    for (a, b) in [
        ("nil", "servers[1]"),
        ("clients[1]", "nil"),
        ("clients[1]", "{}"),
    ] {
        let why = stage.refused(a, b);
        assert!(
            why.contains("dpm.proxy_connect") && why.contains("expected a connection"),
            "{why}"
        );
    }
    stage.lua("dpm.close(servers[1])");
    let why = stage.refused("clients[1]", "servers[1]");
    assert!(why.contains("closed"), "{why}");
}

#[test]
fn a_difference_that_cannot_be_translated_is_named() {
    let mut stage = stage();
    let _no_multi = stage.client(caps::BASE | caps::LOCAL_FILES);
    let _no_files = stage.client(caps::BASE | caps::MULTI);
    stage.server();
    let why = stage.refused("clients[1]", "servers[1]");
    assert!(why.contains("MULTI_RESULTS"), "{why}");
    let why = stage.refused("clients[2]", "servers[1]");
    assert!(why.contains("LOCAL_FILES"), "{why}");
    stage.server_without(
        "dpm.CLIENT_MULTI_RESULTS, dpm.CLIENT_MULTI_STATEMENTS, dpm.CLIENT_PS_MULTI_RESULTS",
    );
    stage.link(1, 2);
    stage.server_without("dpm.CLIENT_LOCAL_FILES");
    stage.link(2, 3);
}

#[test]
fn idle_links_of_both_ends_are_dissolved() {
    let mut stage = stage();
    let (mut first, mut second) = (stage.client(PLAIN), stage.client(MODERN));
    stage.server();
    stage.server();
    stage.link(1, 1);
    stage.link(2, 2);
    assert_eq!(
        stage.lua("return clients[1]:remote_id() == servers[1]:id(), servers[2]:remote_id() == clients[2]:id()"),
        "true\ttrue"
    );
    stage.link(1, 2);
    assert_eq!(
        stage.lua("return clients[2]:remote_id(), servers[1]:remote_id()"),
        "0\t0"
    );
    assert_eq!(first.rows("SELECT 'first'"), [["first"]]);
    no_server(&mut second);
    stage.link(2, 1);
    assert_eq!(second.rows("SELECT 'second'"), [["second"]]);
    // Linking what is linked changes nothing.
    stage.link(2, 1);
    assert_eq!(second.rows("SELECT 'again'"), [["again"]]);
}

#[test]
fn disconnecting_unlinks_both_whoever_is_named() {
    let mut stage = stage();
    let mut wire = stage.client(PLAIN);
    stage.server();
    for end in ["clients[1]", "servers[1]"] {
        assert_eq!(stage.lua("return clients[1]:remote_id()"), "0");
        stage.link(1, 1);
        assert_eq!(wire.rows("SELECT 1"), [["1"]]);
        stage.lua(&format!("dpm.proxy_disconnect({end})"));
        assert_eq!(
            stage.lua("return clients[1]:remote_id(), servers[1]:remote_id()"),
            "0\t0"
        );
        no_server(&mut wire);
        // There is nothing to undo now.
        stage.lua(&format!("dpm.proxy_disconnect({end})"));
    }
}

#[test]
fn the_remote_id_answers_after_the_peer_has_closed() {
    let mut stage = stage();
    let _client = stage.client(PLAIN);
    stage.server();
    stage.link(1, 1);
    let peer = stage.lua("return servers[1]:id()");
    stage.lua("dpm.close(servers[1])");
    assert_eq!(stage.lua("return clients[1]:remote_id()"), peer);
    assert_eq!(
        stage.lua("return servers[1]:remote_id() == clients[1]:id()"),
        "true"
    );
}

#[test]
fn unlinking_in_mid_response_drains_and_the_script_owes_the_ending() {
    let mock = MockServer::new();
    let mut stage = Stage::before(mock.port);
    let mut wire = stage.client(PLAIN);
    stage.begin_server("");
    let mut server = mock.accept_login(PLAIN);
    stage.ready();
    stage.link(1, 1);
    wire.command(com::QUERY, b"SELECT 1");
    server.read_command();
    stage.lua("dpm.proxy_disconnect(clients[1])");
    stage.trace("servers[1]", "MYS_WAIT_CMD");
    server.send_rows(&["c"], &[&[Some(b"late")]]);
    stage.dpm.line("servers[1] MYS_WAIT_CMD");
    stage.lua("dpm.wire_packet(clients[1], dpm.new_ok_pkt())");
    assert_eq!(wire.read(), ok());
    stage.link(1, 1);
    wire.command(com::PING, b"");
    server.read_command();
    server.write(&ok());
    assert_eq!(wire.read(), ok());
}

#[test]
fn many_clients_feed_one_server_and_get_their_own_answers() {
    let mut stage = stage();
    let mut wires: Vec<Wire> = (0..8)
        .map(|n| stage.client(if n % 2 == 0 { PLAIN } else { MODERN }))
        .collect();
    stage.server();
    // Commands are wired as they come, whether or not the server is busy.
    stage.lua(
        "order = {}
         local s = servers[1]
         for _, c in ipairs(clients) do
           c:register(dpm.MYC_SENT_CMD, function(cmd, id, conn)
             order[#order + 1] = conn
             dpm.wire_packet(s, cmd)
             return dpm.DPM_NOPROXY
           end)
         end
         local function pass(packet) dpm.wire_packet(order[1], packet) end
         local function last(packet) dpm.wire_packet(table.remove(order, 1), packet) end
         h.register(s, {
           [dpm.MYS_SENT_RSET] = pass, [dpm.MYS_SENDING_FIELDS] = pass, [dpm.MYS_SENT_FIELDS] = pass,
           [dpm.MYS_SENDING_ROWS] = pass, [dpm.MYS_SENDING_EOF] = pass,
           [dpm.MYS_WAIT_CMD] = last, [dpm.MYS_RECV_ERR] = last,
         })",
    );
    for round in 0..5 {
        wires[0].command(com::QUERY, b"SELECT SLEEP(0.02), 0");
        for (n, wire) in wires.iter_mut().enumerate().skip(1) {
            let sql = match n {
                3 => format!("SELECT nothing_{n}"),
                _ => format!("SELECT {n}, {round} UNION SELECT 'x', 'y'"),
            };
            wire.command(com::QUERY, sql.as_bytes());
        }
        for (n, wire) in wires.iter_mut().enumerate() {
            match wire.answer() {
                Answer::Err(1054, _, message) => assert!(n == 3 && message.contains("nothing_3")),
                Answer::Rows { rows, .. } if n > 0 => {
                    assert_eq!(rows[0][0].as_deref(), Some(n.to_string().as_bytes()));
                    assert_eq!(rows[0][1].as_deref(), Some(round.to_string().as_bytes()));
                }
                Answer::Rows { rows, .. } => assert_eq!(rows.len(), 1),
                other => panic!("{n}: {other:?}"),
            }
        }
    }
    stage.dpm.assert_no_errors();
}

#[test]
fn one_command_goes_to_several_servers() {
    let mut stage = stage();
    let mut wire = stage.client(PLAIN);
    for without in ["", "dpm.CLIENT_DEPRECATE_EOF", "dpm.CLIENT_SESSION_TRACK"] {
        stage.server_without(without);
    }
    stage.lua(
        "clients[1]:register(dpm.MYC_SENT_CMD, function(cmd, id, conn)
           local left, rows = #servers, 0
           for _, s in ipairs(servers) do
             s:register(dpm.MYS_SENDING_ROWS, function() rows = rows + 1 end)
             s:register(dpm.MYS_WAIT_CMD, function()
               left = left - 1
               if left == 0 then
                 local ok = dpm.new_ok_pkt()
                 ok:affected_rows(rows)
                 dpm.wire_packet(conn, ok)
               end
             end)
             dpm.wire_packet(s, cmd)
           end
           return dpm.DPM_NOPROXY
         end)",
    );
    for _ in 0..3 {
        match wire.query("SELECT 1 UNION SELECT 2") {
            Answer::Ok(packet) => assert_eq!(packet[1], 6, "two rows from each of three"),
            other => panic!("{other:?}"),
        }
    }
    stage.dpm.assert_no_errors();
}

#[test]
fn what_the_state_forbids_is_an_error_and_nothing_is_sent() {
    let mut stage = stage();
    let mut wire = stage.client(PLAIN);
    stage.server();
    let mut wired = |to: &str, packet: &str| {
        stage.lua(&format!("return pcall(dpm.wire_packet, {to}, {packet})"))
    };
    for packet in [
        "ok",
        "err",
        "eof",
        "rset",
        "field",
        "row",
        "stats",
        "handshake",
        "cmd",
        "auth",
    ] {
        let said = wired("clients[1]", &format!("dpm.new_{packet}_pkt()"));
        assert!(
            said.starts_with("false\t"),
            "{packet} to an idle client: {said}"
        );
    }
    for packet in [
        "ok",
        "err",
        "eof",
        "rset",
        "field",
        "row",
        "handshake",
        "auth",
        "data",
    ] {
        let said = wired("servers[1]", &format!("dpm.new_{packet}_pkt()"));
        assert!(
            said.starts_with("false\t"),
            "{packet} to an idle server: {said}"
        );
    }
    for packet in ["nil", "5", "{}", "'x'", "clients[1]", "dpm.new_callback()"] {
        let said = wired("servers[1]", packet);
        assert!(
            said.contains("dpm.wire_packet: packet: expected"),
            "{packet}: {said}"
        );
    }
    let said = wired("h.listener", "dpm.new_ok_pkt()");
    assert!(said.contains("a listener takes no packets"), "{said}");
    stage.link(1, 1);
    assert_eq!(wire.rows("SELECT 1"), [["1"]]);
    stage.lua("dpm.close(servers[1])");
    let said = stage.lua("return pcall(dpm.wire_packet, servers[1], dpm.new_cmd_pkt())");
    assert!(said.contains("is closed (the script closed it)"), "{said}");
}
