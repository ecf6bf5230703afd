//! `dpml.coalesce`: who shares an answer, and what each client has of it.

use crate::support::dpm::Launch;
use crate::support::exchange::execute_argument;
use crate::support::wire::{Answer, Wire, caps, com};
use crate::support::{Dpm, Server, both, eventually};

const MODERN: u32 = caps::BASE | caps::MULTI | caps::DEPRECATE_EOF;

/// Two clients of a handler that shares, in a database with a table `t` of two rows.
struct Pair<'a> {
    server: &'a Server,
    dpm: Dpm,
    base: String,
    first: Wire,
    second: Wire,
}

impl Pair<'_> {
    fn new(server: &Server) -> Pair<'_> {
        let base = server.database();
        server.sql(&format!(
            "USE {base}; CREATE TABLE t (id INT PRIMARY KEY) ENGINE=InnoDB; INSERT INTO t VALUES (1), (2)"
        ));
        let dpm = Launch::demo("coalesce", server).start();
        let port = dpm.listening();
        let [mut first, mut second] = [(); 2].map(|()| Wire::login(port, MODERN));
        for wire in [&mut first, &mut second] {
            assert_eq!(wire.exchange(com::INIT_DB, base.as_bytes())[0][0], 0);
        }
        Pair {
            server,
            dpm,
            base,
            first,
            second,
        }
    }

    /// Both ask the same, the second while the first is answered. Returns how often it runs, and the answers.
    fn ask(&mut self, sql: &str) -> (usize, [Answer; 2]) {
        self.first.command(com::QUERY, sql.as_bytes());
        eventually("it runs", || self.server.running(sql) == 1);
        self.second.command(com::QUERY, sql.as_bytes());
        self.dpm.settle();
        let running = self.server.running(sql);
        (running, [self.first.answer(), self.second.answer()])
    }

    /// They share the answer to this, which has a `NOW(6)`: by that it is the same one. On a busy machine the second
    /// may come too late.
    #[track_caller]
    fn share(&mut self, sql: &str) {
        for _ in 0..5 {
            let (_, [one, other]) = self.ask(sql);
            assert!(matches!(one, Answer::Rows { .. }), "{sql}: {one:?}");
            if one == other {
                return;
            }
        }
        panic!("{sql}: is not shared");
    }
}

both! {
    fn only_rows_are_shared(server) {
        let mut pair = Pair::new(server);
        // Each has its own warnings.
        let (_, answers) = pair.ask("SELECT CAST('1x' AS SIGNED), SLEEP(1)");
        for (answer, wire) in answers.iter().zip([&mut pair.first, &mut pair.second]) {
            assert!(matches!(answer, Answer::Rows { .. }), "{answer:?}");
            assert_eq!(wire.rows("SHOW WARNINGS").len(), 1);
        }
        // Each has its own error: that of the one is not the other's.
        let base = pair.base.clone();
        let slow = format!("SELECT COUNT(*) FROM {base}.t a, {base}.t b WHERE SLEEP(1) = 0");
        pair.first.command(com::QUERY, slow.as_bytes());
        eventually("it runs", || server.running(&slow) == 1);
        pair.second.command(com::QUERY, slow.as_bytes());
        pair.dpm.settle();
        let id = server.sql(&format!("SELECT id FROM information_schema.processlist WHERE info = '{slow}'"));
        server.sql(&format!("KILL QUERY {}", id.trim()));
        pair.first.answer();
        let Answer::Rows { rows, .. } = pair.second.answer() else { panic!("rows") };
        assert_eq!(rows[0][0].as_deref(), Some(&b"4"[..]));
        let too_long = "SELECT (SELECT id FROM t), SLEEP(1) FROM t";
        for wire in [&mut pair.first, &mut pair.second] {
            assert!(matches!(wire.query(too_long), Answer::Err(1242, ..)));
            assert_eq!(wire.rows("SHOW WARNINGS")[0][1], "1242");
        }
    }
}

