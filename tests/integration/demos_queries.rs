//! Each demo does what its header says: those that look at queries and results.

use mysql::prelude::Queryable as _;

use crate::support::dpm::Launch;
use crate::support::exchange::execute_argument;
use crate::support::wire::{Answer, Wire, caps, com};
use crate::support::{self, Cli, Dpm, Server, both, process};

const PLAIN: u32 = caps::BASE | caps::MULTI;
const MODERN: u32 = caps::BASE | caps::MULTI | caps::DEPRECATE_EOF;

/// A table of ten numbers.
fn ten(server: &Server) -> String {
    let base = server.database();
    server.sql(&format!(
        "USE {base}; CREATE TABLE ten (n INT PRIMARY KEY, note VARCHAR(20));
         INSERT INTO ten VALUES (0,'a'),(1,'b'),(2,'c'),(3,'d'),(4,'e'),(5,'f'),(6,'g'),(7,'h'),(8,'i'),(9,'j')"
    ));
    base
}

both! {
    fn rewrite(server) {
        let base = ten(server);
        let dpm = Launch::demo("rewrite", server).arg(3).start();
        let port = dpm.listening();
        let files = dpm.open_files();
        for shape in [PLAIN, MODERN] {
            let mut wire = Wire::login_empty(port, shape);
            let mut count = |sql: &str| wire.rows(&sql.replace("ten", &format!("{base}.ten"))).len();
            for limited in [
                "SELECT n FROM ten",
                "select n from ten -- and no LIMIT",
                "SELECT n FROM ten # LIMIT 5",
                "SELECT n, 'LIMIT 5' FROM ten;",
                "SELECT n AS `LIMIT` FROM ten ORDER BY n /* LIMIT 5 */ ;",
                "SELECT n FROM ten WHERE n IN (SELECT * FROM (SELECT n FROM ten LIMIT 9) AS few)",
                "(SELECT n FROM ten LIMIT 4) UNION ALL (SELECT n FROM ten LIMIT 4)",
                "SELECT n FROM ten UNION SELECT n + 10 FROM ten",
                "WITH few AS (SELECT n FROM ten LIMIT 8) SELECT * FROM few",
            ] {
                assert_eq!(count(limited), 3, "{limited}");
            }
            for (own, rows) in [
                ("SELECT n FROM ten LIMIT 5", 5),
                ("SELECT n FROM ten\nlimit\n5", 5),
                ("SELECT n FROM ten LIMIT 2, 7", 7),
                ("SELECT n FROM ten FOR UPDATE", 10),
                ("SELECT n FROM ten LOCK IN SHARE MODE", 10),
                ("SELECT 1", 1),
            ] {
                assert_eq!(count(own), rows, "{own}");
            }
            // Several statements in one command are not changed.
            assert_eq!(wire.rows(&format!("SELECT n FROM {base}.ten; SELECT 2")).len(), 10);
            assert!(matches!(wire.answer(), Answer::Rows { .. }));
            assert!(matches!(wire.query(&format!("SELECT n INTO @n FROM {base}.ten WHERE n = 7")), Answer::Ok(_)));
            assert_eq!(wire.rows("SELECT @n"), [["7"]]);
            assert!(matches!(wire.query("SELEKT"), Answer::Err(1064, ..)));
        }
        let mut conn = support::connect(port);
        let numbers: Vec<i64> = conn.exec(format!("SELECT n FROM {base}.ten WHERE n > ?"), (1,)).unwrap();
        assert_eq!(numbers, [2, 3, 4]);
        let numbers: Vec<i64> = conn.exec(format!("SELECT n FROM {base}.ten LIMIT ?"), (6,)).unwrap();
        assert_eq!(numbers.len(), 6);
        drop(conn);
        dpm.wait_for_open_files(files);
    }
}

