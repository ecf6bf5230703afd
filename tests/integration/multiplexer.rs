//! The query multiplexer.

use std::time::{Duration, Instant};

use mysql::prelude::Queryable as _;

use crate::support::dpm::Launch;
use crate::support::wire::{Answer, Wire, caps, com};
use crate::support::{
    Cli, Dpm, Flavour, Over, PASSWORD, Server, USER, connect, eventually, let_time_pass, mariadb,
    mysql as mysql_server, process, python,
};

/// The demo, with this fleet.
pub fn multiplexer(fleet: &[&str]) -> Dpm {
    let demo = std::path::Path::new(env!("CARGO_MANIFEST_DIR")).join("demos/multiplexer.lua");
    let mut launch = Launch::file(demo)
        .arg('-')
        .arg('-')
        .arg(0)
        .arg(USER)
        .arg(PASSWORD);
    for entry in fleet {
        launch = launch.arg(entry);
    }
    launch.start()
}

/// The arguments of ADD DB for a server.
pub fn dsn(server: &Server, more: &str) -> String {
    format!(
        "host=127.0.0.1,port={},user={USER},pass={PASSWORD}{more}",
        server.port
    )
}

/// An interactive session: statements one by one, with tables in their printed form.
fn session(port: u16, statements: &str) -> String {
    let said = Cli::interactive(Flavour::MariaDb, port)
        .args(["-t", "-f", "-vv"])
        .stdin(statements)
        .run();
    said.out() + &said.err()
}

/// Waits until these servers are connected.
#[track_caller]
pub fn wait_for_active(port: u16, count: usize) {
    let mut conn = connect(port);
    eventually("the fleet is connected", || {
        let rows: Vec<mysql::Row> = conn.query("SHOW DB STATUS").unwrap();
        rows.iter()
            .filter(|row| row.get::<String, _>("active").unwrap() == "1")
            .count()
            == count
    });
}

/// Rows as texts.
pub fn rows(conn: &mut mysql::Conn, sql: &str) -> Vec<Vec<Option<String>>> {
    let rows: Vec<mysql::Row> = conn.query(sql).unwrap_or_else(|e| panic!("{sql}: {e}"));
    rows.into_iter()
        .map(|row| {
            row.unwrap()
                .into_iter()
                .map(mysql::from_value::<Option<String>>)
                .collect()
        })
        .collect()
}

/// The first column of an answer.
pub fn first(conn: &mut mysql::Conn, sql: &str) -> Vec<String> {
    rows(conn, sql)
        .into_iter()
        .map(|row| row[0].clone().unwrap())
        .collect()
}

/// SHOW WARNINGS, as texts.
pub fn warnings(conn: &mut mysql::Conn) -> Vec<String> {
    rows(conn, "SHOW WARNINGS")
        .into_iter()
        .map(|row| {
            row.into_iter()
                .map(Option::unwrap_or_default)
                .collect::<Vec<_>>()
                .join(" ")
        })
        .collect()
}

fn refused(conn: &mut mysql::Conn, sql: &str) -> String {
    conn.query_drop(sql).expect_err(sql).to_string()
}

#[test]
fn the_session_of_old() {
    let server = Server::start_own(Flavour::MariaDb, &[]);
    let dpm = multiplexer(&[]);
    let port = dpm.listening();
    let said = session(port, "hello;\n");
    assert!(
        said.contains("ERROR 666 (66666) at line 1: Multiplexer does not understand."),
        "{said}"
    );
    let said = session(port, &format!("ADD DB {};\n", dsn(&server, "")));
    assert!(said.contains("Query OK, 1 row affected"), "{said}");
    wait_for_active(port, 1);
    let said = session(
        port,
        "SHOW DB STATUS;\nPOLL ALL 5 SHOW DATABASES;\nPOLL ALL 5 SHOW FULL PROCESSLIST;\nFETCH ALL SHOW DATABASES;\n",
    );
    for part in [
        "+-----------+--------+-------+-------------+---------+---------+\n\
         | DSN       | active | queue | disconnects | retries | queries |\n\
         +-----------+--------+-------+-------------+---------+---------+\n\
         | 127.0.0.1 | 1      | 0     | 0           | 0       | 0       |\n\
         +-----------+--------+-------+-------------+---------+---------+\n\
         1 row in set",
        "POLL ALL 5 SHOW DATABASES\n--------------\n\nQuery OK, 1 row affected",
        "POLL ALL 5 SHOW FULL PROCESSLIST\n--------------\n\nQuery OK, 1 row affected",
        "+-----------+--------------------+\n\
         | dpm_dsn   | Database           |\n\
         +-----------+--------------------+\n\
         | 127.0.0.1 | information_schema |\n\
         | 127.0.0.1 | mysql              |\n\
         | 127.0.0.1 | performance_schema |\n\
         | 127.0.0.1 | sys                |\n\
         | 127.0.0.1 | test               |\n\
         +-----------+--------------------+\n\
         5 rows in set",
    ] {
        assert!(said.contains(part), "{part}\n---\n{said}");
    }
    let said = session(port, "REMOVE DB 127.0.0.1;\nSHOW DB STATUS;\n");
    assert!(said.contains("Query OK, 1 row affected"), "{said}");
    assert!(said.contains("Empty set"), "{said}");
    eventually("the connection is gone", || {
        dpm.count(" (Server 127.0.0.1): closing") == 1
    });
}

