//! Every command, byte for byte: the same conversation runs with the server directly and through
//! the proxy, once without Lua and once with callbacks for every state, and the answers must be the
//! same packets.

use crate::support::exchange::execute_argument;
use crate::support::wire::{Wire, caps, com, native_answer};
use crate::support::{Dpm, Flavour, Server, both};

/// A conversation as the client saw it: a heading for each command, and the packets of its answer.
pub type Record = Vec<(String, Vec<Vec<u8>>)>;

/// The capabilities that change the shape of answers.
const SHAPES: [u32; 3] = [
    caps::BASE | caps::MULTI,
    caps::BASE | caps::MULTI | caps::DEPRECATE_EOF,
    caps::BASE | caps::MULTI | caps::DEPRECATE_EOF | caps::SESSION_TRACK,
];

struct Talk {
    wire: Wire,
    record: Record,
}

impl Talk {
    fn say(&mut self, heading: &str, command: u8, argument: &[u8]) -> &[Vec<u8>] {
        let packets = self.wire.exchange(command, argument);
        self.record.push((heading.to_owned(), packets));
        &self.record.last().unwrap().1
    }

    fn query(&mut self, sql: &str) {
        self.say(sql, com::QUERY, sql.as_bytes());
    }

    /// Runs a command whose answer changes from moment to moment: only its shape is kept.
    fn shape(&mut self, heading: &str, command: u8, argument: &[u8]) {
        let packets = self.wire.exchange(command, argument);
        let first = packets[0].iter().take(6).copied().collect();
        self.record.push((heading.to_owned(), vec![first]));
    }
}

pub fn talk(server: &Server, port: u16, shape: u32, base: &str) -> Record {
    talk_over(server, Wire::login_empty(port, shape), base, &[])
}

/// The same over a connection of any kind, which begins with these queries.
pub fn talk_over(server: &Server, wire: Wire, base: &str, first: &[&str]) -> Record {
    let mut talk = Talk {
        wire,
        record: Vec::new(),
    };
    let t = &mut talk;
    for sql in first {
        t.query(sql);
    }
    t.say("ping", com::PING, b"");
    t.say("init db", com::INIT_DB, base.as_bytes());
    t.say("init db, unknown", com::INIT_DB, b"nowhere");
    t.query("SET NAMES utf8mb4");
    t.query("DROP TABLE IF EXISTS t");
    t.query("CREATE TABLE t (id INT PRIMARY KEY AUTO_INCREMENT, name VARCHAR(30) DEFAULT 'x', n DECIMAL(10,2))");
    t.query("INSERT INTO t (name, n) VALUES ('', 1.5), (NULL, NULL), ('three', -3)");
    t.query("SELECT * FROM t ORDER BY id");
    t.query("SELECT * FROM t WHERE id < 0");
    t.query("SELECT name, id FROM t ORDER BY id");
    t.query("SELECT 1; SELECT 'two' FROM t; DO 0; SELECT 3");
    t.query("SELECT 1; SELECT nothing; SELECT 3");
    t.query("");
    t.query("SELECT REPEAT('x', 100000), REPEAT('y', 255), NULL");
    t.query("DROP PROCEDURE IF EXISTS p");
    t.query("CREATE PROCEDURE p(OUT o INT) BEGIN SELECT 'a'; SELECT id FROM t ORDER BY id; SET o = 5; END");
    t.query("CALL p(@o)");
    t.query("BEGIN");
    t.query("UPDATE t SET n = n + 1");
    t.query("ROLLBACK");

    t.say("field list", com::FIELD_LIST, b"t\0%");
    t.say("field list, unknown", com::FIELD_LIST, b"nowhere\0");
    t.shape("statistics", com::STATISTICS, b"");
    t.shape("process info", com::PROCESS_INFO, b"");
    t.shape(
        "process kill",
        com::PROCESS_KILL,
        &0xFFFF_FF00u32.to_le_bytes(),
    );
    t.shape("debug", com::DEBUG, b"");
    t.say("refresh", com::REFRESH, &[0x04]);
    t.say("multi statements off", com::SET_OPTION, &[1, 0]);
    t.query("SELECT 1; SELECT 2");
    t.say("multi statements on", com::SET_OPTION, &[0, 0]);
    t.say("create db", com::CREATE_DB, format!("{base}_x").as_bytes());
    t.say("drop db", com::DROP_DB, format!("{base}_x").as_bytes());

    prepared(t, server);
    t.say("reset connection", com::RESET_CONNECTION, b"");
    t.query("SELECT @o");
    change_user(t, server, base);
    t.query("SELECT DATABASE(), CURRENT_USER()");
    t.say("quit", com::QUIT, b"");
    assert!(t.wire.closed(), "COM_QUIT ends the connection");
    talk.record
}

