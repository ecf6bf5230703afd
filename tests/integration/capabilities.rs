//! What newer peers agree on: query attributes, results without definitions, MariaDB's extensions,
//! second factors, changes of the session's state. Through the proxy as with the server directly.

use super::commands::{same, talk_over};
use super::translation::without_made_up_status;
use crate::support::exchange::{execute_argument, is_progress};
use crate::support::wire::{MockServer, Wire, caps, column, com, eof, frames, ok};
use crate::support::{Dpm, Flavour, Server, Stage, both, eventually, mariadb, mariadb11, mysql};

const PLAIN: u32 = caps::BASE | caps::MULTI;
const MODERN: u32 = PLAIN | caps::DEPRECATE_EOF | caps::SESSION_TRACK;
const EXTENDED: u32 = caps::extended::PROGRESS
    | caps::extended::BULK
    | caps::extended::METADATA
    | caps::extended::CACHE
    | caps::extended::UNIT_RESULTS;

const PAST_LUA: &str = "require('harness').passthrough()";
const THROUGH_CALLBACKS: &str = "local h = require('harness') h.passthrough(h.trace('at '))";

/// Logs in with everything of one flavour.
fn login(flavour: Flavour, port: u16, shape: u32) -> Wire {
    match flavour {
        Flavour::MySql => Wire::login_empty(port, shape),
        _ => Wire::login_extended(port, shape, EXTENDED),
    }
}

fn compare(server: &Server, shapes: &[u32], first: &[&str]) {
    for startfile in [PAST_LUA, THROUGH_CALLBACKS] {
        let dpm = Dpm::start(startfile, server);
        for shape in shapes {
            let base = server.database();
            let login = |port| login(server.flavour, port, *shape);
            let direct = talk_over(server, login(server.port), &base, first);
            server.sql(&format!("DROP DATABASE {base}; CREATE DATABASE {base}"));
            let through = talk_over(server, login(dpm.port()), &base, first);
            same(&direct, &through, &format!("{startfile}, {shape:#x}"));
        }
        dpm.wait_until_idle();
        dpm.assert_no_errors();
    }
}

#[test]
fn every_command_with_mysqls_capabilities() {
    let Some(server) = mysql() else { return };
    let all = caps::QUERY_ATTRIBUTES | caps::OPTIONAL_METADATA;
    compare(
        server,
        &[PLAIN | all, MODERN | all, MODERN | caps::QUERY_ATTRIBUTES],
        &[],
    );
}

#[test]
fn every_command_without_definitions() {
    let Some(server) = mysql() else { return };
    let shapes = [PLAIN, MODERN].map(|shape| shape | caps::OPTIONAL_METADATA);
    compare(server, &shapes, &["SET resultset_metadata = NONE"]);
}

#[test]
fn every_command_with_mariadbs_capabilities() {
    for server in [Some(mariadb()), mariadb11()].into_iter().flatten() {
        compare(server, &[PLAIN, MODERN], &[]);
    }
}

#[test]
fn attributes_arrive_and_scripts_read_and_write_them() {
    let Some(server) = mysql() else { return };
    // Another process's server may have it already.
    let components =
        "SELECT COUNT(*) FROM mysql.component WHERE component_urn LIKE '%query_attributes'";
    if server.sql(components).trim() == "0" {
        server.sql("INSTALL COMPONENT 'file://component_query_attributes'");
    }
    let sql = "SELECT mysql_query_attribute_string('n'), mysql_query_attribute_string('m'), 5";
    let rewriting = "local h = require('harness')
        h.passthrough({ [dpm.MYC_SENT_CMD] = function(cmd, id, conn)
          if cmd:command() ~= dpm.COM_QUERY then return end
          local all = cmd:attributes()
          print('sql ' .. cmd:argument(), 'n ' .. tostring(all and all.n))
          cmd:attributes({ n = 'by Lua', m = 7 })
          dpm.wire_packet(h.pairs[id][2], cmd)
          return dpm.DPM_NOPROXY
        end })";
    for (startfile, n, m) in [
        (PAST_LUA, "val", "NULL"),
        (THROUGH_CALLBACKS, "val", "NULL"),
        (rewriting, "by Lua", "7"),
    ] {
        let dpm = Dpm::start(startfile, server);
        let mut wire = Wire::login_empty(dpm.port(), MODERN | caps::QUERY_ATTRIBUTES);
        wire.seq = 0;
        wire.write(&[b"\x03\x01\x01\0\x01\xfe\0\x01n\x03val", sql.as_bytes()].concat());
        let packets = wire.packets(com::QUERY);
        let text = |text: &str| match text {
            "NULL" => b"\xfb".to_vec(),
            text => [&[text.len() as u8], text.as_bytes()].concat(),
        };
        let row = [text(n), text(m), text("5")].concat();
        assert_eq!(packets[4], row, "{}", packets[4].escape_ascii());
        if startfile == rewriting {
            assert_eq!(dpm.count(&format!("sql {sql}\tn val")), 1);
            wire.query("SELECT 1");
            assert_eq!(dpm.count("sql SELECT 1\tn nil"), 1, "none are nil");
        }
        dpm.assert_no_errors();
    }
}