#[test]
fn commands_are_tolerant_and_errors_say_which() {
    let dpm = multiplexer(&[]);
    let mut conn = connect(dpm.listening());
    let server = dsn(mariadb(), "");
    conn.query_drop(format!("/* me */ add DB {server} , name='one' ; -- done"))
        .unwrap();
    for (sql, said) in [
        (
            "ADD DB host=h,prt=1",
            "there is no key 'prt', only host, port",
        ),
        ("ADD DB host=h,host=i", "'host' is given twice"),
        (
            "ADD DB host=h,port=0",
            "port: expected a number from 1 to 65535, got '0'",
        ),
        ("ADD DB host=h,port=x", "got 'x'"),
        ("ADD DB user=u", "neither host nor path is given"),
        (
            "ADD DB host=h,pass='x",
            "the value of 'pass' has no closing quote",
        ),
        (
            "ADD DB host=h user=u",
            "ADD DB: 'h user=u': names have no blanks",
        ),
        ("ADD DB nonsense", "expected key=value near 'nonsense'"),
        ("ADD DB host=h,name=one", "there is a server 'one' already"),
        ("ADD DB host=h,name=ALL", "'ALL' is the name of a group"),
        ("ADD DB host=h,group=one", "'one' is no name for a group"),
        ("REMOVE DB two", "there is no server 'two'"),
        (
            "POLL two 5 SELECT 1",
            "There is no group and no server 'two'",
        ),
        (
            "POLL ALL 100000 SELECT 1",
            "timeout: expected seconds from 0 to 86400",
        ),
        (
            "POLL ALL 1 EVERY 0 SELECT 1",
            "EVERY: expected at least 0.01",
        ),
        ("FETCH ALL SELECT 'never polled'", "this was not polled"),
        ("FORGET ALL SELECT 'never polled'", "this was not polled"),
        ("ADD GROUP g one,two", "there is no server 'two'"),
        ("SELECT 1, 2", "666"),
        ("", "666"),
        ("SHOW", "66666"),
    ] {
        let error = refused(&mut conn, sql);
        assert!(error.contains(said), "{sql}: {error}");
    }
    // A password may have anything in it.
    conn.query_drop("ADD DB host=127.0.0.1,port=1,pass='it''s, a; -- \"secret\" #',name=odd")
        .unwrap();
    conn.query_drop("REMOVE DB `odd`").unwrap();
    assert!(!dpm.wrote("secret"));
    assert!(rows(&mut conn, "HELP").len() >= 10);
    assert!(
        rows(&mut conn, "help poll")
            .iter()
            .any(|row| row[0].as_ref().unwrap().starts_with("POLL group timeout"))
    );
    for (sql, said) in [
        ("SELECT 1", "1"),
        ("/* ping */ select current_user;", "happy@%"),
        (
            "-- a\nSHOW /*!50002 GLOBAL */ STATUS WHERE Variable_name = 'Uptime' # b",
            "Uptime",
        ),
    ] {
        assert_eq!(rows(&mut conn, sql)[0][0].as_deref(), Some(said), "{sql}");
    }
    conn.query_drop("COMMIT /* a */").unwrap();
}

#[test]
fn the_clients_show_help() {
    let dpm = multiplexer(&[]);
    for flavour in [Flavour::MariaDb, Flavour::MySql] {
        if !flavour.available() {
            continue;
        }
        let ask = |topic: &str| {
            Cli::interactive(flavour, dpm.listening())
                .stdin(format!("help {topic}\n"))
                .ok()
        };
        let poll = ask("POLL");
        for part in [
            "Name: 'POLL'",
            "Syntax:\nPOLL group timeout",
            "Sends a query to ALL",
        ] {
            assert!(poll.contains(part), "{flavour:?}: {poll}");
        }
        let show = ask("show");
        for part in ["SHOW DB STATUS", "SHOW POLLS"] {
            assert!(show.contains(part), "{flavour:?}: {show}");
        }
        assert!(ask("contents").contains("FORGET"));
        let nothing = ask("nothing of that kind");
        assert!(!nothing.contains("POLL"), "{nothing}");
    }
}

