//! Clients of a pool that ask for the diagnostics of a statement after which another client has got
//! their connection; and what they are told of changes of their sessions.

use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use crate::pool::{login, pool, value};
use crate::support::cli::Cli;
use crate::support::server::Flavour;
use crate::support::wire::{Answer, Wire, caps, com, lenenc};
use crate::support::{Dpm, PASSWORD, Server, USER, all};

const QUESTIONS: &[&str] = &[
    "SHOW WARNINGS",
    "SHOW WARNINGS LIMIT 1",
    "SHOW ERRORS",
    "SHOW COUNT(*) WARNINGS",
    "SELECT @@error_count, @@warning_count AS n",
    "SELECT ROW_COUNT()",
    "SELECT FOUND_ROWS()",
];

fn database(server: &Server) -> String {
    let name = server.database();
    server.sql(&format!(
        "USE {name}; CREATE TABLE three (a INT); INSERT INTO three VALUES (1), (2), (3);
         CREATE TABLE numbers (a INT)"
    ));
    name
}

/// An answer's rows, and its status. (Columns are compared in another test.)
fn rows(wire: &mut Wire, sql: &str) -> (Vec<Vec<Option<Vec<u8>>>>, u16) {
    match wire.query(sql) {
        Answer::Rows { rows, status, .. } => (rows, status),
        other => panic!("{sql}: {other:?}"),
    }
}

/// Another client's statement, for which the only connection is taken.
fn steal(other: &mut Wire) {
    value(other, "SELECT COUNT(*) FROM information_schema.schemata");
}

all! {
    fn what_is_carried_is_answered(server) {
        let database = database(server);
        let dpm = pool(server, 1, "");
        let (mut client, mut other) = (login(&dpm), login(&dpm));
        let mut private = Wire::login_empty(server.port, caps::BASE);
        let set_up = [
            format!("USE {database}"),
            "SET sql_mode = ''".to_string(),
        ];
        for sql in &set_up {
            client.query(sql);
            private.query(sql);
        }
        for statement in [
            "SELECT 1",
            "SELECT * FROM three LIMIT 2",
            "SELECT SQL_CALC_FOUND_ROWS * FROM three LIMIT 1",
            "INSERT INTO numbers VALUES (1), (2)",
            "INSERT INTO numbers VALUES ('a'), ('b'), (3)",
            "DROP TABLE IF EXISTS missing",
            "SELECT * FROM missing",
            "SELECT CAST('x' AS SIGNED) FROM three",
        ] {
            for question in QUESTIONS {
                // Of this alone the server says which rows it has found.
                client.query("SELECT * FROM three");
                private.query("SELECT * FROM three");
                client.query(statement);
                private.query(statement);
                steal(&mut other);
                let got = rows(&mut client, question);
                assert_eq!(got, rows(&mut private, question), "{statement}; {question}");
                // And once more, after the proxy's answer.
                let got = rows(&mut client, "SHOW WARNINGS");
                let direct = rows(&mut private, "SHOW WARNINGS");
                assert_eq!(got, direct, "{statement}; {question}");
            }
        }
    }
}

all! {
    fn what_is_lost_is_refused_and_learnt(server) {
        let database = database(server);
        let dpm = pool(server, 1, "");
        let (mut client, mut other) = (login(&dpm), login(&dpm));
        client.query(&format!("USE {database}"));
        client.query("INSERT INTO numbers VALUES (1)");
        steal(&mut other);
        let Answer::Err(1105, state, text) = client.query("SELECT ROW_COUNT() + 0") else {
            panic!("it cannot be known");
        };
        assert!(state == "HY000" && text.starts_with("diagnostics-wanted: ROW_COUNT()"), "{text}");
        // It is an error like others.
        let Answer::Rows { rows, .. } = client.query("SHOW WARNINGS") else {
            panic!("the refusal is known");
        };
        assert_eq!(rows[0][1].as_deref(), Some(&b"1105"[..]));
        // After a statement like that one the connection is kept for the next.
        client.query("INSERT INTO numbers VALUES (2)");
        other.command(com::QUERY, b"SELECT 1");
        assert_eq!(value(&mut client, "SELECT ROW_COUNT() + 0"), "1");
        assert!(matches!(other.answer(), Answer::Rows { .. }));
    }
}