both! {
    fn slowlog(server) {
        let base = ten(server);
        let dpm = Launch::demo("slowlog", server).arg("200ms").start();
        let port = dpm.listening();
        let files = dpm.open_files();
        let mut first = Wire::login_empty(port, MODERN);
        let mut second = Wire::login_empty(port, PLAIN);
        for n in 0..3 {
            first.rows(&format!("SELECT n FROM {base}.ten WHERE n = {n}"));
            second.rows(&format!("select n  from {base}.ten where n = {n} -- {n}"));
        }
        first.rows("SELECT SLEEP(0.3)");
        dpm.line(" ms: SELECT SLEEP(?)");
        assert!(matches!(second.query("SELEKT 5"), Answer::Err(1064, ..)));
        let digests = first.rows("show digests");
        let of = |text: &str| {
            let found = digests.iter().find(|row| row[0].contains(text));
            found.unwrap_or_else(|| panic!("{text}: {digests:?}")).clone()
        };
        assert_eq!(digests[0][0], "SELECT SLEEP(?)", "the one that took the most comes first");
        let slow = of("SLEEP");
        assert_eq!((&*slow[1], &*slow[7]), ("1", "1"), "once, in less than a second: {slow:?}");
        let number = |text: &str| text.parse::<f64>().unwrap();
        assert!(number(&slow[2]) >= 300.0 && number(&slow[3]) >= 300.0, "{slow:?}");
        let quick = of(".ten WHERE");
        assert_eq!(quick[1], "6", "of both clients: {quick:?}");
        assert_eq!(quick[4..].iter().map(|count| number(count)).sum::<f64>(), 6.0, "{quick:?}");
        assert_eq!(of("SELEKT")[1], "1", "what fails takes time, too");

        // A statement is counted under its text each time that it is executed.
        for _ in 0..2 {
            let id = second.prepare("SELECT ? + 1, 'prepared'");
            for value in [b"1", b"2"] {
                second.exchange(com::STMT_EXECUTE, &execute_argument(id, 0, &[Some(value)]));
            }
            second.command(com::STMT_CLOSE, &id.to_le_bytes());
        }
        let digests = second.rows("SHOW DIGESTS");
        let found = digests.iter().find(|row| row[0].contains("SELECT ? + ?")).expect("the statement");
        assert_eq!(found[1], "4");
        // A client that leaves in the middle does no harm, and counts nothing.
        second.command(com::QUERY, b"SELECT SLEEP(1), 'nobody waits'");
        drop(second);
        dpm.signal("USR1");
        dpm.line("= \"SELECT SLEEP(?)\"");
        assert!(!first.rows("SHOW DIGESTS").iter().any(|row| row[0].contains("SLEEP(?), ?")));
        drop(first);
        dpm.wait_for_open_files(files);
    }
}

#[test]
fn slowlog_keeps_so_many_digests_and_no_more() {
    let dpm = Launch::demo("slowlog", support::mariadb()).start();
    let mut wire = Wire::login_empty(dpm.listening(), MODERN);
    for n in 0..1100 {
        wire.rows(&format!("SELECT 1 AS a{n}"));
    }
    let digests = wire.rows("SHOW DIGESTS");
    assert_eq!(digests.len(), 1001);
    let others = digests
        .iter()
        .find(|row| row[0] == "(other digests)")
        .expect("the others");
    assert_eq!(others[1], "100");
}