#[test]
fn only_what_changes_nothing_is_sent() {
    let server = Server::start_own(Flavour::MariaDb, &[]);
    server.sql("CREATE TABLE test.t (n INT)");
    let dpm = multiplexer(&[&dsn(&server, ",name=a")]);
    let port = dpm.listening();
    wait_for_active(port, 1);
    let mut conn = connect(port);
    for sql in [
        "DELETE FROM test.t",
        "INSERT INTO test.t VALUES (1)",
        "KILL 1",
        "SET GLOBAL max_connections = 10",
        "SELECT 1; DROP TABLE test.t",
        "/*!50000 DROP TABLE test.t */",
        "SELECT * FROM test.t FOR UPDATE",
        "SELECT 1 INTO OUTFILE '/tmp/x'",
        "WITH x AS (SELECT 1) DELETE FROM test.t",
        "CALL p()",
        "SET @x = 1",
        "SELECT GET_LOCK('x', 1)",
        "FLUSH TABLES",
        "nonsense",
    ] {
        for command in ["POLL a 5", "QUERY a 5", "POLL a 5 EVERY 1"] {
            let error = refused(&mut conn, &format!("{command} {sql}"));
            assert!(
                error.contains("1290") || error.contains("One statement at a time"),
                "{sql}: {error}"
            );
        }
    }
    assert_eq!(server.sql("SHOW TABLES FROM test").trim(), "t");
    let allowed = Launch::script(&format!(
        "local dpml = require 'dpml'
         listener = dpm.listener('127.0.0.1', 0)
         dpml.multiplex(listener, {{ users = {{ {USER} = {{ password = '{PASSWORD}' }} }}, allow_writes = true,
           fleet = {{ {{ host = '127.0.0.1', port = {}, user = '{USER}', pass = '{PASSWORD}', name = 'a' }} }} }})
         print('port ' .. listener:socket_port())",
        server.port
    ))
    .start();
    let port = allowed.port();
    wait_for_active(port, 1);
    let mut conn = connect(port);
    assert_eq!(
        rows(&mut conn, "QUERY ALL 5 INSERT INTO test.t VALUES (1), (2)"),
        [["a", "2", "0", "Records: 2  Duplicates: 0  Warnings: 0"].map(|t| Some(t.to_owned()))]
    );
    assert_eq!(server.sql("SELECT COUNT(*) FROM test.t").trim(), "2");
}

#[test]
fn groups_and_lists() {
    let server = mariadb();
    let fleet: Vec<String> = [("a", "web+eu"), ("b", "web"), ("c", "db")]
        .iter()
        .map(|(name, group)| dsn(server, &format!(",name={name},group={group}")))
        .collect();
    let fleet: Vec<&str> = fleet.iter().map(String::as_str).collect();
    let dpm = multiplexer(&fleet);
    let port = dpm.listening();
    wait_for_active(port, 3);
    let mut conn = connect(port);
    for (group, labels) in [
        ("ALL", &["a", "b", "c"][..]),
        ("all", &["a", "b", "c"]),
        ("web", &["a", "b"]),
        ("eu", &["a"]),
        ("c", &["c"]),
        ("c,a", &["a", "c"]),
        ("db,web", &["a", "b", "c"]),
    ] {
        assert_eq!(
            first(&mut conn, &format!("QUERY {group} 5 SELECT 1")),
            labels,
            "{group}"
        );
    }
    conn.query_drop("ADD GROUP late b,c").unwrap();
    assert_eq!(first(&mut conn, "QUERY late 5 SELECT 1"), ["b", "c"]);
    let groups = rows(&mut conn, "SHOW GROUPS");
    let shown: Vec<String> = groups
        .iter()
        .map(|row| {
            row.iter()
                .map(|v| v.clone().unwrap())
                .collect::<Vec<_>>()
                .join(" ")
        })
        .collect();
    assert_eq!(shown, ["db 1 c", "eu 1 a", "late 2 b,c", "web 2 a,b"]);
    conn.query_drop("REMOVE DB c").unwrap();
    assert_eq!(first(&mut conn, "QUERY late 5 SELECT 1"), ["b"]);
    assert!(refused(&mut conn, "QUERY db 5 SELECT 1").contains("'db'"));
    assert_eq!(first(&mut conn, "SHOW DB STATUS LIKE 'a%'"), ["a"]);
    assert_eq!(first(&mut conn, "SHOW FULL DB STATUS LIKE '_'"), ["a", "b"]);
    let full: mysql::Row = conn.query_first("SHOW FULL DB STATUS").unwrap().unwrap();
    let names: Vec<String> = full
        .columns_ref()
        .iter()
        .map(|c| c.name_str().into_owned())
        .collect();
    assert_eq!(
        names,
        [
            "DSN",
            "active",
            "queue",
            "disconnects",
            "retries",
            "queries",
            "groups",
            "version",
            "last_error",
            "last_error_at",
            "p50_ms",
            "p95_ms",
            "in_flight",
            "bytes",
        ]
    );
    assert_eq!(full.get::<String, _>("groups").unwrap(), "eu+web");
    assert!(
        full.get::<String, _>("version")
            .unwrap()
            .contains("MariaDB")
    );
    assert!(full.get::<f64, _>("p95_ms").unwrap() > 0.0);
}