fn prepared(t: &mut Talk, server: &Server) {
    let prepare = |t: &mut Talk, sql: &str| {
        t.say(sql, com::STMT_PREPARE, sql.as_bytes());
        // The number differs from connection to connection.
        let head = &mut t.record.last_mut().unwrap().1[0];
        let number = u32::from_le_bytes([head[1], head[2], head[3], head[4]]);
        head[1..5].fill(0);
        number
    };
    let all = prepare(
        t,
        "SELECT id, name, n FROM t WHERE id > ? AND ? IS NOT NULL ORDER BY id",
    );
    let both: [Option<&[u8]>; 2] = [Some(b"0"), Some(b"yes")];
    t.say(
        "execute",
        com::STMT_EXECUTE,
        &execute_argument(all, 0, &both),
    );
    t.say(
        "execute, a NULL",
        com::STMT_EXECUTE,
        &execute_argument(all, 0, &[Some(b"0"), None]),
    );
    t.say("reset", com::STMT_RESET, &all.to_le_bytes());
    t.say(
        "long data",
        com::STMT_SEND_LONG_DATA,
        &[&all.to_le_bytes()[..], &[1, 0], b"long"].concat(),
    );
    t.say(
        "execute after long data",
        com::STMT_EXECUTE,
        &execute_argument(all, 0, &both),
    );
    t.say("reset again", com::STMT_RESET, &all.to_le_bytes());

    t.say(
        "execute with a cursor",
        com::STMT_EXECUTE,
        &execute_argument(all, 1, &both),
    );
    let fetch = |rows: u32| [all.to_le_bytes(), rows.to_le_bytes()].concat();
    t.say("fetch 2", com::STMT_FETCH, &fetch(2));
    t.say("fetch the rest", com::STMT_FETCH, &fetch(100));
    t.shape("fetch too much", com::STMT_FETCH, &fetch(1));
    t.say("close", com::STMT_CLOSE, &all.to_le_bytes());
    t.shape(
        "execute what is closed",
        com::STMT_EXECUTE,
        &execute_argument(all, 0, &both),
    );

    let columns_only = prepare(t, "SELECT id, name, n FROM t WHERE id < 0");
    t.say(
        "execute without rows",
        com::STMT_EXECUTE,
        &execute_argument(columns_only, 0, &[]),
    );
    t.say(
        "execute without rows, with a cursor",
        com::STMT_EXECUTE,
        &execute_argument(columns_only, 1, &[]),
    );
    t.say(
        "fetch nothing",
        com::STMT_FETCH,
        &[columns_only.to_le_bytes(), 5u32.to_le_bytes()].concat(),
    );
    prepare(t, "SET @p = ?");
    let none = prepare(t, "DO 0");
    t.say(
        "execute without a result",
        com::STMT_EXECUTE,
        &execute_argument(none, 0, &[]),
    );
    let call = prepare(t, "CALL p(?)");
    // MySQL answers with the OUT parameter's row too.
    t.say(
        "execute a call",
        com::STMT_EXECUTE,
        &execute_argument(call, 0, &[Some(b"1")]),
    );
    t.say(
        "execute a call with a cursor",
        com::STMT_EXECUTE,
        &execute_argument(call, 1, &[Some(b"1")]),
    );
    t.say("a syntax error", com::STMT_PREPARE, b"SELEKT ?");
    if server.flavour.is_mariadb() {
        // "The last prepared one", which did not come about.
        let last = execute_argument(u32::MAX, 0, &[]);
        t.say("execute the last one", com::STMT_EXECUTE, &last);
    }
}