#[test]
fn attributes_that_lie_cost_one_connection() {
    let Some(server) = mysql() else { return };
    for startfile in [PAST_LUA, THROUGH_CALLBACKS] {
        let dpm = Dpm::start(startfile, server);
        for query in [
            &b"\x03\xfd\xff\xff\xff\x01SELECT 1"[..],
            b"\x03\x01\x01\0\x01\xfe\0\x7fn",
            b"\x03",
        ] {
            let mut wire = Wire::login_empty(dpm.port(), MODERN | caps::QUERY_ATTRIBUTES);
            wire.seq = 0;
            wire.write(query);
            assert_eq!(wire.read()[0], 0xFF);
        }
        let mut wire = Wire::login_empty(dpm.port(), MODERN);
        assert_eq!(wire.rows("SELECT 5"), [["5"]]);
    }
}

/// Clients and servers with and without the capability: a client gets what a server with the
/// client's capabilities would have sent.
fn translated(
    server: &'static Server,
    offered: &str,
    asked: &str,
    client: (u32, u32),
    like: (u32, u32),
) {
    for callbacks in ["", "c, s = h.trace('at ')"] {
        let stage = Stage::with(
            &format!(
                "local c, s = {{}}, {{}}
                 {callbacks}
                 h.offered, h.asked = {{ {offered} }}, {{ {asked} }}
                 h.serve(function(client)
                   h.server(function(server)
                     h.let_in(client)
                     h.register(client, c)
                     h.register(server, s)
                     dpm.proxy_connect(client, server)
                   end, {{ dpm.CLIENT_LOCAL_FILES, dpm.CLIENT_SESSION_TRACK }})
                 end)"
            ),
            server.port,
        );
        let login = |port, (shape, extended)| match extended {
            0 => Wire::login_empty(port, shape),
            extended => Wire::login_extended(port, shape, extended),
        };
        let base = server.database();
        let direct = talk_over(server, login(server.port, like), &base, &[]);
        server.sql(&format!("DROP DATABASE {base}; CREATE DATABASE {base}"));
        let through = talk_over(server, login(stage.dpm.port(), client), &base, &[]);
        same(
            &direct,
            &through,
            &format!("{callbacks}: offered {offered}, asked {asked}"),
        );
        stage.dpm.assert_no_errors();
    }
}

/// Definitions that are left out, between ends with and without DEPRECATE_EOF.
#[test]
fn results_without_definitions_between_ends_with_and_without_eof() {
    let mysqls = (
        mysql(),
        "dpm.CLIENT_OPTIONAL_RESULTSET_METADATA",
        &["SET resultset_metadata = NONE"][..],
    );
    let mariadbs = (
        Some(mariadb()),
        "dpm.MARIADB_CLIENT_CACHE_METADATA",
        &["SET NAMES utf8mb4"][..],
    );
    for (server, flag, first) in [mysqls, mariadbs] {
        let Some(server) = server else { continue };
        for (without, shape) in [("dpm.CLIENT_DEPRECATE_EOF", DEPRECATE), ("", PLAIN)] {
            for callbacks in ["", "c, s = h.trace('at ')"] {
                let stage = Stage::with(
                    &format!(
                        "local c, s = {{}}, {{}}
                         {callbacks}
                         h.offered, h.asked = {{ {flag} }}, {{ {flag} }}
                         h.serve(function(client)
                           h.server(function(server)
                             h.let_in(client)
                             h.register(client, c)
                             h.register(server, s)
                             dpm.proxy_connect(client, server)
                           end, {{ dpm.CLIENT_LOCAL_FILES, dpm.CLIENT_SESSION_TRACK, {without} }})
                         end)"
                    ),
                    server.port,
                );
                let login = |port| match server.flavour {
                    Flavour::MySql => Wire::login_empty(port, shape | caps::OPTIONAL_METADATA),
                    _ => Wire::login_extended(port, shape, caps::extended::CACHE),
                };
                let base = server.database();
                let mut direct = talk_over(server, login(server.port), &base, first);
                server.sql(&format!("DROP DATABASE {base}; CREATE DATABASE {base}"));
                let mut through = talk_over(server, login(stage.dpm.port()), &base, first);
                if shape == PLAIN {
                    without_made_up_status(&mut direct);
                    without_made_up_status(&mut through);
                }
                same(
                    &direct,
                    &through,
                    &format!("{flag}, without {without}, {callbacks}"),
                );
                stage.dpm.assert_no_errors();
            }
        }
    }
}