#[test]
fn servers_that_differ_merge_by_name() {
    let Some(other) = mysql_server() else { return };
    let dpm = multiplexer(&[&dsn(mariadb(), ",name=maria"), &dsn(other, ",name=my")]);
    let port = dpm.listening();
    wait_for_active(port, 2);
    let mut conn = connect(port);
    // The columns differ between the families; what both have is in one column.
    let result = conn
        .query_iter("QUERY ALL 5 SHOW FULL PROCESSLIST")
        .unwrap();
    let names: Vec<String> = result
        .columns()
        .as_ref()
        .iter()
        .map(|c| c.name_str().into_owned())
        .collect();
    assert_eq!(names[..2], ["dpm_dsn", "Id"]);
    assert!(names.contains(&"Progress".to_owned()), "{names:?}");
    assert_eq!(names.len(), 10, "{names:?}");
    drop(result);
    for row in rows(&mut conn, "FETCH ALL SHOW FULL PROCESSLIST") {
        assert_eq!(row[9].is_none(), row[0].as_deref() == Some("my"), "{row:?}");
    }
    // They differ in number, type and text of their columns.
    let base = mariadb().database();
    mariadb().sql(&format!(
        "CREATE VIEW {base}.v AS SELECT 1 AS n, 'text' AS t, 'é' AS a"
    ));
    other.sql(&format!(
        "CREATE DATABASE {base}; CREATE VIEW {base}.v AS SELECT 1 AS n, 2.5 AS t, 'ü' AS b"
    ));
    let sql = &format!("QUERY ALL 5 SELECT * FROM {base}.v");
    let result = conn.query_iter(sql).unwrap();
    let types: Vec<_> = result
        .columns()
        .as_ref()
        .iter()
        .map(|c| (c.name_str().into_owned(), c.column_type()))
        .collect();
    drop(result);
    use mysql::consts::ColumnType::*;
    assert_eq!(types[0], ("dpm_dsn".to_owned(), MYSQL_TYPE_VAR_STRING));
    assert!(
        matches!(types[1].1, MYSQL_TYPE_LONG | MYSQL_TYPE_LONGLONG),
        "{types:?}"
    );
    assert_eq!(
        types[2],
        ("t".to_owned(), MYSQL_TYPE_VAR_STRING),
        "{types:?}"
    );
    let text = |values: [Option<&str>; 5]| values.map(|v| v.map(str::to_owned)).to_vec();
    assert_eq!(
        rows(&mut conn, sql),
        [
            text([Some("maria"), Some("1"), Some("text"), Some("é"), None]),
            text([Some("my"), Some("1"), Some("2.5"), None, Some("ü")]),
        ]
    );
    // By a prepared statement, the rows are binary.
    type Row = (String, i64, String, Option<String>, Option<String>);
    let prepared: Vec<Row> = conn.exec(sql, ()).unwrap();
    assert_eq!(
        prepared[0],
        ("maria".into(), 1, "text".into(), Some("é".into()), None)
    );
    assert_eq!(
        prepared[1],
        ("my".into(), 1, "2.5".into(), None, Some("ü".into()))
    );
    // Two columns of one name stay two.
    assert_eq!(
        rows(&mut conn, "QUERY my 5 SELECT 1 AS x, 2 AS x"),
        [text([Some("my"), Some("1"), Some("2"), None, None])[..3].to_vec()]
    );
}

#[test]
fn servers_that_fail_are_named() {
    let down = process::free_port();
    let server = mariadb();
    let dpm = multiplexer(&[
        &dsn(server, ",name=good"),
        &format!("host=127.0.0.1,port={down},user=x,name=down"),
        &format!(
            "host=127.0.0.1,port={},user=nobody,pass=x,name=refused",
            server.port
        ),
    ]);
    let port = dpm.listening();
    wait_for_active(port, 1);
    let mut conn = connect(port);
    eventually("all are known to be down", || warned(&mut conn) == 2);
    let result = conn.query_iter("QUERY ALL 5 SELECT 7").unwrap();
    drop(result);
    let told = warnings(&mut conn);
    assert!(
        told[0].starts_with(
            "Error 2003 down: ERROR 2003 (HY000): Can't connect to server on '127.0.0.1:"
        ),
        "{told:?}"
    );
    assert!(
        told[1]
            .starts_with("Error 1045 refused: ERROR 1045 (28000): Access denied for user 'nobody'"),
        "{told:?}"
    );
    assert_eq!(told.len(), 2);
    assert_eq!(rows(&mut conn, "SHOW ERRORS").len(), 2);
    // One that is late: its rows are missing, and never come under a later query.
    let begun = Instant::now();
    assert!(rows(&mut conn, "QUERY good 0.3 SELECT SLEEP(30), 'late'").is_empty());
    assert!(begun.elapsed() < Duration::from_secs(15));
    assert_eq!(
        warnings(&mut conn),
        ["Error 3024 good: ERROR 3024 (HY000): Query execution was interrupted, 300 ms exceeded"]
    );
    assert_eq!(first(&mut conn, "QUERY good 5 SELECT 'next'"), ["good"]);
    assert!(warnings(&mut conn).is_empty());
    // An error of the server's.
    assert!(rows(&mut conn, "QUERY good 5 SELECT * FROM nowhere.t").is_empty());
    assert!(warnings(&mut conn)[0].contains("ERROR 1146 (42S02)"));
    // FETCH waits for a round, but no longer than its timeout.
    conn.query_drop("POLL good 5 SELECT SLEEP(0.4) AS s")
        .unwrap();
    let begun = Instant::now();
    assert_eq!(
        rows(&mut conn, "FETCH good SELECT SLEEP(0.4) AS s").len(),
        1
    );
    assert!(begun.elapsed() > Duration::from_millis(200));
    conn.query_drop("POLL good 0.3 SELECT SLEEP(20) AS s")
        .unwrap();
    assert!(rows(&mut conn, "FETCH good SELECT SLEEP(20) AS s").is_empty());
    assert!(begun.elapsed() < Duration::from_secs(15));
    // Nor for what the server was asked before.
    let begun = Instant::now();
    conn.query_drop("POLL good 30 SELECT SLEEP(6)").unwrap();
    assert!(rows(&mut conn, "QUERY good 0.3 SELECT 'behind'").is_empty());
    assert!(
        begun.elapsed() < Duration::from_secs(5),
        "{:?}",
        begun.elapsed()
    );
    assert!(warnings(&mut conn)[0].contains("300 ms exceeded"));
    assert_eq!(rows(&mut conn, "FETCH good SELECT SLEEP(6)").len(), 1);
    // The count travels with the answer.
    let result = conn.query_iter("QUERY ALL 5 SELECT 1").unwrap();
    drop(result);
    assert_eq!(conn.warnings(), 2);
}