/// COM_CHANGE_USER, with the AuthSwitch that the servers answer with.
fn change_user(t: &mut Talk, server: &Server, base: &str) {
    let plugin: &[u8] = match server.flavour {
        Flavour::MariaDb | Flavour::MariaDb11 => b"mysql_native_password",
        Flavour::MySql => b"caching_sha2_password",
    };
    let argument = [b"empty\0\0", base.as_bytes(), b"\0\x2d\0", plugin, b"\0"].concat();
    t.wire.command(com::CHANGE_USER, &argument);
    let mut answer = t.wire.read();
    let mut heads = vec![answer[0]];
    if answer[0] == 0xFE {
        t.wire.write(b"");
        answer = t.wire.read();
        heads.push(answer[0]);
    }
    t.record.push(("change user".into(), vec![heads, answer]));
    if server.flavour.is_mariadb() {
        let argument = [
            b"happy\0\x14",
            &[7u8; 20][..],
            b"\0\x2d\0mysql_native_password\0",
        ]
        .concat();
        t.wire.command(com::CHANGE_USER, &argument);
        let switch = t.wire.read();
        assert_eq!(switch[0], 0xFE, "MariaDB sends a nonce of its own");
        let nonce = &switch[switch.len() - 21..switch.len() - 1];
        t.wire
            .write(&native_answer(crate::support::PASSWORD, nonce));
        let answer = t.wire.read();
        t.record
            .push(("change user with a password".into(), vec![answer]));
    }
}

/// Compares, and says where the first difference is.
pub fn same(direct: &Record, through: &Record, how: &str) {
    for (expected, got) in direct.iter().zip(through) {
        assert_eq!(expected.0, got.0, "{how}");
        for (at, (a, b)) in expected.1.iter().zip(&got.1).enumerate() {
            assert!(
                a == b,
                "{how}: {}: packet {at} differs:\n{}\n{}",
                expected.0,
                a.escape_ascii()
                    .to_string()
                    .chars()
                    .take(500)
                    .collect::<String>(),
                b.escape_ascii()
                    .to_string()
                    .chars()
                    .take(500)
                    .collect::<String>(),
            );
        }
        assert_eq!(
            expected.1.len(),
            got.1.len(),
            "{how}: {}: packets",
            expected.0
        );
    }
    assert_eq!(direct.len(), through.len(), "{how}");
}

fn compare(server: &Server, startfile: &str, how: &str) {
    let dpm = Dpm::start(startfile, server);
    for shape in SHAPES {
        let base = server.database();
        let direct = talk(server, server.port, shape, &base);
        server.sql(&format!("DROP DATABASE {base}; CREATE DATABASE {base}"));
        let through = talk(server, dpm.port(), shape, &base);
        same(&direct, &through, how);
    }
    dpm.wait_until_idle();
    dpm.assert_no_errors();
}

both! {
    fn every_command_past_lua(server) {
        compare(server, "require('harness').passthrough()", "past Lua");
    }
}

both! {
    fn every_command_through_callbacks(server) {
        compare(
            server,
            "local h = require('harness')
             local client, server = h.trace('at ')
             h.passthrough(client, server)",
            "through callbacks",
        );
    }
}

both! {
    /// With any callbacks, packets without a callback are still streamed.
    fn every_command_with_one_callback(server) {
        for state in ["MYS_SENDING_ROWS", "MYS_WAIT_CMD", "MYS_SENT_FIELDS"] {
            compare(
                server,
                &format!("require('harness').passthrough(nil, {{ [dpm.{state}] = function() end }})"),
                state,
            );
        }
        for state in ["MYC_SENT_CMD", "MYC_WAITING"] {
            compare(
                server,
                &format!("require('harness').passthrough({{ [dpm.{state}] = function() end }})"),
                state,
            );
        }
    }
}