/// Capabilities that only one end has, and that need no translation.
#[test]
fn harmless_differences() {
    let bulk = "dpm.MARIADB_CLIENT_STMT_BULK_OPERATIONS, dpm.MARIADB_CLIENT_BULK_UNIT_RESULTS";
    for server in [Some(mariadb()), mariadb11()].into_iter().flatten() {
        translated(server, "", bulk, (DEPRECATE, 0), (DEPRECATE, 0));
    }
    let factors = (DEPRECATE | 0x1000_0000, 0);
    translated(
        mariadb(),
        "dpm.MULTI_FACTOR_AUTHENTICATION",
        "",
        factors,
        (DEPRECATE, 0),
    );
}

const DEPRECATE: u32 = PLAIN | caps::DEPRECATE_EOF;

#[test]
fn attributes_for_a_server_without() {
    let with = (DEPRECATE | caps::QUERY_ATTRIBUTES, 0);
    for server in [Some(mariadb()), mysql()].into_iter().flatten() {
        translated(
            server,
            "dpm.CLIENT_QUERY_ATTRIBUTES",
            "",
            with,
            (DEPRECATE, 0),
        );
    }
}

#[test]
fn no_attributes_for_a_server_with() {
    let Some(server) = mysql() else { return };
    let without = (DEPRECATE, 0);
    translated(server, "", "dpm.CLIENT_QUERY_ATTRIBUTES", without, without);
}

/// An execute by the id of the last statement, or by a guessed id, before the prepare is answered:
/// it gets its own statement's number of parameters, not that of the statement before.
#[test]
fn what_is_executed_before_its_id_is_known() {
    for callbacks in ["{}, {}", "h.trace('at ')"] {
        let mut stage = Stage::with(
            &format!(
                "local c, s = {callbacks}
                 h.offered = {{ dpm.CLIENT_QUERY_ATTRIBUTES }}
                 h.serve(function(client)
                   h.server(function(server)
                     h.let_in(client)
                     h.register(client, c)
                     h.register(server, s)
                     dpm.proxy_connect(client, server)
                   end, {{ dpm.CLIENT_LOCAL_FILES }})
                 end)"
            ),
            mariadb().port,
        );
        let mut wire = stage.client(DEPRECATE | caps::QUERY_ATTRIBUTES);
        let execute = |id: u32| {
            let mut payload = vec![com::STMT_EXECUTE];
            payload.extend_from_slice(&id.to_le_bytes());
            payload.extend_from_slice(&[8, 1, 0, 0, 0]);
            payload.extend_from_slice(b"\x01\0\x01\xfd\0\0\x04here");
            payload
        };
        let prepare = |sql: &str| [&[com::STMT_PREPARE], sql.as_bytes()].concat();
        let mut last = wire.prepare("SELECT ?, ?, ?");
        for guess in [false, true, false] {
            let id = if guess { last + 1 } else { u32::MAX };
            let mut both = frames(&prepare("SELECT ? AS a"), &mut 0);
            both.extend_from_slice(&frames(&execute(id), &mut 0));
            wire.raw(&both);
            wire.seq = 1;
            let prepared = wire.packets(com::STMT_PREPARE);
            last = u32::from_le_bytes(prepared[0][1..5].try_into().unwrap());
            wire.seq = 1;
            let rows = wire.packets(com::STMT_EXECUTE);
            assert_eq!(rows[2], b"\0\0\x04here", "{rows:?}");
        }
        // Statements that were not prepared, or could not be.
        let mut bad = frames(&prepare("SELECT FROM ?"), &mut 0);
        bad.extend_from_slice(&frames(&execute(u32::MAX), &mut 0));
        wire.raw(&bad);
        wire.seq = 1;
        assert_eq!(wire.read()[..3], [0xFF, 0x28, 0x04]);
        wire.seq = 1;
        assert_eq!(wire.read()[..3], [0xFF, 0xDB, 0x04]);
        wire.seq = 0;
        wire.write(&execute(4711));
        let answer = wire.read();
        assert!(
            answer.ends_with(
                b"HY000Unknown prepared statement handler (4711) given to mysqld_stmt_execute"
            ),
            "{}",
            answer.escape_ascii()
        );
        assert_eq!(wire.rows("SELECT 5"), [["5"]]);
        stage.dpm.assert_no_errors();
    }
}