/// How many servers' rows are missing.
fn warned(conn: &mut mysql::Conn) -> usize {
    conn.query_drop("QUERY ALL 1 SELECT 1").unwrap();
    warnings(conn).len()
}

#[test]
fn rounds_are_kept_and_repeated() {
    let server = Server::start_own(Flavour::MariaDb, &[]);
    server.sql("CREATE TABLE test.t (n INT); INSERT INTO test.t VALUES (0)");
    let dpm = multiplexer(&[&dsn(&server, ",name=a")]);
    let port = dpm.listening();
    wait_for_active(port, 1);
    let mut conn = connect(port);
    let poll = "POLL ALL 5 SELECT n FROM test.t";
    let fetch = "FETCH ALL SELECT n FROM test.t";
    for n in 0..5 {
        server.sql(&format!("UPDATE test.t SET n = {n}"));
        conn.query_drop(poll).unwrap();
        assert_eq!(
            rows(&mut conn, fetch)[0][1].as_deref(),
            Some(n.to_string().as_str())
        );
    }
    // The last three are kept, by their numbers.
    assert_eq!(
        rows(&mut conn, &format!("{fetch} ROUND 4"))[0][1].as_deref(),
        Some("3")
    );
    assert_eq!(
        rows(&mut conn, &format!("{fetch} ROUND 3"))[0][1].as_deref(),
        Some("2")
    );
    assert!(refused(&mut conn, &format!("{fetch} ROUND 2")).contains("round 2 is not kept"));
    // Another client fetches the same.
    let mut other = connect(port);
    assert_eq!(rows(&mut other, fetch)[0][1].as_deref(), Some("4"));
    let polls = rows(&mut conn, "SHOW POLLS");
    assert_eq!(polls.len(), 1);
    assert_eq!(
        polls[0][..8]
            .iter()
            .map(|v| v.as_deref().unwrap_or("-"))
            .collect::<Vec<_>>(),
        ["ALL", "SELECT n FROM test.t", "-", "3", "5", "1", "0", "0"]
    );
    conn.query_drop("POLL ALL 5 EVERY 0.05 SELECT n + 100 FROM test.t")
        .unwrap();
    eventually("it is repeated", || {
        rows(&mut conn, "SHOW POLLS")[1][4]
            .as_ref()
            .unwrap()
            .parse::<u32>()
            .unwrap()
            >= 5
    });
    server.sql("UPDATE test.t SET n = 50");
    eventually("the new value comes", || {
        rows(&mut conn, "FETCH ALL SELECT n + 100 FROM test.t")[0][1].as_deref() == Some("150")
    });
    conn.query_drop("FORGET ALL SELECT n + 100 FROM test.t")
        .unwrap();
    assert_eq!(rows(&mut conn, "SHOW POLLS").len(), 1);
    assert!(refused(&mut conn, "FETCH ALL SELECT n + 100 FROM test.t").contains("not polled"));
    conn.query_drop("FORGET ALL").unwrap();
    assert!(rows(&mut conn, "SHOW POLLS").is_empty());
}

#[test]
fn a_round_that_is_forgotten_is_still_sent_to_who_has_begun_to_read_it() {
    let dpm = multiplexer(&[&dsn(mariadb(), ",name=a")]);
    let port = dpm.listening();
    wait_for_active(port, 1);
    let mut conn = connect(port);
    const COUNT: usize = 60_000;
    let sql = format!(
        "SELECT REPEAT('x', 200) FROM information_schema.collations a, information_schema.collations b LIMIT {COUNT}"
    );
    conn.query_drop(format!("POLL ALL 30 {sql}")).unwrap();
    conn.query_drop("POLL ALL 0 SELECT SLEEP(20)").unwrap();
    let mut reader = Wire::login_as(port, USER, PASSWORD, caps::BASE | caps::MULTI);
    reader.command(com::QUERY, format!("FETCH ALL {sql}").as_bytes());
    reader.read();
    // Another one waits for a round without a time-out.
    let mut waiter = Wire::login_as(port, USER, PASSWORD, caps::BASE | caps::MULTI);
    waiter.command(com::QUERY, b"FETCH ALL SELECT SLEEP(20)");
    dpm.settle();
    conn.query_drop("FORGET ALL").unwrap();
    assert!(
        rows(&mut conn, "SHOW POLLS").is_empty(),
        "others are served"
    );
    // Two columns, an EOF, the rows, an EOF.
    for packet in 0..2 + 1 + COUNT {
        assert!(reader.read().len() > 4, "{packet}");
    }
    assert_eq!(reader.read()[0], 0xFE);
    assert!(matches!(waiter.answer(), Answer::Rows { .. }));
    assert!(!dpm.wrote("traceback"));
}

