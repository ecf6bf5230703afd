//! Each demo does what its header says: those with more than one server, or one for many clients.

use std::time::Duration;

use mysql::prelude::Queryable as _;

use crate::support::dpm::Launch;
use crate::support::exchange::execute_argument;
use crate::support::wire::{Answer, Wire, caps, com};
use crate::support::{
    self, Cli, Dpm, Flavour, Server, USER, both, connect_as, eventually, mariadb, process, python,
};

const PLAIN: u32 = caps::BASE | caps::MULTI;
const MODERN: u32 = caps::BASE | caps::MULTI | caps::DEPRECATE_EOF;

/// Both mirrors send writes to both servers, and reads to one.
#[track_caller]
fn check_mirror(server: &Server, demo: &str, login: fn(u16, u32) -> Wire) {
    let second = Server::start_own(Flavour::MariaDb, &[]);
    let base = server.database();
    server.sql(&format!(
        "CREATE TABLE {base}.t (id INT); CREATE TABLE {base}.only_here (id INT)"
    ));
    second.sql(&format!(
        "CREATE DATABASE IF NOT EXISTS {base}; CREATE TABLE {base}.t (id INT)"
    ));
    let dpm = Launch::demo(demo, server).server(&second).start();
    let port = dpm.listening();
    let files = dpm.open_files();

    let statements = format!("USE {base}; INSERT INTO t VALUES (1), (2); SELECT COUNT(*) FROM t");
    assert_eq!(
        Cli::query(server.flavour, port, &statements),
        "2\n",
        "one answer"
    );
    for each in [server, &second] {
        eventually("the rows are in both", || {
            each.sql(&format!("SELECT COUNT(*) FROM {base}.t")) == "2\n"
        });
    }
    dpm.line("mirror of client");
    let mut wire = login(port, MODERN);
    let insert = format!("INSERT INTO {base}.only_here VALUES (1)");
    assert!(matches!(wire.query(&insert), Answer::Ok(_)));
    dpm.line("1146");
    // Reads go only to the first server, which alone has this table.
    let failures = dpm.count("1146");
    assert_eq!(
        wire.rows(&format!("SELECT * FROM {base}.only_here")),
        [["1"]]
    );
    assert_eq!(dpm.count("1146"), failures);
    // So are prepared statements.
    let mut conn = support::connect(port);
    conn.exec_drop(format!("INSERT INTO {base}.t VALUES (?)"), (3,))
        .unwrap();
    assert_eq!(server.sql(&format!("SELECT COUNT(*) FROM {base}.t")), "3\n");
    assert_eq!(second.sql(&format!("SELECT COUNT(*) FROM {base}.t")), "2\n");
    drop(conn);
    // A transaction runs in both.
    for sql in [
        "BEGIN".to_owned(),
        format!("DELETE FROM {base}.t"),
        "ROLLBACK".to_owned(),
    ] {
        assert!(matches!(wire.query(&sql), Answer::Ok(_)), "{sql}");
    }
    assert_eq!(second.sql(&format!("SELECT COUNT(*) FROM {base}.t")), "2\n");
    // When a client leaves in the middle of a query, both connections are closed.
    wire.command(com::QUERY, b"DO SLEEP(1)");
    drop(wire);
    dpm.wait_for_open_files(files);

    // Without its mirror the server goes on.
    let mut wire = login(port, MODERN);
    assert_eq!(wire.rows("SELECT 1"), [["1"]]);
    second.kill();
    assert!(matches!(wire.query("DO 2"), Answer::Ok(_)));
    assert_eq!(wire.rows("SELECT 2"), [["2"]]);
    let mut late = login(port, MODERN);
    assert_eq!(late.rows("SELECT 3"), [["3"]]);
    dpm.line("no mirror: ERROR 2003");
    drop((wire, late));
    dpm.wait_for_open_files(files);
}