#[test]
fn optional_definitions_of_a_server_without() {
    let Some(server) = mysql() else { return };
    let with = (DEPRECATE | caps::OPTIONAL_METADATA, 0);
    translated(
        server,
        "dpm.CLIENT_OPTIONAL_RESULTSET_METADATA",
        "",
        with,
        with,
    );
}

#[test]
fn extended_types_of_a_server_for_a_client_without() {
    let asked = "dpm.MARIADB_CLIENT_EXTENDED_METADATA, dpm.MARIADB_CLIENT_PROGRESS";
    translated(mariadb(), "", asked, (DEPRECATE, 0), (DEPRECATE, 0));
}

#[test]
fn mariadbs_extensions_for_a_client_of_a_server_without() {
    let mut stage = Stage::with(
        "h.offered = { dpm.MARIADB_CLIENT_EXTENDED_METADATA, dpm.MARIADB_CLIENT_CACHE_METADATA,
           dpm.MARIADB_CLIENT_PROGRESS, dpm.MARIADB_CLIENT_STMT_BULK_OPERATIONS,
           dpm.MARIADB_CLIENT_BULK_UNIT_RESULTS }
         h.serve()",
        mariadb().port,
    );
    let mut wire = Wire::login_extended(stage.dpm.port(), DEPRECATE, EXTENDED);
    assert_eq!(wire.extended, EXTENDED, "all of them are offered");
    stage.server_without("dpm.CLIENT_LOCAL_FILES");
    stage.link(1, 1);
    let packets = wire.exchange(com::QUERY, b"SELECT CAST('::1' AS INET6) AS a");
    assert_eq!(packets[0], [1, 1], "definitions follow");
    // catalog, three empty names, the column's name, no original one, no extended types.
    assert!(
        packets[1].starts_with(b"\x03def\0\0\0\x01a\0\0\x0c"),
        "{}",
        packets[1].escape_ascii()
    );
    let id = wire.prepare("SELECT ?");
    for _ in 0..2 {
        let packets = wire.exchange(com::STMT_EXECUTE, &execute_argument(id, 0, &[Some(b"x")]));
        assert_eq!(packets[0], [1, 1]);
        assert_eq!(packets[2], b"\0\0\x01x");
    }
    // The server itself refuses what was not negotiated.
    let bulk = [&id.to_le_bytes()[..], &[128, 0, 0xFD, 0, 0, 1, b'x']].concat();
    assert_eq!(wire.exchange(com::STMT_BULK_EXECUTE, &bulk)[0][0], 0xFF);
    assert_eq!(wire.exchange(com::PING, b"")[0][0], 0);
}

#[test]
fn a_link_is_refused_that_names_what_the_client_lacks() {
    for (server, flag, name) in [
        (
            Some(mariadb()),
            "dpm.MARIADB_CLIENT_CACHE_METADATA",
            "MARIADB_CACHE_METADATA",
        ),
        (
            mysql(),
            "dpm.CLIENT_OPTIONAL_RESULTSET_METADATA",
            "OPTIONAL_RESULTSET_METADATA",
        ),
        (
            mysql(),
            "dpm.MULTI_FACTOR_AUTHENTICATION",
            "MULTI_FACTOR_AUTHENTICATION",
        ),
    ] {
        let Some(server) = server else { continue };
        let script = format!("h.asked = {{ {flag} }} h.serve()");
        let mut stage = Stage::with(&script, server.port);
        let _wire = stage.client(MODERN);
        stage.server_without("dpm.CLIENT_LOCAL_FILES");
        let refusal = stage.refused("clients[1]", "servers[1]");
        assert!(refusal.contains(name), "{refusal}");
    }
}

/// Four rows that take half a second each: MariaDB reports after each second.
fn slow_load(wire: &mut Wire, server: &Server) -> Vec<Vec<u8>> {
    let base = server.database();
    let file = server.folder().join(format!("{base}.txt"));
    std::fs::write(&file, "1\n2\n3\n4\n5\n").expect("a file");
    server.sql(&format!("CREATE TABLE {base}.t (a INT, b INT)"));
    wire.exchange(com::QUERY, b"SET progress_report_time = 1");
    let load = format!(
        "LOAD DATA INFILE '{}' INTO TABLE {base}.t (a) SET b = SLEEP(0.6)",
        file.display()
    );
    wire.exchange(com::QUERY, load.as_bytes())
}