all! {
    fn others_warnings_are_never_seen(server) {
        let database = database(server);
        let dpm = pool(server, 1, "");
        let (mut client, mut other) = (login(&dpm), login(&dpm));
        for wire in [&mut client, &mut other] {
            wire.query(&format!("USE {database}"));
            wire.query("SET sql_mode = ''");
        }
        for sql in ["SELECT 1", "SET @@sql_safe_updates = 0", "DO 1", "BEGIN", "COMMIT"] {
            other.query("INSERT INTO numbers VALUES ('secret')");
            client.query(sql);
            let Answer::Rows { rows, .. } = client.query("SHOW WARNINGS") else {
                panic!("{sql}");
            };
            assert!(rows.is_empty(), "{sql}: {rows:?}");
            // Of MySQL's COM_PING the end announces warnings that are kept.
            other.query("INSERT INTO numbers VALUES ('secret')");
            let ok = client.exchange(com::PING, b"");
            assert_eq!(ok[0][5..7], [0, 0], "{:?}", ok[0]);
        }
    }
}

all! {
    fn command_line_clients_show_their_warnings(server) {
        let database = database(server);
        let users = format!(
            "users = {{ {USER} = {{ password = '{PASSWORD}' }}, ann = {{ password = 'p' }} }}"
        );
        let dpm = pool(server, 1, &users);
        let script = format!(
            "USE {database};\n\\W\nSET sql_mode = '';\nINSERT INTO numbers VALUES ('x'), ('y');\n\
             SELECT 1 AS one;\nSELECT CAST('z' AS SIGNED) AS n FROM three LIMIT 1;\nshow warnings;\n\
             DROP TABLE IF EXISTS missing;\nSELECT * FROM missing;\nshow errors;\n"
        );
        let run = |port: u16| {
            let cli = Cli::interactive(server.flavour, port).args(["-f", "--table"]);
            // MariaDB 11's client demands TLS otherwise.
            let cli = match server.flavour {
                Flavour::MySql => cli,
                _ => cli.arg("--skip-ssl"),
            };
            let done = cli.stdin(script.clone()).run();
            (done.out(), done.err())
        };
        let over = AtomicBool::new(false);
        std::thread::scope(|scope| {
            let thief = scope.spawn(|| {
                let mut other = login(&dpm);
                while !over.load(Ordering::Relaxed) {
                    steal(&mut other);
                }
            });
            let got = run(dpm.port());
            over.store(true, Ordering::Relaxed);
            thief.join().expect("the thief");
            server.sql(&format!("TRUNCATE {database}.numbers"));
            assert_eq!(got, run(server.port));
        });
    }
}

/// The changes in an OK, as they travel.
fn changes(ok: &[u8]) -> Vec<u8> {
    let mut at = 1;
    for _ in 0..2 {
        at += lenenc(&ok[at..]).1;
    }
    let status = u16::from_le_bytes([ok[at], ok[at + 1]]);
    at += 4;
    if status & 0x4000 == 0 {
        assert!(ok.len() <= at + 1, "{ok:?}");
        return Vec::new();
    }
    let (message, size) = lenenc(&ok[at..]);
    at += size + usize::try_from(message).unwrap();
    at += lenenc(&ok[at..]).1;
    ok[at..].to_vec()
}

fn report(wire: &mut Wire, sql: &str) -> Vec<u8> {
    match wire.query(sql) {
        Answer::Ok(ok) => changes(&ok),
        other => panic!("{sql}: {other:?}"),
    }
}

fn login_with_reports(dpm: &Dpm) -> Wire {
    Wire::login_as(dpm.port(), "ann", "p", caps::BASE | caps::SESSION_TRACK)
}

all! {
    fn clients_choose_their_reports(server) {
        let dpm = pool(server, 1, "");
        let mut client = login_with_reports(&dpm);
        let mut other = login_with_reports(&dpm);
        let mut bare = login(&dpm);
        let zone = b"\x00\x11\x09time_zone\x06+01:00";
        // As servers do by default.
        assert_eq!(report(&mut client, "SET time_zone = '+01:00', sql_mode = ''"), zone);
        assert_eq!(report(&mut client, "USE test"), b"\x01\x05\x04test");
        assert_eq!(report(&mut client, "SET @@session_track_schema = 0"), b"");
        assert_eq!(report(&mut client, "USE test"), b"");
        assert_eq!(report(&mut other, "USE test"), b"\x01\x05\x04test");
        // Mixed with others, which reach the server.
        assert_eq!(
            report(&mut client, "SET session_track_state_change = ON, time_zone = '+01:00'"),
            [&zone[..], b"\x02\x011"].concat()
        );
        assert_eq!(value(&mut client, "SELECT @@session_track_schema"), "0");
        assert_eq!(value(&mut other, "SELECT @@session_track_schema"), "1");
        let Answer::Rows { rows, .. } = client.query("SHOW VARIABLES LIKE 'session_track_sta%'") else {
            panic!("rows");
        };
        assert_eq!(rows[0][1].as_deref(), Some(&b"ON"[..]));
        let Answer::Err(1105, _, text) = client.query("SET @a = @@session_track_schema") else {
            panic!("it is refused");
        };
        assert!(text.starts_with("session-track: "), "{text}");
        let wrong = client.query("SET session_track_schema = 7");
        assert!(matches!(wrong, Answer::Err(1231, ..)), "{wrong:?}");
        // A client that has not asked for reports gets none, and no flag.
        assert_eq!(report(&mut bare, "SET time_zone = '+02:00'"), b"");
        // A reset takes back what was set.
        client.exchange(com::RESET_CONNECTION, b"");
        assert_eq!(report(&mut client, "USE test"), b"\x01\x05\x04test");
    }
}