#[test]
fn a_server_that_comes_back_is_used_again() {
    let server = Server::start_own(Flavour::MariaDb, &[]);
    let dpm = multiplexer(&[&dsn(&server, ",name=a"), &dsn(mariadb(), ",name=b")]);
    let port = dpm.listening();
    wait_for_active(port, 2);
    let mut conn = connect(port);
    server.kill();
    eventually("its loss is seen", || {
        first(&mut conn, "QUERY ALL 5 SELECT 1") == ["b"]
    });
    assert!(warnings(&mut conn)[0].starts_with("Error 20"));
    server.restart(&[]);
    wait_for_active(port, 2);
    assert_eq!(first(&mut conn, "QUERY ALL 5 SELECT 1"), ["a", "b"]);
    let status = rows(&mut conn, "SHOW DB STATUS LIKE 'a'");
    assert_eq!(status[0][3].as_deref(), Some("1"), "one loss: {status:?}");
    assert!(
        status[0][4].as_ref().unwrap().parse::<u32>().unwrap() >= 1,
        "{status:?}"
    );
    assert_eq!(
        rows(&mut conn, "SHOW DB STATUS LIKE 'b'")[0][3].as_deref(),
        Some("0")
    );
}

#[test]
fn answers_are_bounded() {
    let dpm = Launch::script(&format!(
        "local dpml = require 'dpml'
         listener = dpm.listener('127.0.0.1', 0)
         local function server(name)
           return {{ host = '127.0.0.1', port = {}, user = '{USER}', pass = '{PASSWORD}', name = name }}
         end
         dpml.multiplex(listener, {{ users = {{ {USER} = {{ password = '{PASSWORD}' }} }},
           fleet = {{ server('a'), server('b') }},
           limits = {{ server_rows = 10, server_bytes = 100000, round_bytes = 150000 }} }})
         print('port ' .. listener:socket_port())",
        mariadb().port
    ))
    .start();
    let port = dpm.port();
    wait_for_active(port, 2);
    let mut conn = connect(port);
    let found = rows(
        &mut conn,
        "QUERY ALL 5 SELECT ID FROM information_schema.collations",
    );
    assert_eq!(found.len(), 20);
    let told = warnings(&mut conn);
    assert!(
        told[0].starts_with("Warning 1105 a: ") && told[0].contains("rows were cut off: 10 rows"),
        "{told:?}"
    );
    assert_eq!(told.len(), 2);
    // By bytes of a server, and of the round.
    let found = rows(
        &mut conn,
        "QUERY ALL 5 SELECT REPEAT('x', 30000) FROM information_schema.collations LIMIT 9",
    );
    assert_eq!(
        found.len(),
        4,
        "three of one, and what is left for the other"
    );
    assert_eq!(warnings(&mut conn).len(), 2);
}

#[test]
fn fleets_come_from_a_file() {
    let folder = process::folder("fleet");
    let file = folder.join("fleet.lua");
    let entry = |name: &str| {
        format!(
            "{{ host = '127.0.0.1', port = {}, user = '{USER}', pass = '{PASSWORD}', name = '{name}', group = {{ 'g' }} }},",
            mariadb().port
        )
    };
    let write = |entries: &str| std::fs::write(&file, format!("return {{ {entries} }}")).unwrap();
    write(&(entry("a") + &entry("b")));
    let dpm = multiplexer(&[&file.display().to_string()]);
    let port = dpm.listening();
    wait_for_active(port, 2);
    let mut conn = connect(port);
    conn.query_drop(format!("ADD DB {}", dsn(mariadb(), ",name=by_hand")))
        .unwrap();
    let id = |conn: &mut mysql::Conn, label: &str| {
        rows(conn, &format!("QUERY {label} 5 SELECT CONNECTION_ID()"))[0][1].clone()
    };
    wait_for_active(port, 3);
    let before = id(&mut conn, "b");
    write(&(entry("b") + &entry("c")));
    dpm.signal("HUP");
    dpm.line("fleet.lua: 3 servers");
    wait_for_active(port, 3);
    assert_eq!(first(&mut conn, "SHOW DB STATUS"), ["b", "by_hand", "c"]);
    assert_eq!(id(&mut conn, "b"), before, "it has kept its connection");
    // An invalid file changes nothing.
    for (broken, said) in [
        ("{ host = 'x', prot = 1 }", "there is no key 'prot'"),
        ("}", "expected near '}'"),
    ] {
        write(broken);
        dpm.signal("HUP");
        let line = dpm.line(said);
        assert!(line.contains("the fleet stays as it is"), "{line}");
        assert_eq!(first(&mut conn, "SHOW DB STATUS"), ["b", "by_hand", "c"]);
    }
}