#[test]
fn progress_reports_end_nothing() {
    let server = mariadb();
    let callbacks = "local h = require('harness')
        h.passthrough(nil, { [dpm.MYS_SENDING_PROGRESS] = function(p, id, conn)
          print(('progress %d %d %d'):format(p:stage(), p:max_stage(), p:progress()))
        end })";
    let dropping = "local h = require('harness')
        h.passthrough(nil, { [dpm.MYS_SENDING_PROGRESS] = function() return dpm.DPM_NOPROXY end })";
    for startfile in [PAST_LUA, THROUGH_CALLBACKS, callbacks, dropping] {
        let dpm = Dpm::start(startfile, server);
        let mut wire = Wire::login_extended(dpm.port(), MODERN, EXTENDED);
        let packets = slow_load(&mut wire, server);
        let (last, reports) = packets.split_last().expect("packets");
        assert_eq!(last[0], 0, "{}", last.escape_ascii());
        assert!(reports.iter().all(|packet| is_progress(packet)));
        assert_eq!(reports.is_empty(), startfile == dropping);
        if startfile == callbacks {
            assert!(dpm.count("progress ") > 0);
        }
        assert_eq!(wire.rows("SELECT 5"), [["5"]]);
        dpm.assert_no_errors();
    }
}

#[test]
fn progress_reports_do_not_get_to_those_who_did_not_ask() {
    for watch in [
        "",
        "servers[1]:register(dpm.MYS_SENDING_PROGRESS, function() print('report') end)",
    ] {
        let mut stage = Stage::with(
            "h.asked = { dpm.MARIADB_CLIENT_PROGRESS } h.serve()",
            mariadb().port,
        );
        let mut wire = stage.client(MODERN);
        stage.server_without("dpm.CLIENT_LOCAL_FILES");
        stage.link(1, 1);
        stage.lua(watch);
        let packets = slow_load(&mut wire, mariadb());
        assert_eq!(packets.len(), 1);
        assert_eq!(packets[0][0], 0);
        assert_eq!(stage.dpm.count("report") > 0, !watch.is_empty());
    }
}

/// id, flags (types are sent), the types, and for each row and parameter an indicator and a value.
fn bulk(id: u32, flags: u16) -> Vec<u8> {
    let mut argument = id.to_le_bytes().to_vec();
    argument.extend_from_slice(&flags.to_le_bytes());
    argument.extend_from_slice(&[3, 0, 0xFD, 0]);
    for row in 1..=3u8 {
        argument.extend_from_slice(&[0, row, 0, 0, 0, 0, 1, b'x']);
    }
    argument
}

#[test]
fn bulk_executes() {
    for server in [Some(mariadb()), mariadb11()].into_iter().flatten() {
        let base = server.database();
        server.sql(&format!(
            "CREATE TABLE {base}.t (a INT, b VARCHAR(9), id INT AUTO_INCREMENT PRIMARY KEY)"
        ));
        let run = |port| {
            server.sql(&format!("TRUNCATE TABLE {base}.t"));
            let mut answers = Vec::new();
            for shape in [PLAIN, MODERN] {
                let mut wire = Wire::login_extended(port, shape, EXTENDED);
                for returning in ["", " RETURNING a, b"] {
                    let id = wire.prepare(&format!(
                        "INSERT INTO {base}.t (a, b) VALUES (?, ?){returning}"
                    ));
                    answers.push(wire.exchange(com::STMT_BULK_EXECUTE, &bulk(id, 128)));
                    // With a result of each unit, where there is such a thing.
                    if wire.extended & caps::extended::UNIT_RESULTS != 0 && returning.is_empty() {
                        answers.push(wire.exchange(com::STMT_BULK_EXECUTE, &bulk(id, 128 | 64)));
                        assert_eq!(
                            answers.last().unwrap()[0][0],
                            2,
                            "a resultset of two columns"
                        );
                    }
                }
                assert_eq!(wire.exchange(com::PING, b"")[0][0], 0);
            }
            answers
        };
        let direct = run(server.port);
        assert_eq!(direct[0].len(), 1, "an OK");
        for startfile in [PAST_LUA, THROUGH_CALLBACKS] {
            let dpm = Dpm::start(startfile, server);
            assert_eq!(run(dpm.port()), direct, "{startfile}");
            dpm.assert_no_errors();
        }
    }
}

