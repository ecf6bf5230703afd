//! Startfiles in the style of the original's releases R5 and R6 (`tests/r5`), run as they are.

use mysql::prelude::Queryable as _;

use crate::support::dpm::Launch;
use crate::support::exchange::ok_status;
use crate::support::wire::{Answer, Wire, caps};
use crate::support::{
    Cli, Dpm, Flavour, PASSWORD, USER, both, connect_as, eventually, mariadb, process,
};

const PLAIN: u32 = caps::BASE | caps::MULTI;
const MODERN: u32 = caps::BASE | caps::MULTI | caps::DEPRECATE_EOF;

/// The lines that begin with one of these words, without the connection ids at their ends.
fn told(dpm: &Dpm, words: &[&str]) -> Vec<String> {
    let lines = dpm.lines("").into_iter();
    lines
        .filter(|line| words.iter().any(|word| line.starts_with(word)))
        .map(|line| {
            line.trim_end_matches(|c: char| c.is_ascii_digit() || c == ' ')
                .to_owned()
        })
        .collect()
}

both! {
    fn a_passthrough_by_hand(server) {
        let dpm = Launch::old("01-passthrough", server).start();
        let port = dpm.listening();
        let files = dpm.open_files();
        let said = Cli::query(server.flavour, port, "SELECT 'through'; HELLO");
        assert_eq!(said, "through\n2\n");
        dpm.wait_for_open_files(files);
        // A client that quits may find its server closed before; one that disconnects does not.
        let before = dpm.count("backend closed 1");
        drop(Wire::login_empty(port, MODERN));
        eventually("the backend is closed by hand", || dpm.count("backend closed 1") > before);
        dpm.line("backend closed again nil");
        dpm.wait_for_open_files(files);
    }
}

#[test]
fn the_proxy_logs_clients_in_and_joins_them_with_servers() {
    let server = mariadb();
    let stored = server.sql(&format!("SELECT PASSWORD('{PASSWORD}')"));
    let dpm = Launch::old("02-auth-then-backend", server)
        .arg(stored.trim())
        .start();
    let port = dpm.listening();
    let files = dpm.open_files();
    let said = Cli::query(Flavour::MariaDb, port, "SELECT 'joined'");
    assert_eq!(said, "joined\n");
    assert_eq!(
        told(&dpm, &["auth", "before ok", "client_ok", "after ok"]),
        [
            &format!("auth {USER}"),
            "before ok",
            "client_ok",
            "after ok"
        ]
    );
    dpm.wait_for_open_files(files);
    for (user, password) in [(USER, "wrong"), (USER, ""), ("nobody", PASSWORD)] {
        let refused = connect_as(port, user, password).unwrap_err().to_string();
        assert!(refused.contains("1045"), "{user} {password}: {refused}");
    }
    // The servers of those who were refused are free for others.
    assert_eq!(Wire::login(port, PLAIN).rows("SELECT 1"), [["1"]]);
}

both! {
    fn a_librarys_package_steps_in_for_one_query(server) {
        let dpm = Launch::old("03-package-swap", server).start();
        let port = dpm.listening();
        let three = "SELECT 1 UNION SELECT 2 UNION SELECT 3";
        for shape in [PLAIN, MODERN] {
            let mut wire = Wire::login_empty(port, shape);
            let own = dpm.count("own 3");
            assert_eq!(wire.rows(three), [["1"], ["2"], ["3"]]);
            eventually("the script counts", || dpm.count("own 3") == own + 1);
            let Answer::Ok(ok) = wire.query(&format!("COUNT {three}")) else { panic!("an OK") };
            assert_eq!(ok[1], 3, "affected rows");
            let Answer::Ok(ok) = wire.query("COUNT SELEKT") else { panic!("an OK") };
            assert_eq!(ok[1], 0, "affected rows");
            assert_eq!(wire.rows(three), [["1"], ["2"], ["3"]]);
            eventually("the script counts again", || dpm.count("own 3") == own + 2);
        }
        assert_eq!(dpm.count("package 3"), 2);
    }
}

both! {
    fn a_result_is_buffered_and_sent_backwards(server) {
        let dpm = Launch::old("04-buffer-by-hand", server).start();
        let port = dpm.listening();
        let said = Cli::query(
            server.flavour,
            port,
            "SELECT 1, 'a' UNION ALL SELECT NULL, '' UNION ALL SELECT 3, NULL; DO 1; SELECT 4",
        );
        assert_eq!(said, "3\tNULL\nNULL\t\n1\ta\n4\n");
        for shape in [PLAIN, MODERN] {
            let mut wire = Wire::login_empty(port, shape);
            // Several results in one answer.
            assert_eq!(wire.rows("SELECT 1 UNION SELECT 2; SELECT 3 UNION SELECT 4"), [["2"], ["1"]]);
            match wire.answer() {
                Answer::Rows { rows, .. } => assert_eq!(rows[1][0].as_deref(), Some(&b"3"[..])),
                other => panic!("{other:?}"),
            }
            assert!(matches!(wire.query("SELEKT"), Answer::Err(1064, ..)));
            assert!(wire.rows("SELECT 1 FROM DUAL WHERE 1 = 0").is_empty());
        }
    }
}