#[test]
fn drivers_connect_as_they_are() {
    let dpm = multiplexer(&[&dsn(mariadb(), ",name=a")]);
    let port = dpm.listening();
    wait_for_active(port, 1);
    // innotop begins so.
    let mut conn = connect(port);
    for sql in [
        "show status like 'Uptime'",
        "SHOW GLOBAL STATUS LIKE 'upt%'",
    ] {
        assert_eq!(first(&mut conn, sql), ["Uptime"], "{sql}");
    }
    assert!(first(&mut conn, "SHOW STATUS").contains(&"dpm_clients".to_owned()));
    assert!(refused(&mut conn, "SHOW STATUSES").contains("666"));
    for flavour in [Flavour::MariaDb, Flavour::MySql, Flavour::MariaDb11] {
        if flavour.available() {
            let said = Cli::interactive(flavour, port)
                .args(["-N", "-B"])
                .stdin("use x;\n\\s\nQUERY ALL 5 SELECT 7;\n")
                .ok();
            assert!(said.ends_with("a\t7\n"), "{said}");
            assert!(said.contains("dpm multiplexer"), "{said}");
        }
    }
    let said = python(
        port,
        "with connect() as conn, conn.cursor() as cursor:\n\
         \x20   conn.ping()\n\
         \x20   print(cursor.execute('QUERY ALL 5 SELECT %s', (7,)), cursor.fetchall())\n\
         \x20   print(cursor.execute('SHOW DB STATUS'))\n\
         \x20   try: cursor.execute('hello')\n\
         \x20   except pymysql.Error as error: print(error.args)",
    );
    assert_eq!(
        said,
        "1 (('a', 7),)\n1\n(666, 'Multiplexer does not understand.')\n"
    );
}

/// Polls while servers are killed, restarted, frozen, removed and added: 30 seconds, or as many as the
/// environment's DPM_SOAK_SECONDS says.
#[test]
fn rows_are_of_the_right_server_and_round_whatever_happens() {
    let patience = std::env::var("DPM_SOAK_SECONDS").ok();
    let patience = Duration::from_secs(patience.map_or(30, |text| text.parse().unwrap()));
    const DATABASES: usize = 4;
    let servers: Vec<Server> = [Flavour::MariaDb, Flavour::MySql]
        .into_iter()
        .filter(|flavour| flavour.available())
        .map(|flavour| Server::start_own(flavour, &[]))
        .collect();
    // Each member of the fleet has a database of its own, in which its name stands.
    let mut members = Vec::new();
    for (s, server) in servers.iter().enumerate() {
        // The tests' servers write their logs once a second. One that is killed before that would have
        // lost its rows, and rightly answer with none.
        server.sql("SET GLOBAL innodb_flush_log_at_trx_commit = 1");
        for d in 0..DATABASES {
            let name = format!("s{s}d{d}");
            server.sql(&format!(
                "CREATE DATABASE {name}; CREATE TABLE {name}.me (name VARCHAR(20));
                 INSERT INTO {name}.me VALUES ('{name}')"
            ));
            members.push((
                name.clone(),
                dsn(server, &format!(",name={name},db={name}")),
            ));
        }
    }
    let dpm = Launch::script(&format!(
        "local dpml = require 'dpml'
         listener = dpm.listener('127.0.0.1', 0)
         dpml.multiplex(listener, {{ users = {{ {USER} = {{ password = '{PASSWORD}' }} }}, limits = {{ polls = 20 }} }})
         print('port ' .. listener:socket_port())"
    ))
    .start();
    let port = dpm.port();
    let mut conn = connect(port);
    for (_, dsn) in &members {
        conn.query_drop(format!("ADD DB {dsn}")).unwrap();
    }
    wait_for_active(port, members.len());
    let settle = |conn: &mut mysql::Conn| {
        for round in 0..30 {
            conn.query_drop(format!("QUERY ALL 5 SELECT name, 'w{round}' FROM me"))
                .unwrap();
        }
        conn.query_drop("FORGET ALL").unwrap();
    };
    settle(&mut conn);
    let lua_before = dpm.stat("lua_memory");
    let (files_before, memory_before) = (dpm.open_files(), dpm.memory_kib("VmRSS"));

    let over = Over::default();
    let (mut rows_seen, mut missing, mut answers) = (0u64, 0u64, 0u64);
    std::thread::scope(|scope| {
        scope.spawn(|| {
            let mut conn = connect(port);
            let mut turn = 0usize;
            while !over.is() {
                let server = &servers[turn / 3 % servers.len()];
                match turn % 3 {
                    0 => {
                        server.kill();
                        let_time_pass(Duration::from_millis(300));
                        server.restart(&[]);
                    }
                    1 => {
                        server.signal("STOP");
                        let_time_pass(Duration::from_millis(1500));
                        server.signal("CONT");
                    }
                    _ => {
                        let (name, dsn) = &members[turn % members.len()];
                        conn.query_drop(format!("REMOVE DB {name}")).unwrap();
                        let_time_pass(Duration::from_millis(200));
                        conn.query_drop(format!("ADD DB {dsn}")).unwrap();
                    }
                }
                let_time_pass(Duration::from_millis(700));
                turn += 1;
            }
        });
        let _ends = over.at_end();
        let begun = Instant::now();
        let mut round = 0;
        while begun.elapsed() < patience {
            round += 1;
            // Two rounds run at once; some of them are cancelled.
            let slow = format!("SELECT name, 'slow{round}' AS token, SLEEP(0.05) FROM me");
            let quick = format!("SELECT name, 'quick{round}' AS token FROM me");
            let timeout = if round % 4 == 0 { "0.03" } else { "1" };
            conn.query_drop(format!("POLL ALL {timeout} {slow}"))
                .unwrap();
            conn.query_drop(format!("POLL ALL 1 {quick}")).unwrap();
            for (sql, token) in [(&quick, "quick"), (&slow, "slow")] {
                let result = rows(&mut conn, &format!("FETCH ALL {sql}"));
                let told = warnings(&mut conn).len();
                for row in &result {
                    assert_eq!(row[0], row[1], "of the right server");
                    assert_eq!(
                        row[2].as_deref(),
                        Some(&*format!("{token}{round}")),
                        "of the right round"
                    );
                }
                let mut labels: Vec<_> = result.iter().map(|row| &row[0]).collect();
                labels.dedup();
                assert_eq!(labels.len(), result.len(), "each once");
                assert!(
                    result.len() + told >= members.len() - 1,
                    "{} {told}",
                    result.len()
                );
                rows_seen += result.len() as u64;
                missing += told as u64;
                answers += 1;
            }
        }
    });
    wait_for_active(port, members.len());
    settle(&mut conn);
    // Cancelled rounds leave nothing behind.
    eventually("no connection too many", || {
        dpm.open_files() <= files_before
    });
    let lua_after = dpm.stat("lua_memory");
    let memory_after = dpm.memory_kib("VmRSS");
    println!(
        "{answers} answers, {rows_seen} rows, {missing} missing; Lua {lua_before} -> {lua_after} bytes, resident {memory_before} -> {memory_after} KiB"
    );
    assert!(rows_seen > answers, "most of them answer");
    assert!(missing > 0, "some cannot");
    assert!(
        lua_after < lua_before + 300_000.0,
        "{lua_before} -> {lua_after}"
    );
    assert!(
        memory_after < memory_before + 20_000,
        "{memory_before} -> {memory_after} KiB"
    );
    dpm.assert_no_errors();
}