/// The trick of the announcement: with one server for both each row is there twice.
#[track_caller]
fn check_magic(server: &Server, demo: &str, login: fn(u16, u32) -> Wire) {
    let base = server.database();
    let dpm = Launch::demo(demo, server).start();
    let port = dpm.listening();
    server.sql(&format!("CREATE TABLE {base}.blah2 (hello INT)"));
    let mut wire = login(port, MODERN);
    wire.exchange(com::INIT_DB, base.as_bytes());
    assert!(matches!(
        wire.query("INSERT INTO blah2 VALUES (1)"),
        Answer::Ok(_)
    ));
    eventually("two rows", || {
        wire.rows("SELECT * FROM blah2") == [["1"], ["1"]]
    });
    let list = wire.rows("SHOW FULL PROCESSLIST");
    let mine = list
        .iter()
        .filter(|row| [USER, "empty"].contains(&&*row[1]) && row[3] == base)
        .count();
    assert_eq!(mine, 2, "two connections, in the same database: {list:?}");
}

both! {
    fn mirror(server) {
        check_mirror(server, "mirror", Wire::login_empty);
        check_magic(server, "mirror", Wire::login_empty);
    }
}

both! {
    fn mirror_task(server) {
        check_mirror(server, "mirror_task", Wire::login);
        check_magic(server, "mirror_task", Wire::login);
    }
}