#[test]
fn timers_tick_and_the_process_ends_with_the_last() {
    let mut dpm = Launch::old("05-timers", mariadb()).start();
    assert_eq!(dpm.wait_for_end().code(), Some(0));
    dpm.line("again");
    let told: Vec<String> = dpm
        .lines("")
        .into_iter()
        .filter(|l| !l.contains("dpm"))
        .collect();
    assert_eq!(told, ["tick 1", "tick 2", "tick 3", "once", "again"]);
}

#[test]
fn one_command_goes_to_two_servers() {
    let dpm = Launch::old("06-fanout", mariadb()).start();
    let port = dpm.listening();
    let files = dpm.open_files();
    let said = Cli::query(
        Flavour::MariaDb,
        port,
        "SELECT CONNECTION_ID(); DO 1; SELECT 5",
    );
    let lines: Vec<&str> = said.lines().collect();
    assert_eq!(lines.len(), 4, "{said}");
    assert_ne!(lines[0], lines[1], "two connections");
    assert_eq!(lines[2..], ["5", "5"]);
    let mut wire = Wire::login(port, MODERN);
    assert!(matches!(wire.query("SELEKT"), Answer::Err(1064, ..)));
    assert_eq!(wire.rows("SELECT 6"), [["6"], ["6"]]);
    drop(wire);
    dpm.wait_for_open_files(files);
}

#[test]
fn no_server_at_all() {
    let socket = process::folder("socket").join("dpm.sock");
    let dpm = Launch::old("07-no-server", mariadb())
        .arg(socket.display())
        .start();
    let port = dpm.listening();
    let files = dpm.open_files();
    let mut wire = Wire::login_as(port, "dpm", "dpm", MODERN);
    let row = &wire.rows("whoami")[0];
    assert_eq!((&*row[1], &*row[6]), ("127.0.0.1", "NULL"));
    let number = |at: usize| row[at].parse::<f64>().expect("a number");
    assert!((number(2) - number(4)).abs() <= 1.0, "seconds: {row:?}");
    assert!(number(3) < 1e6, "microseconds: {row:?}");
    assert!(
        (number(5) / 1000.0 - number(2)).abs() <= 2.0,
        "milliseconds: {row:?}"
    );
    match wire.query("fail") {
        Answer::Err(1105, state, _) => assert_eq!(state, "HY000"),
        other => panic!("{other:?}"),
    }
    dpm.line("a callback error");
    assert!(matches!(wire.query("anything"), Answer::Ok(_)));
    assert_eq!(told(&dpm, &["client_ok"]).len(), 1);
    assert!(dpm.count("again ") >= 2);
    drop(wire);

    let refused = connect_as(port, "dpm", "wrong").unwrap_err().to_string();
    assert!(refused.contains("1045"), "{refused}");
    let said = Cli::tool(Flavour::MariaDb, "mysql")
        .args(["--no-defaults", "-N", "-B", "-udpm", "-pdpm"])
        .arg(format!("--socket={}", socket.display()))
        .args(["-e", "whoami"])
        .ok();
    assert!(said.contains("\tlocalhost\t"), "{said}");
    dpm.wait_for_open_files(files);
}

both! {
    fn status_flags_are_read_and_changed(server) {
        /// SERVER_QUERY_WAS_SLOW
        const SLOW: u16 = 2048;
        let dpm = Launch::old("08-status-flags", server).start();
        let port = dpm.listening();
        for shape in [PLAIN, MODERN] {
            let mut wire = Wire::login_empty(port, shape);
            let before = dpm.count("in trans true");
            let Answer::Ok(ok) = wire.query("BEGIN") else { panic!("an OK") };
            assert_ne!(ok_status(&ok) & SLOW, 0);
            let Answer::Rows { status, rows, .. } = wire.query("SELECT 1") else { panic!("rows") };
            assert_ne!(status & SLOW, 0);
            assert_eq!(rows.len(), 1);
            eventually("both are told", || dpm.count("in trans true") == before + 2);
            assert!(matches!(wire.query("ROLLBACK"), Answer::Ok(_)));
            assert!(dpm.wrote("in trans false autocommit true"));
        }
    }
}