all! {
    fn a_command_that_comes_while_its_session_is_read_waits(server) {
        let database = database(server);
        let dpm = pool(server, 2, "");
        let (mut one, mut two) = (login(&dpm), login(&dpm));
        one.timeout(Duration::from_secs(20));
        one.query(&format!("USE {database}"));
        one.query("SET sql_mode = '', time_zone = '+03:00'");
        for _ in 0..20 {
            // Both take the connections from each other all the time.
            one.command(com::QUERY, b"INSERT INTO numbers VALUES ('x')");
            two.command(com::QUERY, b"SELECT 1");
            assert!(matches!(one.answer(), Answer::Ok(_)));
            assert!(matches!(two.answer(), Answer::Rows { .. }));
            two.command(com::QUERY, b"SELECT * FROM missing");
            one.command(com::QUERY, b"SHOW COUNT(*) WARNINGS");
            let Answer::Rows { rows, .. } = one.answer() else {
                panic!("rows");
            };
            assert_eq!(rows[0][0].as_deref(), Some(&b"1"[..]));
            two.answer();
            assert_eq!(value(&mut one, "SELECT @@time_zone"), "+03:00");
        }
    }
}

/// Executes a statement without parameters, which answers with one column and one row or none.
fn execute(wire: &mut Wire, id: u32) -> Vec<u8> {
    let mut argument = id.to_le_bytes().to_vec();
    argument.extend([0, 1, 0, 0, 0]);
    wire.command(com::STMT_EXECUTE, &argument);
    let mut answer = vec![wire.read()];
    if matches!(answer[0][0], 0 | 0xFF) {
        return answer.remove(0);
    }
    // The columns, the rows, and an EOF after each.
    let mut ends = 0;
    while ends < 2 {
        let packet = wire.read();
        ends += u8::from(packet[0] == 0xFE);
        answer.push(packet);
    }
    answer.remove(answer.len() - 2)
}

all! {
    /// Prepared statements ask, too: for what is there they get it, for what is gone an error, and then it is kept.
    fn prepared_statements_that_ask(server) {
        let database = database(server);
        let dpm = pool(server, 1, "");
        let (mut client, mut other) = (login(&dpm), login(&dpm));
        client.query(&format!("USE {database}"));
        let prepare = |client: &mut Wire, sql: &str| {
            client.command(com::STMT_PREPARE, sql.as_bytes());
            let head = client.read();
            assert_eq!(head[0], 0, "{sql}");
            for _ in 0..=head[5] {
                if head[5] > 0 {
                    client.read();
                }
            }
            u32::from_le_bytes(head[1..5].try_into().unwrap())
        };
        let asks = prepare(&mut client, "SELECT ROW_COUNT()");
        let deletes = prepare(&mut client, "DELETE FROM numbers LIMIT 2");
        let row = |count: u8| vec![0, 0, count, 0, 0, 0, 0, 0, 0, 0];
        let is_refused = |answer: &[u8]| {
            answer[0] == 0xFF && answer[9..].starts_with(b"diagnostics-wanted: ROW_COUNT()")
        };
        // A text, and a statement of the binary protocol.
        client.query("INSERT INTO numbers VALUES (1), (2)");
        assert_eq!(execute(&mut client, asks), row(2));
        client.query("INSERT INTO numbers VALUES (1), (2), (3)");
        steal(&mut other);
        let answer = execute(&mut client, asks);
        assert!(is_refused(&answer), "{}", String::from_utf8_lossy(&answer));
        client.query("INSERT INTO numbers VALUES (1), (2), (3)");
        other.command(com::QUERY, b"SELECT 1");
        assert_eq!(execute(&mut client, asks), row(3), "it has been kept");
        assert!(matches!(other.answer(), Answer::Rows { .. }));
        assert_eq!(execute(&mut client, deletes)[0], 0);
        steal(&mut other);
        let answer = execute(&mut client, asks);
        assert!(is_refused(&answer), "{}", String::from_utf8_lossy(&answer));
        assert_eq!(execute(&mut client, deletes)[0], 0);
        other.command(com::QUERY, b"SELECT 1");
        assert_eq!(execute(&mut client, asks), row(2), "it has been kept");
        assert!(matches!(other.answer(), Answer::Rows { .. }));
    }
}