both! {
    /// Packets that Lua has read and written again are what the server sent.
    fn every_command_rewired(server) {
        compare(
            server,
            "local h = require('harness')
             local client, server = {}, {}
             local function rewire(state)
               server[state] = function(packet, id, conn)
                 local peer = h.pairs[conn:remote_id()]
                 if not peer then return end
                 dpm.wire_packet(peer[1], packet)
                 return dpm.DPM_NOPROXY
               end
             end
             for _, name in ipairs { 'MYS_SENDING_FIELDS', 'MYS_SENDING_ROWS', 'MYS_SENT_RSET' } do
               rewire(dpm[name])
             end
             client[dpm.MYC_SENT_CMD] = function(cmd, id, conn)
               local s = h.pairs[id][2]
               if cmd:command() == dpm.COM_QUERY then
                 dpm.wire_packet(s, cmd)
                 return dpm.DPM_NOPROXY
               end
             end
             h.passthrough(client, server)",
            "rewired",
        );
    }
}

both! {
    /// Several commands in one write: the answers come in order.
    fn pipelined_commands(server) {
        for startfile in [
            "require('harness').passthrough()",
            "local h = require('harness') h.passthrough(h.trace(''))",
        ] {
            let dpm = Dpm::start(startfile, server);
            let mut wire = Wire::login_empty(dpm.port(), SHAPES[1]);
            let mut bytes = Vec::new();
            for number in 0..100 {
                let sql = format!("\x03SELECT {number}");
                bytes.extend(crate::support::wire::frames(sql.as_bytes(), &mut 0));
                bytes.extend(crate::support::wire::frames(&[com::PING], &mut 0));
            }
            bytes.extend(crate::support::wire::frames(&[com::QUIT], &mut 0));
            wire.raw(&bytes);
            for number in 0..100 {
                wire.seq = 1;
                let answer = wire.packets(com::QUERY);
                let row = &answer[answer.len() - 2];
                assert_eq!(&row[1..], number.to_string().as_bytes());
                wire.seq = 1;
                assert_eq!(wire.packets(com::PING)[0][0], 0);
            }
            assert!(wire.closed());
            dpm.wait_until_idle();
        }
    }
}

both! {
    /// COM_BINLOG_DUMP: an endless stream, cut by the client.
    fn binlog_dump(server) {
        let name = server.sql(match server.flavour {
            Flavour::MariaDb | Flavour::MariaDb11 => "SHOW MASTER STATUS",
            Flavour::MySql => "SHOW BINARY LOG STATUS",
        });
        let name = name.split('\t').next().unwrap().to_owned();
        for startfile in [
            "require('harness').passthrough()",
            "local h = require('harness') h.passthrough(h.trace(''))",
        ] {
            let dpm = Dpm::start(startfile, server);
            let mut wire = Wire::login_empty(dpm.port(), SHAPES[0]);
            wire.exchange(com::QUERY, b"SET @source_binlog_checksum = 'NONE', @master_binlog_checksum = 'NONE'");
            let register = [&77u32.to_le_bytes()[..], &[0, 0, 0], &[0, 0], &[0; 4], &[0; 4]].concat();
            let answer = wire.exchange(com::REGISTER_SLAVE, &register);
            assert_eq!(answer[0][0], 0, "{}", String::from_utf8_lossy(&answer[0]));
            let dump = [&4u32.to_le_bytes()[..], &[0, 0], &77u32.to_le_bytes(), name.as_bytes()].concat();
            wire.command(com::BINLOG_DUMP, &dump);
            // A rotate event that names the file comes first, the format description next.
            let first = wire.read();
            assert_eq!(first[0], 0, "{}", String::from_utf8_lossy(&first));
            assert_eq!(first[5], 4, "a rotate event");
            assert_eq!(wire.read()[5], 15, "a format description");
            drop(wire);
            dpm.wait_until_idle();
        }
    }
}