#[test]
fn results_through_the_library_are_what_the_server_sends() {
    let server = mariadb();
    let base = server.database();
    server.sql(&format!(
        "USE {base};
         CREATE TABLE t (id BIGINT UNSIGNED PRIMARY KEY, name VARCHAR(20) NOT NULL DEFAULT 'x',
             price DECIMAL(10, 2), born DATE, at DATETIME(3), f DOUBLE, e ENUM('a', 'b'), s SET('x', 'y'),
             bits BIT(5), body BLOB, note TEXT CHARACTER SET latin1, INDEX (name));
         INSERT INTO t VALUES
             (18446744073709551615, 'ä', 1.50, '2024-02-29', '2024-02-29 12:00:00.123', 0.1, 'b', 'x,y',
              b'10101', x'00ff0a', 'ü'),
             (1, '', NULL, NULL, NULL, NULL, NULL, NULL, NULL, NULL, NULL)"
    ));
    let dpm = Launch::old("09-execute-buffered", server).start();
    let port = dpm.listening();
    dpm.line("[\"list\"] = {");
    let select = |port| {
        Cli::login(Flavour::MariaDb, "mysql", port)
            .args([
                "--table",
                "--column-type-info",
                "--default-character-set=utf8mb4",
                "-e",
            ])
            .arg(format!(
                "SELECT * FROM {base}.t ORDER BY id; SELECT 1 AS one FROM DUAL WHERE 0"
            ))
            .ok()
    };
    assert_eq!(select(port), select(server.port));
    let mut wire = Wire::login(port, MODERN);
    assert_eq!(
        wire.query("SELECT * FROM nowhere.t"),
        Answer::Err(
            1146,
            "42S02".into(),
            "Table 'nowhere.t' doesn't exist".into()
        )
    );
    let Answer::Ok(ok) = wire.query(&format!("UPDATE {base}.t SET f = 2")) else {
        panic!("an OK")
    };
    assert_eq!(ok[1], 2, "affected rows");
    assert!(wire.query(&format!("DELETE FROM {base}.t WHERE id = 1")) != Answer::Ok(vec![]));
}

both! {
    fn the_convenience_function_and_nothing_else(server) {
        let dpm = Launch::old("10-r6-passthrough", server).start();
        let port = dpm.listening();
        let files = dpm.open_files();
        let mut wire = Wire::login_empty(port, MODERN);
        assert_eq!(wire.rows("SELECT 1"), [["1"]]);
        assert_eq!(
            wire.query("SECRET"),
            Answer::Err(1142, "42000".into(), "not for you".into())
        );
        assert_eq!(wire.rows("SELECT 2"), [["2"]]);
        drop(wire);
        dpm.line("closing_client");
        dpm.line("new_client 2 true");
        let command = ["new_command", "finished_command"];
        assert_eq!(
            told(&dpm, &["new_command", "finished_command", "closing_client"]),
            [&command[..], &command, &command, &["closing_client"]].concat()
        );
        // The plugin of the flavour, prepared statements.
        let mut conn = crate::support::connect(port);
        assert_eq!(conn.exec_first::<i64, _, _>("SELECT ? + 1", (4,)).unwrap(), Some(5));
        drop(conn);
        dpm.wait_for_open_files(files);
    }
}

#[test]
fn libraries_nest() {
    let mut dpm = Launch::old("11-nested-packages", mariadb()).start();
    assert_eq!(dpm.wait_for_end().code(), Some(0));
    dpm.line("death");
    let told: Vec<String> = dpm.lines("");
    let told: Vec<&str> = told
        .iter()
        .filter(|line| {
            ["mine", "buffered", "package", "death"]
                .iter()
                .any(|w| line.starts_with(w))
        })
        .map(|line| line.split(": ").next().unwrap())
        .collect();
    assert_eq!(
        told,
        [
            "mine rows 2",
            "buffered SELECT NULL, 1 nil next false",
            "buffered DO 1 ok 0",
            "buffered SELEKT ERROR 1064 (42000)",
            "buffered SELECT 'a''b' a'b next false",
            "package is mine again true",
            "death true 2013",
        ]
    );
}

both! {
    fn closed_connections_are_collected(server) {
        let dpm = Launch::old("12-collected", server).start();
        let port = dpm.listening();
        let files = dpm.open_files();
        std::thread::scope(|scope| {
            for _ in 0..4 {
                scope.spawn(|| {
                    for _ in 0..10 {
                        assert_eq!(Wire::login_empty(port, MODERN).rows("SELECT 1"), [["1"]]);
                    }
                });
            }
        });
        dpm.wait_for_open_files(files);
        assert_eq!(Wire::login_empty(port, MODERN).rows("LEAKS"), [["2"]]);
    }
}