both! {
    fn firewall(server) {
        let base = ten(server);
        let file = process::folder("firewall").join("learnt");
        let path = file.display().to_string();
        let start = |how: &str| -> Dpm {
            Launch::demo("firewall", server).arg(&path).arg(how).start()
        };
        let dpm = start("learn");
        let mut wire = Wire::login_empty(dpm.listening(), MODERN);
        wire.exchange(com::INIT_DB, base.as_bytes());
        wire.rows("SELECT note FROM ten WHERE n = 1 AND note <> 'x'");
        assert!(matches!(wire.query("SET @mode = 'fast'"), Answer::Ok(_)));
        assert!(matches!(wire.query("SELECT 1; SELECT 2"), Answer::Rows { .. }));
        wire.answer();
        wire.prepare("SELECT n FROM ten WHERE note = ?");
        assert!(matches!(wire.query("PREPARE p FROM 'SELECT 1'"), Answer::Ok(_)));
        drop(wire);
        drop(dpm);

        let dpm = start("");
        let port = dpm.listening();
        let files = dpm.open_files();
        let learnt = std::fs::read_to_string(&file).unwrap();
        for shape in [PLAIN, MODERN] {
            let mut wire = Wire::login_empty(port, shape);
            assert_eq!(wire.exchange(com::INIT_DB, base.as_bytes())[0][0], 0);
            // Other values pass, whatever is in them.
            assert_eq!(wire.rows("SELECT note FROM ten WHERE n = 3 AND note <> 'it''s'"), [["d"]]);
            assert_eq!(wire.rows("select note from ten where n=4 and note<>'\\' OR 1=1 -- '"), [["e"]]);
            assert!(matches!(wire.query("SET @mode = 'fast'"), Answer::Ok(_)));
            assert_eq!(wire.rows("SELECT 1; SELECT 2"), [["1"]]);
            wire.answer();
            let id = wire.prepare("SELECT n FROM ten WHERE note = ?");
            let rows = wire.exchange(com::STMT_EXECUTE, &execute_argument(id, 0, &[Some(b"c")]));
            assert_ne!(rows[0][0], 0xFF);
            wire.command(com::STMT_CLOSE, &id.to_le_bytes());
            assert!(matches!(wire.query("PREPARE p FROM 'SELECT 1'"), Answer::Ok(_)));
            for sql in [
                "SELECT note FROM ten WHERE n = 3 OR 1 = 1",
                "SELECT note FROM ten WHERE n = 3 AND note <> '' OR ''=''",
                "SELECT note FROM ten WHERE n = 3 AND note <> ''; DROP TABLE ten",
                "SELECT note FROM ten WHERE n = 3 AND note <> '' -- ' \n; DROP TABLE ten",
                "SELECT note FROM ten WHERE n = 3 AND note <> '' /*! OR 1 = 1 */",
                "SELECT note FROM ten WHERE n = 3 AND note <> '\u{0}' UNION SELECT 1",
                "DROP TABLE ten",
                "SET @mode = 'slow'",
                "SET sql_mode = 'NO_BACKSLASH_ESCAPES'",
                "SELECT 1; SELECT 3",
                "PREPARE p FROM 'DROP TABLE ten'",
                "EXECUTE p",
                "USE mysql",
                "",
            ] {
                let Answer::Err(number, state, _) = wire.query(sql) else { panic!("{sql}") };
                assert_eq!((number, &*state), (1142, "42000"), "{sql}");
            }
            let refused = [
                (com::STMT_PREPARE, &b"DROP TABLE ten"[..]),
                (com::INIT_DB, b"mysql"),
                (com::FIELD_LIST, b"ten\0"),
                (com::PROCESS_KILL, b"\x01\0\0\0"),
                (com::BINLOG_DUMP, &[0; 20]),
            ];
            for (command, argument) in refused {
                assert_eq!(wire.exchange(command, argument)[0][..3], [0xFF, 0x76, 0x04], "{command}");
            }
            assert_eq!(wire.exchange(com::PING, b"")[0][0], 0);
            assert_eq!(wire.rows("SELECT note FROM ten WHERE n = 5 AND note <> ''"), [["f"]]);
        }
        assert_eq!(std::fs::read_to_string(&file).unwrap(), learnt, "it learns no more");
        dpm.line("refused: exactly DROP TABLE ten");
        assert_eq!(server.sql(&format!("SELECT COUNT(*) FROM {base}.ten")), "10\n");
        dpm.wait_for_open_files(files);
    }
}

#[test]
fn firewall_without_its_file_does_not_start() {
    let mut dpm = Launch::demo("firewall", support::mariadb())
        .arg(process::folder("firewall").join("nothing").display())
        .start();
    assert_eq!(dpm.wait_for_end().code(), Some(1));
    assert!(!dpm.wrote("firewall listening"));
}

/// A table with an address and a card number to hide.
fn customers(server: &Server) -> String {
    let base = server.database();
    server.sql(&format!(
        "USE {base}; CREATE TABLE customers (id INT PRIMARY KEY, email VARCHAR(40) NOT NULL, card BIGINT);
         INSERT INTO customers VALUES (1, 'ann@example.com', 4111), (2, 'bob@example.com', NULL);
         CREATE VIEW contacts AS SELECT id, email AS address FROM customers;
         CREATE TABLE other (email VARCHAR(40)); INSERT INTO other VALUES ('public');
         DELIMITER //
         CREATE PROCEDURE p() BEGIN SELECT UPPER(email), card FROM customers WHERE id = 1; END //"
    ));
    base
}