both! {
    fn slowlog_task(server) {
        let dpm = Launch::demo("slowlog_task", server).arg("200ms").start();
        let port = dpm.listening();
        let files = dpm.open_files();
        let mut wires = [Wire::login(port, PLAIN), Wire::login(port, MODERN)];
        for wire in &mut wires {
            assert_eq!(wire.rows("SELECT SLEEP(0.3)"), [["0"]]);
            assert_eq!(wire.rows("SELECT 'quick'"), [["quick"]]);
            assert!(matches!(wire.query("SELEKT"), Answer::Err(1064, ..)));
            assert!(matches!(wire.query("SET @a = 5"), Answer::Ok(_)));
            assert_eq!(wire.rows("SELECT @a"), [["5"]], "the server's own session");
        }
        dpm.line("(1 times");
        let told = dpm.line("(2 times");
        assert!(told.ends_with(" in all): SELECT SLEEP(?)"), "{told}");
        assert_eq!(dpm.count("quick") + dpm.count("SELECT ?"), 0, "what is quick is not told");
        // Prepared statements, long data, and another user's session pass.
        let mut conn = support::connect(port);
        assert_eq!(conn.exec_first::<i64, _, _>("SELECT ? + 1", (4,)).unwrap(), Some(5));
        drop(conn);
        let said = python(port, "
with connect() as conn, conn.cursor() as cursor:
    cursor.execute('SELECT %s', ('it\\'s',))
    print(cursor.fetchone()[0])
    conn.select_db('test')
    cursor.execute('SELECT DATABASE()')
    print(cursor.fetchone()[0])
");
        assert_eq!(said, "it's\ntest\n");
        // Pieces of long data have no answer, and none is lost.
        let id = wires[1].prepare("SELECT LENGTH(?), ?");
        for piece in 0..500_u32 {
            let argument = [&id.to_le_bytes()[..], &[0, 0], format!("{piece:08}").as_bytes()].concat();
            wires[1].command(com::STMT_SEND_LONG_DATA, &argument);
        }
        let answer = wires[1].exchange(com::STMT_EXECUTE, &execute_argument(id, 0, &[None, Some(b"after")]));
        assert!(answer.iter().any(|packet| packet.windows(2).any(|length| length == 4000_u16.to_le_bytes())));
        assert!(answer.iter().any(|packet| packet.ends_with(b"after")), "{answer:?}");
        wires[1].exchange(com::STMT_CLOSE, &id.to_le_bytes());
        assert_eq!(wires[0].change_user(USER, support::PASSWORD)[0], 0);
        assert_eq!(wires[0].rows("SELECT @a IS NULL"), [["1"]]);
        let [first, mut killed] = wires;
        drop(first);
        let _ = killed.query("KILL CONNECTION_ID()");
        assert!(!matches!(killed.try_read(), Ok(packet) if packet[0] == 0));
        drop(killed);
        dpm.wait_for_open_files(files);
    }
}

both! {
    fn coalesce(server) {
        let base = server.database();
        server.sql(&format!("USE {base}; CREATE TABLE t (id INT) ENGINE=InnoDB; INSERT INTO t VALUES (1)"));
        let dpm = Launch::demo("coalesce", server).start();
        let port = dpm.listening();
        let files = dpm.open_files();
        let sleeps = |text: &str| server.running(text);
        let mut wires: Vec<Wire> = (0..6)
            .map(|n| Wire::login(port, if n % 2 == 0 { PLAIN } else { MODERN })).collect();
        for wire in &mut wires {
            wire.exchange(com::INIT_DB, base.as_bytes());
        }

        // One query for all, and all have its rows.
        let slow = "SELECT SLEEP(3), 'x', NULL FROM t";
        for wire in &mut wires {
            wire.command(com::QUERY, slow.as_bytes());
        }
        let mut running = 0;
        eventually("it runs", || {
            running = sleeps(slow);
            running > 0
        });
        assert_eq!(running, 1);
        for wire in &mut wires {
            let Answer::Rows { rows, .. } = wire.answer() else { panic!("rows") };
            assert_eq!(rows, [[Some(b"0".to_vec()), Some(b"x".to_vec()), None]]);
        }

        // The first one leaves, or hangs up: the others still get theirs.
        let other = "SELECT SLEEP(3), 'y'";
        let mut first = Wire::login(port, MODERN);
        first.exchange(com::INIT_DB, base.as_bytes());
        first.command(com::QUERY, other.as_bytes());
        eventually("it runs", || sleeps(other) == 1);
        wires[1].command(com::QUERY, other.as_bytes());
        wires[2].command(com::QUERY, other.as_bytes());
        dpm.settle();
        drop(first);
        let gone = wires.pop().unwrap();
        drop(gone);
        for at in [1, 2] {
            let Answer::Rows { rows, .. } = wires[at].answer() else { panic!("rows") };
            assert_eq!(rows, [[Some(b"0".to_vec()), Some(b"y".to_vec())]]);
        }

        // If the query is killed, or its connection, only its own client is affected, and none hangs.
        for (how, seconds) in [("KILL QUERY", 5), ("KILL", 5)] {
            let doomed = format!("SELECT '{how}' FROM {base}.t WHERE SLEEP({seconds}) = 5");
            wires[0].command(com::QUERY, doomed.as_bytes());
            eventually("it runs", || sleeps(&doomed) == 1);
            wires[1].command(com::QUERY, doomed.as_bytes());
            dpm.settle();
            assert_eq!(sleeps(&doomed), 1);
            let id = server.sql(&format!(
                "SELECT id FROM information_schema.processlist WHERE info = '{}'", doomed.replace('\'', "''")));
            server.sql(&format!("{how} {}", id.trim()));
            let answers = [wires[0].answer(), wires[1].answer()];
            let Answer::Rows { rows, .. } = &answers[1] else { panic!("{answers:?}") };
            assert!(rows.is_empty(), "it has asked for itself");
            if how == "KILL" {
                let Answer::Err(1105, state, message) = &answers[0] else { panic!("{answers:?}") };
                assert_eq!((&**state, &**message), ("08S01", "Server has gone away"));
                assert!(wires[0].closed());
            } else {
                // A killed SLEEP may return without an error.
                assert!(matches!(&answers[0], Answer::Err(1317, ..) | Answer::Rows { .. }), "{answers:?}");
            }
        }
        drop(wires.remove(0));
        let wires = &mut wires[..];
        assert!(matches!(wires[0].query("SELECT * FROM nowhere"), Answer::Err(1146, ..)));

        // A client sees its own writes, even if others run the same query at that time.
        let mut reader = Wire::login(port, MODERN);
        reader.exchange(com::INIT_DB, base.as_bytes());
        let read = "SELECT COUNT(*), SLEEP(3) FROM t";
        reader.command(com::QUERY, read.as_bytes());
        eventually("it runs", || sleeps(read) == 1);
        assert!(matches!(wires[0].query("INSERT INTO t VALUES (2)"), Answer::Ok(_)));
        assert_eq!(wires[0].rows(read)[0][0], "2");
        assert!(matches!(reader.answer(), Answer::Rows { .. }));

        // Transactions do not share, nor do statements with a different result for each client.
        assert!(matches!(wires[0].query("BEGIN"), Answer::Ok(_)));
        assert!(matches!(wires[0].query("INSERT INTO t VALUES (3)"), Answer::Ok(_)));
        wires[0].command(com::QUERY, read.as_bytes());
        eventually("it runs", || sleeps(read) == 1);
        assert_eq!(wires[1].rows(read)[0][0], "2");
        let Answer::Rows { rows, .. } = wires[0].answer() else { panic!("rows") };
        assert_eq!(rows[0][0].as_deref(), Some(&b"3"[..]));
        assert!(matches!(wires[0].query("ROLLBACK"), Answer::Ok(_)));
        let who = "SELECT CONNECTION_ID(), SLEEP(0.3)";
        wires[0].command(com::QUERY, who.as_bytes());
        wires[1].command(com::QUERY, who.as_bytes());
        assert_ne!(wires[0].answer(), wires[1].answer());

        // Sessions that got different SETs do not share.
        let mut utc = Wire::login(port, MODERN);
        utc.exchange(com::INIT_DB, base.as_bytes());
        assert!(matches!(utc.query("SET time_zone = '+05:00'"), Answer::Ok(_)));
        let zone = "SELECT FROM_UNIXTIME(0), SLEEP(0.5)";
        reader.command(com::QUERY, zone.as_bytes());
        eventually("it runs", || sleeps(zone) == 1);
        assert_eq!(utc.rows(zone)[0][0], "1970-01-01 05:00:00");
        let Answer::Rows { rows, .. } = reader.answer() else { panic!("rows") };
        assert_ne!(rows[0][0].as_deref(), Some(&b"1970-01-01 05:00:00"[..]));

        // What is told in the same words may come to something else.
        for wire in [&mut utc, &mut reader] {
            wire.query("SET @z = '+05:00'");
        }
        reader.query("SET @z = '+06:00'");
        for wire in [&mut utc, &mut reader] {
            assert!(matches!(wire.query("SET time_zone = @z"), Answer::Ok(_)));
        }
        let zone = "SELECT FROM_UNIXTIME(0), SLEEP(0.6)";
        reader.command(com::QUERY, zone.as_bytes());
        eventually("it runs", || sleeps(zone) == 1);
        assert_eq!(utc.rows(zone)[0][0], "1970-01-01 05:00:00");
        let Answer::Rows { rows, .. } = reader.answer() else { panic!("rows") };
        assert_eq!(rows[0][0].as_deref(), Some(&b"1970-01-01 06:00:00"[..]));

        // What is harmless ends nothing, and who is like nobody may be like others again.
        let mut alike: Vec<Wire> = (0..2).map(|_| Wire::login(port, MODERN)).collect();
        for wire in &mut alike {
            wire.exchange(com::INIT_DB, base.as_bytes());
        }
        for sql in ["SHOW TABLES", "BEGIN", "COMMIT", "DO 1", "EXPLAIN SELECT 1", "USE nosuch"] {
            alike[0].query(sql);
        }
        let shared = "SELECT SLEEP(2), 'alike'";
        for wire in &mut alike {
            wire.command(com::QUERY, shared.as_bytes());
        }
        eventually("it runs", || sleeps(shared) > 0);
        dpm.settle();
        assert_eq!(sleeps(shared), 1);
        for wire in &mut alike {
            assert!(matches!(wire.answer(), Answer::Rows { .. }));
        }

        // A second apart, they are not, and neither are those between whose logins a global variable was set.
        for wire in &mut alike {
            wire.query("SET timestamp = UNIX_TIMESTAMP(NOW(6))");
        }
        server.sql("SET GLOBAL div_precision_increment = 7");
        // The first command makes the connection to the server.
        let mut later = Wire::login(port, MODERN);
        later.query("DO 1");
        server.sql("SET GLOBAL div_precision_increment = DEFAULT");
        let mut latest = Wire::login(port, MODERN);
        let apart = "SELECT 1 / 3, SLEEP(2)";
        let mut four: Vec<&mut Wire> = alike.iter_mut().chain([&mut later, &mut latest]).collect();
        for wire in &mut four {
            wire.command(com::QUERY, apart.as_bytes());
        }
        eventually("all run", || sleeps(apart) == 4);
        let thirds: Vec<String> = four.into_iter().map(|wire| match wire.answer() {
            Answer::Rows { rows, .. } => String::from_utf8(rows[0][0].clone().unwrap()).unwrap(),
            other => panic!("{other:?}"),
        }).collect();
        assert_eq!(thirds, ["0.3333", "0.3333", "0.3333333", "0.3333"]);
        drop((alike, later, latest));

        // A result that is too large to share is sent to each client separately.
        let large = "SELECT REPEAT('x', 100000) FROM (SELECT 1 UNION SELECT 2 UNION SELECT 3 UNION SELECT 4) a,
            (SELECT 1 UNION SELECT 2 UNION SELECT 3 UNION SELECT 4) b WHERE NOT SLEEP(0.02)";
        wires[1].command(com::QUERY, large.as_bytes());
        utc.command(com::QUERY, large.as_bytes());
        for wire in [&mut wires[1], &mut utc] {
            let Answer::Rows { rows, .. } = wire.answer() else { panic!("rows") };
            assert_eq!(rows.len(), 16);
        }
        // Prepared statements are forwarded.
        let mut conn = support::connect(port);
        assert_eq!(conn.exec_first::<i64, _, _>("SELECT ? + 1", (4,)).unwrap(), Some(5));
        drop(conn);
        dpm.wait_for_open_files(files + 2 * (wires.len() + 2));
        assert_eq!(dpm.count("traceback"), 0);
    }
}

fn as_user(port: u16, user: &str, sql: &str) -> process::Finished {
    Cli::client(Flavour::MariaDb, port)
        .args(["-u", user])
        .arg(format!("-p{user}"))
        .args(["-e", sql])
        .run()
}

both! {
    fn routing(server) {
        let second = Server::start_own(Flavour::MariaDb, &[]);
        let at = |hours: &str| -> Dpm { Launch::demo("routing", server).server(&second).arg(hours).start() };
        let dpm = at("0-24");
        let port = dpm.listening();
        let files = dpm.open_files();
        let [first_port, second_port] = [server.port, second.port].map(|port| format!("{port}\n"));
        for (user, its_port) in [("app", &first_port), ("report", &second_port), ("batch", &second_port)] {
            for _ in 0..2 {
                assert_eq!(as_user(port, user, "SELECT @@port").out(), *its_port, "{user}");
            }
        }
        let refused = connect_as(port, "app", "wrong").unwrap_err().to_string();
        assert!(refused.contains("1045"), "{refused}");
        assert!(connect_as(port, USER, support::PASSWORD).is_err(), "the servers' account is not for clients");
        // Another user is another server's.
        let mut wire = Wire::login_as(port, "app", "app", MODERN);
        assert_eq!(wire.change_user("report", "report")[0], 0);
        assert_eq!(wire.rows("SELECT @@port"), [[second_port.trim()]]);
        drop(wire);
        dpm.wait_for_open_files(files);

        // With an empty night the batch user has no server.
        let day = at("0-0");
        let refused = as_user(day.listening(), "batch", "SELECT 1");
        assert!(refused.err().contains("ERROR 1045 (28000)"), "{}", refused.err());
        day.line("batch has none now");
        assert_eq!(as_user(day.listening(), "app", "SELECT @@port").out(), first_port);
        assert!(as_user(at("12-12").listening(), "batch", "SELECT 1").err().contains("1045"));

        // Without its server a report goes to the other.
        second.kill();
        assert_eq!(as_user(port, "report", "SELECT @@port").out(), first_port);
        let refused = as_user(port, "batch", "SELECT 1");
        assert!(refused.err().contains("Can't connect to server"), "{}", refused.err());
        dpm.wait_for_open_files(files);
    }
}

#[test]
fn routing_by_the_clock_goes_over_midnight() {
    let hour: u32 = {
        let mut command = process::command("date");
        command.arg("+%H");
        process::run(command, Vec::new(), Duration::from_secs(5))
            .out()
            .trim()
            .parse()
            .unwrap()
    };
    // A period around now, and one that is not now; both may cross midnight.
    let server = mariadb();
    let around = format!("{}-{}", (hour + 22) % 24, (hour + 2) % 24);
    let away = format!("{}-{}", (hour + 3) % 24, (hour + 21) % 24);
    for (hours, works) in [(around, true), (away, false)] {
        let dpm = Launch::demo("routing", server)
            .server(server)
            .arg(&hours)
            .start();
        let done = as_user(dpm.listening(), "batch", "SELECT 1");
        assert_eq!(done.code == 0, works, "{hours} at {hour}: {}", done.err());
    }
}