#[test]
fn what_clients_add_to_the_fleet_is_bounded() {
    let dpm = Launch::script(&format!(
        "local dpml = require 'dpml'
         listener = dpm.listener('127.0.0.1', 0)
         dpml.multiplex(listener, {{ users = {{ {USER} = {{ password = '{PASSWORD}' }} }},
           limits = {{ members = 3, memberships = 5 }} }})
         print('port ' .. listener:socket_port())"
    ))
    .start();
    let mut wire = Wire::login_as(dpm.port(), USER, PASSWORD, caps::BASE | caps::MULTI);
    let mut add = |sql: &str| match wire.query(sql) {
        Answer::Ok(_) => None,
        Answer::Err(number, _, message) => Some((number, message)),
        other => panic!("{sql}: {other:?}"),
    };
    let server = |name: &str, groups: &str| {
        format!("ADD DB host=127.0.0.1,port=1,name={name},group={groups}")
    };
    assert_eq!(add(&server("a", "g")), None);
    assert_eq!(add(&server("b", "g+h")), None);
    let (number, message) = add(&server("c", "g+h+i")).expect("too many in groups");
    assert_eq!(number, 1064);
    assert!(message.contains("memberships"), "{message}");
    assert_eq!(add(&server("c", "g+h")), None);
    assert!(add("ADD GROUP j a").is_some());
    let (_, message) = add(&server("d", "")).expect("too many servers");
    assert!(
        message.contains("there are 3 servers") && message.contains("members"),
        "{message}"
    );
    // What is removed makes room.
    assert_eq!(add("REMOVE DB c"), None);
    assert_eq!(add(&server("d", "")), None);
    assert_eq!(add("ADD GROUP j a,b"), None);
    assert!(add("ADD GROUP j d").is_some());
    assert_eq!(add("REMOVE DB d"), None);
    // Nor is any of it as long as a client likes.
    let long = "x".repeat(10_000);
    assert!(add(&server("e", &long)).is_some());
    assert!(add(&server(&long[..256], "")).is_some());
    assert!(add(&format!("ADD DB host=127.0.0.1,name=e,password={long}")).is_some());
    assert!(add(&format!("POLL ALL 1 SELECT '{}'", "x".repeat(1 << 20))).is_some());
}

#[test]
fn a_large_fleet_is_replaced_in_little_time() {
    let dpm = Launch::script(
        "package.loaded['dpml.multiplexer.member'] = {
           new = function(label, dsn) return { label = label, dsn = dsn, remove = function() end } end,
         }
         local fleet = require('dpml.multiplexer.fleet').new()
         local function list(from, to)
           local servers = {}
           for n = from, to do
             servers[#servers + 1] = { host = 'h', port = n, name = 'n' .. n, group = { 'g' } }
           end
           return servers
         end
         local before = os.clock()
         assert(not fleet:load(list(1, 20000)))
         local kept = fleet.members.n20000
         assert(not fleet:load(list(9001, 29000)))
         assert(fleet.members.n20000 == kept and not fleet.members.n9000 and fleet.members.n29000)
         assert(#fleet.order == 20000 and fleet.memberships == 20000)
         assert(os.clock() - before < 20, os.clock() - before)
         print('the end')
         require('harness').listen(function() end)",
    )
    .start();
    dpm.line("the end");
}