both! {
    fn mask(server) {
        let base = customers(server);
        let columns = "customers.email,customers.card,contacts.address";
        let dpm = Launch::demo("mask", server).arg(columns).start();
        let port = dpm.listening();
        let files = dpm.open_files();
        let secret = |text: &str| text.contains("@example") || text.contains("4111") || text.contains("EXAMPLE");
        for shape in [PLAIN, MODERN] {
            let mut wire = Wire::login_empty(port, shape);
            wire.exchange(com::INIT_DB, base.as_bytes());
            for sql in [
                "SELECT email AS harmless FROM customers AS c",
                "SELECT * FROM customers",
                "SELECT CONCAT(email, '') FROM customers",
                "SELECT MAX(card) FROM customers",
                "SELECT e FROM (SELECT email AS e FROM customers) AS d",
                "SELECT e FROM (SELECT DISTINCT email AS e FROM customers) AS d",
                "SELECT id, email FROM customers UNION SELECT 5, 'x'",
                "SELECT `email` FROM `customers` GROUP BY 1",
                "SELECT address FROM contacts",
                "WITH c AS (SELECT email AS e FROM customers) SELECT UPPER(e) FROM c",
                "SELECT (SELECT email FROM customers LIMIT 1)",
                "TABLE customers",
                "CALL p()",
                "HANDLER customers READ FIRST",
                "SELECT e FROM (SELECT 1 AS a, '' AS e, 2 AS b UNION ALL TABLE customers) AS d",
            ] {
                wire.command(com::QUERY, sql.as_bytes());
                let packets = wire.packets(com::QUERY);
                let all = packets.concat();
                assert!(!secret(&String::from_utf8_lossy(&all)), "{sql}: {packets:?}");
            }
            let into = "SELECT email INTO @e FROM customers WHERE id = 1";
            assert!(matches!(wire.query(into), Answer::Ok(_)));
            assert_eq!(wire.rows("SELECT @e"), [["***"]]);
            // NULL and columns that are not masked stay.
            assert!(matches!(wire.query("HANDLER customers OPEN"), Answer::Ok(_)));
            let handled = wire.rows("HANDLER customers READ FIRST");
            assert!(handled.len() == 1 && !secret(&handled.concat().concat()), "{handled:?}");
            let Answer::Rows { rows, .. } = wire.query("SELECT id, email, card, 7 FROM customers ORDER BY id") else { panic!() };
            assert_eq!(rows[0][0].as_deref(), Some(&b"1"[..]));
            assert_eq!(rows[0][1].as_deref(), Some(&b"***"[..]));
            assert_eq!(rows[0][2], None);
            assert_eq!(wire.rows("SELECT email FROM other"), [["public"]]);
            assert_eq!(wire.rows("SELECT COUNT(*), 'customer' FROM other"), [["1", "customer"]]);
            assert_eq!(wire.rows("SELECT 5 + 5; SELECT 6"), [["10"]]);
            wire.answer();
            // Raw rows are refused.
            assert_eq!(wire.exchange(com::BINLOG_DUMP, &[0; 20])[0][..3], [0xFF, 0x76, 0x04]);

            // The binary protocol, with a cursor and without, and again without definitions.
            for sql in [
                "SELECT id, email, card FROM customers WHERE id > ?",
                "SELECT id, LOWER(email), card + ? FROM customers",
            ] {
                let id = wire.prepare(sql);
                for cursor in [0, 1, 0] {
                    let argument = execute_argument(id, cursor, &[Some(b"0")]);
                    let answer = wire.exchange(com::STMT_EXECUTE, &argument);
                    let all = answer.concat();
                    assert!(!secret(&String::from_utf8_lossy(&all)), "{answer:?}");
                    assert!(!all.windows(8).any(|bytes| bytes == 4111_u64.to_le_bytes()), "{answer:?}");
                    assert!(String::from_utf8_lossy(&all).contains("***"), "the rows came: {answer:?}");
                }
                wire.exchange(com::STMT_CLOSE, &id.to_le_bytes());
            }
        }
        let mut conn = support::connect(port);
        let rows: Vec<(i64, String, Option<i64>)> =
            conn.exec(format!("SELECT id, email AS e, card FROM {base}.customers WHERE id = ?"), (1,)).unwrap();
        assert_eq!(rows, [(1, "***".to_owned(), None)]);
        drop(conn);
        let said = Cli::query(server.flavour, port, &format!("SELECT email FROM {base}.customers"));
        assert_eq!(said, "***\n***\n");
        dpm.wait_for_open_files(files);
    }
}