both! {
    fn what_is_asked_about_a_shared_answer(server) {
        let mut pair = Pair::new(server);
        let shared = "SELECT id, NOW(6), SLEEP(0.4) FROM t";
        let before = |pair: &mut Pair<'_>| {
            for wire in [&mut pair.first, &mut pair.second] {
                assert_eq!(wire.rows("SELECT CAST('1x' AS SIGNED) UNION SELECT 5 UNION SELECT 6").len(), 3);
            }
            pair.share(shared);
        };
        for (sql, wanted) in [
            ("SHOW WARNINGS", &[][..]),
            ("SHOW ERRORS", &[]),
            ("SHOW COUNT(*) WARNINGS", &["0"]),
            ("SELECT @@warning_count", &["0"]),
            ("SELECT @@session.warning_count", &["0"]),
            ("SELECT FOUND_ROWS()", &["2"]),
            ("select `found_rows`() /* c */", &["2"]),
            ("SELECT ROW_COUNT()", &["-1"]),
        ] {
            before(&mut pair);
            for wire in [&mut pair.first, &mut pair.second] {
                let rows = wire.rows(sql);
                let first: Vec<&str> = rows.iter().map(|row| &*row[0]).collect();
                assert_eq!(first, wanted, "{sql}");
            }
        }
        before(&mut pair);
        for wire in [&mut pair.first, &mut pair.second] {
            assert!(matches!(wire.query("GET DIAGNOSTICS @n = NUMBER"), Answer::Ok(_)));
            assert_eq!(wire.rows("SELECT @n"), [["0"]]);
        }

        // Also behind what changes no rows that were found, and by a prepared statement.
        let mut pair = Pair::new(server);
        let id = pair.second.prepare("SELECT FOUND_ROWS() + ?");
        before(&mut pair);
        assert!(matches!(pair.second.query("COMMIT"), Answer::Ok(_)));
        assert_eq!(pair.second.rows("SELECT FOUND_ROWS()"), [["2"]]);
        before(&mut pair);
        let rows = pair.second.exchange(com::STMT_EXECUTE, &execute_argument(id, 0, &[Some(b"0")]));
        assert!(rows.iter().any(|row| row.ends_with(b"2") || row.ends_with(&2u64.to_le_bytes()) || row.ends_with(&2f64.to_le_bytes())), "{rows:?}");
    }
}

both! {
    fn what_is_harmless_ends_no_sharing(server) {
        let mut pair = Pair::new(server);
        for (n, statements) in [
            &["SHOW TABLES"][..],
            &["SHOW WARNINGS"],
            &["SHOW VARIABLES LIKE 'version'"],
            &["DO 1"],
            &["EXPLAIN SELECT * FROM t"],
            &["DESCRIBE t"],
            &["BEGIN", "COMMIT"],
            &["START TRANSACTION READ ONLY", "ROLLBACK"],
            &["INSERT INTO t VALUES (3)", "DELETE FROM t WHERE id = 3"],
            &["INSERT INTO t VALUES (1)"],
            &["SELECT * FROM nowhere"],
            &["SELEC"],
            &["SELECT RAND()", "SELECT CONNECTION_ID()"],
            &["SELECT @@version"],
            &["SELECT id FROM t FOR UPDATE"],
            &["SELECT FOUND_ROWS()"],
            &["/* nothing */ SELECT 1 -- more"],
        ].into_iter().enumerate() {
            for sql in statements {
                pair.first.query(sql);
            }
            pair.share(&format!("SELECT SLEEP(0.4), NOW(6), {n} /* behind {} */", statements[0].len()));
        }
        assert!(matches!(pair.first.query("BEGIN; COMMIT"), Answer::Ok(_)));
        pair.first.answer();
        assert_eq!(pair.first.exchange(com::PING, b"")[0][0], 0);
        pair.first.prepare("SELECT ?");
        pair.share("SELECT SLEEP(0.4), NOW(6), 'all of these'");
    }
}

both! {
    fn what_is_each_clients_own(server) {
        let mut pair = Pair::new(server);
        let apart = |pair: &mut Pair<'_>, sql: &str| {
            pair.first.command(com::QUERY, sql.as_bytes());
            pair.second.command(com::QUERY, sql.as_bytes());
            let answers = [pair.first.answer(), pair.second.answer()];
            assert!(matches!(answers[0], Answer::Rows { .. }), "{sql}: {answers:?}");
            assert_ne!(answers[0], answers[1], "{sql}");
        };
        apart(&mut pair, "SELECT CONNECTION_ID(), SLEEP(0.4)");
        apart(&mut pair, "SELECT `CONNECTION_ID`(), SLEEP(0.4)");
        apart(&mut pair, "SELECT SLEEP(0.4), 'a\\'', UUID(), '\\'b'");
        for wire in [&mut pair.first, &mut pair.second] {
            assert!(matches!(wire.query("SET sql_mode = 'ANSI_QUOTES'"), Answer::Ok(_)));
        }
        apart(&mut pair, "SELECT \"connection_id\"(), SLEEP(0.4)");
        for wire in [&mut pair.first, &mut pair.second] {
            assert_eq!(wire.exchange(com::INIT_DB, b"information_schema")[0][0], 0);
        }
        let own = "SELECT MAX(id), MIN(info), SLEEP(2) FROM processlist WHERE info LIKE '%own processlist%'";
        let (running, _) = pair.ask(own);
        assert_eq!(running, 2);
    }
}