/// "The last one that was prepared", whose execution is sent without waiting for the answer.
#[test]
fn prepare_and_execute_in_one_go() {
    for server in [Some(mariadb()), mariadb11()].into_iter().flatten() {
        for startfile in [PAST_LUA, THROUGH_CALLBACKS] {
            let dpm = Dpm::start(startfile, server);
            for shape in [PLAIN, MODERN] {
                let mut wire = Wire::login_extended(dpm.port(), shape, EXTENDED);
                for sql in ["SELECT ?", "SELECT nothing FROM nowhere WHERE a = ?"] {
                    let execute = execute_argument(u32::MAX, 0, &[Some(b"x")]);
                    let prepare = [&[com::STMT_PREPARE], sql.as_bytes()].concat();
                    let mut bytes = frames(&prepare, &mut 0);
                    bytes.extend(frames(
                        &[&[com::STMT_EXECUTE], &execute[..]].concat(),
                        &mut 0,
                    ));
                    wire.raw(&bytes);
                    wire.seq = 1;
                    let prepared = wire.packets(com::STMT_PREPARE);
                    wire.seq = 1;
                    let executed = wire.packets(com::STMT_EXECUTE);
                    if sql == "SELECT ?" {
                        assert_eq!(prepared[0][0], 0);
                        assert_eq!(executed[executed.len() - 2], b"\0\0\x01x");
                    } else {
                        assert_eq!((prepared[0][0], executed[0][0]), (0xFF, 0xFF));
                    }
                }
            }
            dpm.assert_no_errors();
        }
    }
}

/// Rows of a statement whose definitions the client is known to have.
#[test]
fn scripts_read_rows_without_definitions() {
    let dpm = Dpm::start(
        "local h = require('harness')
         local statement, rset
         h.passthrough(nil, {
           [dpm.MYS_STMT_PREPARED] = function(s) statement = s end,
           [dpm.MYS_SENDING_FIELDS] = function() end,
           [dpm.MYS_SENT_RSET] = function(r)
             rset = r
             print('fields', r:field_count(), r:fields_follow())
             if not r:fields_follow() then
               for i = 1, statement:columns() do r:add_field(statement:column(i)) end
             end
           end,
           [dpm.MYS_SENT_FIELDS] = function() print('sent fields') end,
           [dpm.MYS_SENDING_ROWS] = function(row)
             print('row', unpack((rset:parse_row_array(row))))
           end,
         })",
        mariadb(),
    );
    let mut wire = Wire::login_extended(dpm.port(), MODERN, EXTENDED);
    let id = wire.prepare("SELECT 7, 'seven'");
    for _ in 0..2 {
        wire.exchange(com::STMT_EXECUTE, &execute_argument(id, 0, &[]));
    }
    assert_eq!(dpm.count("fields\t2\tfalse"), 2);
    assert_eq!(dpm.count("row\t7\tseven"), 2);
    assert_eq!(dpm.count("sent fields"), 3, "with the prepare's");
    dpm.assert_no_errors();
}