/// Bulk executes are masked like other prepared statements.
#[test]
fn mask_of_what_bulk_executes_return() {
    let server = support::mariadb();
    let base = customers(server);
    let dpm = Launch::demo("mask", server).start();
    let mut wire = Wire::login_extended(dpm.listening(), MODERN, caps::extended::BULK);
    wire.exchange(com::INIT_DB, base.as_bytes());
    let id = wire.prepare("INSERT INTO customers (id, email) VALUES (?, 'zed@example.com') RETURNING id, LOWER(email)");
    assert_eq!(wire.rows("SELECT LOWER('Nothing')"), [["nothing"]]);
    let rows = [
        &id.to_le_bytes()[..],
        &[128, 0, 0xFD, 0, 0, 1, b'7', 0, 1, b'8'],
    ]
    .concat();
    let answer = wire.exchange(com::STMT_BULK_EXECUTE, &rows).concat();
    let text = String::from_utf8_lossy(&answer);
    assert!(text.contains("***") && !text.contains("zed@"), "{text}");
    assert_eq!(
        server.sql(&format!(
            "SELECT COUNT(*) FROM {base}.customers WHERE id IN (7, 8)"
        )),
        "2\n"
    );
}

both! {
    fn chain(server) {
        let base = customers(server);
        let file = process::folder("chain").join("learnt");
        let path = file.display().to_string();
        let learning = Launch::demo("chain", server).arg(&path).arg("learn").start();
        let mut wire = Wire::login_empty(learning.listening(), MODERN);
        wire.rows(&format!("SELECT email FROM {base}.customers"));
        wire.rows("SELECT SLEEP(0)");
        assert!(matches!(wire.query(&format!("USE {base}")), Answer::Ok(_)));
        let many = "SELECT a.id, a.email FROM customers a, customers b, customers c, customers d, customers e, customers f, customers g";
        wire.rows(many);
        wire.prepare("SELECT id, UPPER(email) FROM customers WHERE id = ?");
        drop(wire);
        drop(learning);
        let dpm = Launch::demo("chain", server).arg(&path).start();
        let port = dpm.listening();
        let files = dpm.open_files();
        for shape in [PLAIN, MODERN] {
            let mut wire = Wire::login_empty(port, shape);
            assert_eq!(wire.rows(&format!("SELECT email FROM {base}.customers")), [["***"], ["***"]]);
            assert!(matches!(wire.query("SELECT 'new'"), Answer::Err(1142, ..)));
            wire.rows("SELECT SLEEP(1.1)");
            assert!(matches!(wire.query(&format!("USE {base}")), Answer::Ok(_)));
            let rows = wire.rows(many);
            assert_eq!(rows.len(), 100, "of 128");
            assert!(rows.iter().all(|row| row[1] == "***"));
            // Every plug-in of the chain sees a prepared statement.
            let id = wire.prepare("SELECT id, UPPER(email) FROM customers WHERE id = ?");
            let answer = wire.exchange(com::STMT_EXECUTE, &execute_argument(id, 1, &[Some(b"1")])).concat();
            let text = String::from_utf8_lossy(&answer).into_owned();
            assert!(text.contains("***") && !text.contains("EXAMPLE"), "{text}");
            let digests = wire.rows("SHOW DIGESTS");
            assert!(digests.iter().any(|row| row[0] == "SELECT SLEEP(?)"));
            assert!(digests.iter().any(|row| row[0].contains("UPPER")), "{digests:?}");
        }
        dpm.line(" s: SELECT SLEEP(?)");
        dpm.line("refused: ");
        dpm.wait_for_open_files(files);
    }
}