both! {
    /// Changes of the session's state, as scripts read them.
    fn session_changes(server) {
        let dpm = Dpm::start(
            "local h = require('harness')
             h.passthrough(nil, { [dpm.MYS_WAIT_CMD] = function(ok)
               local changes = ok.session_changes and ok:session_changes()
               for _, c in ipairs(changes or {}) do
                 print('change', c.type, tostring(c.name), c.value)
               end
             end })",
            server,
        );
        let base = server.database();
        let mut wire = Wire::login_empty(dpm.port(), MODERN);
        wire.query("SET session_track_system_variables = 'sql_mode', session_track_state_change = 1,
                    session_track_transaction_info = 'CHARACTERISTICS', session_track_schema = 1");
        wire.query("SET sql_mode = 'ANSI_QUOTES'");
        wire.exchange(com::INIT_DB, base.as_bytes());
        wire.query("START TRANSACTION");
        for change in [
            "change\t0\tsql_mode\tANSI_QUOTES",
            &format!("change\t1\tnil\t{base}"),
            "change\t2\tnil\t1",
            "change\t4\tnil\tSTART TRANSACTION;",
            "change\t5\tnil\tT_______",
        ] {
            eventually(change, || dpm.count(change) > 0);
        }
        dpm.assert_no_errors();
    }
}

/// An OK with changes of system variables, the way servers write them.
fn tracking_ok(header: u8, message: &str, variables: &[(&str, &str)]) -> Vec<u8> {
    let text = |text: &str| [&[text.len() as u8], text.as_bytes()].concat();
    let mut blocks = Vec::new();
    for (name, value) in variables {
        let data = [text(name), text(value)].concat();
        blocks.extend_from_slice(&[0, data.len() as u8]);
        blocks.extend(data);
    }
    let status = if variables.is_empty() { 0 } else { 0x40 };
    let mut ok = vec![header, 0, 0, 2, status, 0, 0];
    ok.extend(text(message));
    if !variables.is_empty() {
        ok.push(blocks.len() as u8);
        ok.extend(blocks);
    }
    ok
}

#[test]
fn no_server_redirects_a_client() {
    let both = [
        ("redirect_url", "mysql://elsewhere:1"),
        ("autocommit", "ON"),
    ];
    let location = "Location: mysql://[elsewhere]:1/?user=u&ttl=9\n";
    for (opts, goes) in [("nil", false), ("{ allow_redirect = true }", true)] {
        for callbacks in ["", "h.trace('at ')"] {
            let mock = MockServer::new();
            let stage = Stage::with(
                &format!("local c, s = {callbacks} h.passthrough(c, s, {opts})"),
                mock.port,
            );
            let mut wire = Wire::connect(stage.dpm.port());
            let mut server = mock.accept();
            server.write(&crate::support::wire::greeting(MODERN));
            wire.read();
            wire.write(&crate::support::wire::auth_packet(b"", "u", "", MODERN));
            server.read();
            server.write(&tracking_ok(0, location, &both));
            let login = wire.read();
            let plain = tracking_ok(0, "", &both[1..]);
            let whole = tracking_ok(0, location, &both);
            assert_eq!(
                login,
                if goes { whole } else { plain },
                "{opts} {callbacks}"
            );

            wire.capabilities = MODERN;
            wire.command(com::QUERY, b"SET autocommit = 1");
            server.read_command();
            server.write(&tracking_ok(0, "info", &both));
            let kept = if goes { &both[..] } else { &both[1..] };
            assert_eq!(wire.read(), tracking_ok(0, "info", kept));

            wire.command(com::QUERY, b"SELECT 1");
            server.read_command();
            server.write(&[1]);
            server.write(&column("1"));
            server.write(b"\x011");
            server.write(&tracking_ok(0xFE, "", &both[..1]));
            let packets = wire.packets(com::QUERY);
            let kept = if goes { &both[..1] } else { &[] };
            let end = packets.last().unwrap();
            match kept {
                [] => assert_eq!(end[..7], tracking_ok(0xFE, "", kept)[..7]),
                kept => assert_eq!(*end, tracking_ok(0xFE, "", kept)),
            }
            // What a script reads or a client sees, the message of another answer is not touched.
            wire.command(com::QUERY, b"DO 0");
            server.read_command();
            server.write(&tracking_ok(0, location, &[]));
            assert_eq!(wire.read(), tracking_ok(0, location, &[]));
        }
    }
}

#[test]
fn mariadbs_redirect_url() {
    if !Flavour::MariaDb11.available() {
        return;
    }
    let server = Server::start_own(Flavour::MariaDb11, &["--redirect-url=mysql://elsewhere:1"]);
    let tells = |packet: &[u8]| packet.windows(12).any(|bytes| bytes == b"redirect_url");
    // What answers the login.
    let login = |port| {
        let mut wire = Wire::connect(port);
        let greeting = crate::support::wire::Greeting::parse(&wire.read());
        wire.authenticate(&greeting, "empty", "", MODERN);
        wire.read()
    };
    assert!(tells(&login(server.port)), "with the login, too");
    let has_it = |wire: &mut Wire| {
        let answer = wire.exchange(com::QUERY, b"SET redirect_url = 'mysql://other:2'");
        tells(&answer[0])
    };
    let mut direct = Wire::login_empty(server.port, MODERN);
    assert!(has_it(&mut direct), "the server tells it");
    for startfile in [PAST_LUA, THROUGH_CALLBACKS] {
        let dpm = Dpm::start(startfile, &server);
        assert!(!tells(&login(dpm.port())));
        assert!(!has_it(&mut Wire::login_empty(dpm.port(), MODERN)));
        dpm.assert_no_errors();
    }
    let dpm = Dpm::start(
        "require('harness').passthrough(nil, nil, { allow_redirect = true })",
        &server,
    );
    assert!(has_it(&mut Wire::login_empty(dpm.port(), MODERN)));
}

/// No freely available server plugin works as a second factor over TCP, so a mock server is used.
#[test]
fn further_factors_pass() {
    const FACTORS: u32 = MODERN | 0x1000_0000;
    for startfile in ["h.passthrough()", "h.passthrough(h.trace('at '))"] {
        let mock = MockServer::new();
        let stage = Stage::with(startfile, mock.port);
        let mut wire = Wire::connect(stage.dpm.port());
        let mut server = mock.accept();
        server.write(&crate::support::wire::greeting(FACTORS));
        let greeting = crate::support::wire::Greeting::parse(&wire.read());
        assert_eq!(greeting.capabilities & 0x1000_0000, 0x1000_0000);
        wire.write(&crate::support::wire::auth_packet(b"", "u", "", FACTORS));
        server.read();
        let factor = b"\x02authentication_webauthn_client\0challenge\0";
        server.write(factor);
        assert_eq!(wire.read(), factor);
        wire.write(b"proof");
        assert_eq!(server.read(), b"proof");
        server.write(&ok());
        assert_eq!(wire.read(), ok());
        // And again, where the user changes.
        wire.command(com::CHANGE_USER, b"v\0\0\0");
        server.read_command();
        server.write(factor);
        assert_eq!(wire.read(), factor);
        wire.write(b"proof");
        assert_eq!(server.read(), b"proof");
        server.write(&ok());
        assert_eq!(wire.read(), ok());
        stage.dpm.assert_no_errors();
    }
}

/// The synthesised EOF after columns: it has what is known of the server's status.
#[test]
fn an_eof_that_is_made_up_knows_the_transaction() {
    for callbacks in [
        "",
        "s[dpm.MYS_SENT_FIELDS] = function(eof) print('eof', eof:server_status()) end",
    ] {
        let stage = Stage::with(
            &format!(
                "local s = {{}} {callbacks}
                 h.serve(function(client)
                   h.server(function(server)
                     h.let_in(client)
                     h.register(server, s)
                     dpm.proxy_connect(client, server)
                   end, {{ dpm.CLIENT_LOCAL_FILES }})
                 end)"
            ),
            mariadb().port,
        );
        let mut wire = Wire::login_empty(stage.dpm.port(), PLAIN);
        wire.query("START TRANSACTION");
        let packets = wire.exchange(com::QUERY, b"SELECT 1");
        assert_eq!(packets[2], eof(3), "autocommit, and in a transaction");
        wire.query("COMMIT");
        let packets = wire.exchange(com::QUERY, b"SELECT 1");
        assert_eq!(packets[2], eof(2));
        wire.query("SET autocommit = 0");
        let packets = wire.exchange(com::QUERY, b"SELECT 1");
        assert_eq!(packets[2], eof(0));
        if !callbacks.is_empty() {
            // Once the output has paused.
            assert_eq!(stage.dpm.count("eof\t"), 3);
            assert_eq!(stage.dpm.lines("eof\t"), ["3", "2", "0"]);
        }
        stage.dpm.assert_no_errors();
    }
}

both! {
    /// The counts of a prepare have 16 bits: servers refuse what does not fit.
    fn more_parameters_than_can_be_counted(server) {
        for startfile in [PAST_LUA, THROUGH_CALLBACKS] {
            let dpm = Dpm::start(startfile, server);
            let mut wire = Wire::login_empty(dpm.port(), MODERN);
            let sql = format!("DO ?{}", ",?".repeat(65_535));
            let answer = wire.exchange(com::STMT_PREPARE, sql.as_bytes());
            assert_eq!(answer[0][0], 0xFF, "65,536 parameters");
            let sql = format!("DO ?{}", ",?".repeat(65_534));
            let answer = wire.exchange(com::STMT_PREPARE, sql.as_bytes());
            assert_eq!(answer.len(), 1 + 65_535, "65,535 parameters");
            assert_eq!(wire.exchange(com::PING, b"")[0][0], 0);
            dpm.assert_no_errors();
        }
    }
}

/// A server that announces wrong counts cannot be followed: only its own connections are closed.
#[test]
fn a_prepare_whose_count_overflows() {
    let mock = MockServer::new();
    let mut stage = Stage::before(mock.port);
    let mut wire = stage.client(MODERN);
    stage.begin_server("dpm.CLIENT_LOCAL_FILES");
    let mut server = mock.accept_login(MODERN);
    stage.ready();
    stage.link(1, 1);
    wire.command(com::STMT_PREPARE, b"SELECT 65,536 columns");
    server.read_command();
    server.write(&[0, 1, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0]);
    server.write(&column("the first of them"));
    assert_eq!(wire.read()[0], 0);
    stage.until("servers[1]:state() == dpm.MY_CLOSING or servers[1]:close_reason() ~= nil");
    assert!(
        stage
            .lua("return servers[1]:close_reason()")
            .contains("no command")
    );
}
