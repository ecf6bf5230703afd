//! `dpml.firewall`, and those who want to get past it.

use crate::support::dpm::Launch;
use crate::support::exchange::execute_argument;
use crate::support::wire::{Answer, Greeting, Wire, auth_packet, caps, com};
use crate::support::{Dpm, Server, both, process};

const MODERN: u32 = caps::BASE | caps::MULTI | caps::DEPRECATE_EOF | caps::PLUGIN_AUTH;

/// A firewall before a server, with its file.
struct Firewall<'a> {
    server: &'a Server,
    file: std::path::PathBuf,
}

impl Firewall<'_> {
    fn new(server: &Server) -> Firewall<'_> {
        let file = process::folder("firewall").join("learnt");
        Firewall { server, file }
    }

    fn start(&self, options: &str) -> Dpm {
        self.launch(options).start()
    }

    fn launch(&self, options: &str) -> Launch {
        Launch::script(&format!(
            "local dpml = require 'dpml'
             local listener = require('harness').listen(function() end)
             dpml.passthrough_new_clients(listener, dpml.firewall {{ file = '{}', {options} }},
               {{ arg[1], tonumber(arg[2]) }})",
            self.file.display()
        ))
        .server(self.server)
    }

    /// Has it learn these statements, in this database; each must succeed at the server.
    #[track_caller]
    fn learn(&self, base: &str, statements: &[&str]) {
        let dpm = self.start("learn = true");
        let mut wire = login(&dpm, base, 45);
        for sql in statements {
            assert!(!is_err(&mut wire, sql.as_bytes()), "{sql}");
        }
    }

    fn learnt(&self) -> String {
        std::fs::read_to_string(&self.file).unwrap()
    }
}

/// A login with a database, or none, and a collation.
fn login(dpm: &Dpm, base: &str, collation: u8) -> Wire {
    let mut wire = Wire::connect(dpm.port());
    let greeting = Greeting::parse(&wire.read());
    let names = if base.is_empty() {
        0
    } else {
        caps::CONNECT_WITH_DB
    };
    wire.capabilities = (MODERN | names) & greeting.capabilities;
    let mut auth = auth_packet(&greeting.nonce, "empty", "", wire.capabilities & !names);
    auth[..4].copy_from_slice(&wire.capabilities.to_le_bytes());
    auth[8] = collation;
    for name in [base, &greeting.plugin] {
        if !name.is_empty() {
            auth.extend_from_slice(name.as_bytes());
            auth.push(0);
        }
    }
    wire.write(&auth);
    assert_eq!(wire.read()[0], 0, "the login");
    wire
}

/// COM_CHANGE_USER with a database and a collation: the first byte of the answer.
fn change_user(wire: &mut Wire, base: &str, collation: u16) -> u8 {
    let mut argument = format!("empty\0\0{base}\0").into_bytes();
    argument.extend_from_slice(&collation.to_le_bytes());
    argument.extend_from_slice(b"mysql_native_password\0");
    wire.command(com::CHANGE_USER, &argument);
    let mut answer = wire.read();
    if answer[0] == 0xFE {
        wire.write(b"");
        answer = wire.read();
    }
    answer[0]
}

fn is_refusal(answer: &Answer) -> bool {
    matches!(answer, Answer::Err(1142, state, message) if state == "42000" && message.contains("firewall"))
}

fn ask(wire: &mut Wire, sql: &[u8]) -> Answer {
    wire.command(com::QUERY, sql);
    wire.answer()
}

fn is_err(wire: &mut Wire, sql: &[u8]) -> bool {
    matches!(ask(wire, sql), Answer::Err(..))
}

#[track_caller]
fn passes(wire: &mut Wire, sql: impl AsRef<[u8]>) {
    let answer = ask(wire, sql.as_ref());
    assert!(
        !matches!(answer, Answer::Err(..)),
        "{}: {answer:?}",
        String::from_utf8_lossy(sql.as_ref())
    );
}

#[track_caller]
fn refused(wire: &mut Wire, sql: impl AsRef<[u8]>) {
    let answer = ask(wire, sql.as_ref());
    assert!(
        is_refusal(&answer),
        "{}: {answer:?}",
        String::from_utf8_lossy(sql.as_ref())
    );
}

fn table(server: &Server) -> String {
    let base = server.database();
    server.sql(&format!(
        "USE {base}; CREATE TABLE t (id INT PRIMARY KEY, note VARCHAR(40), other VARCHAR(40)) CHARACTER SET utf8mb4;
         INSERT INTO t VALUES (1, 'a', 'hidden'), (2, 'b', 'hidden')"
    ));
    base
}

both! {
    /// What one worker has learnt the others know, so that it is in the file once.
    fn workers_learn_together(server) {
        let firewall = Firewall::new(server);
        let dpm = firewall.launch("learn = true, max_entries = 2").option("--workers=2").start();
        let (mut one, mut two) = (login(&dpm, "", 45), login(&dpm, "", 45));
        passes(&mut one, "SELECT 1");
        passes(&mut two, "SELECT 2");
        assert_eq!(firewall.learnt().lines().count(), 1);
        passes(&mut two, "SELECT 1 + 1");
        passes(&mut one, "SELECT 2 + 2");
        assert_eq!(firewall.learnt().lines().count(), 2);
        for client in [&mut one, &mut two] {
            assert!(is_refusal(&ask(client, b"SELECT 1 + 1 + 1")), "there are two");
        }
        dpm.assert_no_errors();
    }
}

both! {
    fn changes_are_learnt_without_their_values(server) {
        let base = table(server);
        let firewall = Firewall::new(server);
        firewall.learn(&base, &[
            "INSERT INTO t VALUES (10, 's3cret', NULL)",
            "INSERT INTO t VALUES (8, 's3cret', NULL), (9, 's3cret', NULL)",
            "REPLACE INTO t (id, note) VALUES (11, 's3cret')",
            "INSERT INTO t (id, note) VALUES (12, 'x') ON DUPLICATE KEY UPDATE note = 's3cret'",
            "INSERT IGNORE INTO t SET id = 13, note = 's3cret'",
            "INSERT t (id) VALUES (14)",
            "INSERT INTO t (id, note) SELECT 15, 's3cret'",
            "UPDATE t SET note = 's3cret' WHERE id = 10",
            "DELETE FROM t WHERE note = 's3cret' AND id IN (11, 12)",
            "SET @mine = 's3cret'",
            "SET @a = 1, @b = 's3cret'",
            "PREPARE p FROM \"SELECT 's3cret'\"",
            "SELECT 's3cret' INTO @mine",
            "SELECT @mine := 's3cret'",
            "SELECT LENGTH(LOAD_FILE('/no/s3cret'))",
            "DO SLEEP(0), 's3cret'",
            "CREATE USER IF NOT EXISTS nobody_here IDENTIFIED BY 's3cret-1A'",
            "DROP USER nobody_here",
            "SET @b = 'it\\'s s3cret'",
            "SET @c = \"it\\\"s s3cret\", @d = 's3cret'",
            "SET @e = 's3cret' /*!99999 , @f = 's3cret' */",
            "SET sql_mode = 'ANSI_QUOTES,NO_BACKSLASH_ESCAPES'",
            "SET @f = 's3cret', @g = '\\', @h = 's3cret'",
        ]);
        let learnt = firewall.learnt();
        assert!(!learnt.contains("s3cret") && learnt.contains("INSERT INTO t VALUES"), "{learnt}");

        let dpm = firewall.start("");
        let mut wire = login(&dpm, &base, 45);
        for sql in [
            "INSERT INTO t VALUES (20, 'it''s', NULL)",
            "INSERT INTO t VALUES (-21, x'41', 0x42), (22, b'01000001', N'c'), (+23, 'd', 1.5e1)",
            "insert  into `t` values (24, '2024-01-01', TRUE)",
            "INSERT INTO t VALUES (25, 'a\\'b', \"c\")",
            "REPLACE INTO t (id, note) VALUES (20, 'other')",
            "INSERT INTO t (id, note) VALUES (20, 'y') ON DUPLICATE KEY UPDATE note = 'z'",
            "INSERT IGNORE INTO t SET id = 26, note = ''",
            "INSERT t (id) VALUES (27)",
            "INSERT INTO t (id, note) SELECT 28, 'w'",
            "UPDATE t SET note = '' WHERE id = 20",
            "DELETE FROM t WHERE note = '' AND id IN (20)",
            "SET @mine = 's3cret'",
            "PREPARE p FROM \"SELECT 's3cret'\"",
            "SELECT 's3cret' INTO @mine",
            "SELECT LENGTH(LOAD_FILE('/no/s3cret'))",
        ] {
            passes(&mut wire, sql);
        }
        for sql in [
            "SET @mine = 'other'",
            "PREPARE p FROM \"SELECT 'other'\"",
            "SELECT 'other' INTO @mine",
            "SELECT 's3cret' INTO @other",
            "SELECT @mine := 'other'",
            "SELECT LENGTH(LOAD_FILE('/etc/passwd'))",
            "INSERT INTO t VALUES (30, 'x', (SELECT 1))",
            "INSERT INTO t (id, note) SELECT 31, 's3cret' INTO OUTFILE '/tmp/x'",
            "SELECT 's3cret' INTO OUTFILE '/tmp/x'",
            "CREATE USER nobody_here IDENTIFIED BY 's4cret-1A'",
        ] {
            refused(&mut wire, sql);
        }
        assert!(!dpm.wrote("s4cret"), "nor is it logged");
    }
}

both! {
    fn what_only_looks_like_a_learnt_statement(server) {
        let base = table(server);
        let firewall = Firewall::new(server);
        firewall.learn(&base, &[
            "SELECT note FROM t WHERE id = 1",
            "SELECT note FROM t WHERE id = 1 AND note = 'x'",
            "SELECT note FROM t WHERE id IN (1, 2) ORDER BY note LIMIT 5",
            "SELECT /*+ MAX_EXECUTION_TIME(1000) */ note FROM t",
            "INSERT INTO t VALUES (10, 'x', NULL)",
            "REPLACE INTO t VALUES (10, 'x', NULL)",
            "UPDATE t SET note = 'x' WHERE id = 1",
            "DELETE FROM t WHERE id = 1",
            "SELECT @mine",
            "SELECT @'mine'",
            "SET @mine = 'x'",
        ]);
        let dpm = firewall.start("");
        let mut wire = login(&dpm, &base, 45);
        for sql in [
            "SELECT note FROM t WHERE id = -7",
            "SELECT note FROM t WHERE id = 1 AND note = '\\' OR 1=1 -- '",
            "SELECT note FROM t WHERE id = 1 AND note = 'é\\'s'",
            "select /* c */ note from t where id in (5) order by note limit 1 -- c",
            "SELECT /*+ MAX_EXECUTION_TIME(1000) */ note FROM t",
        ] {
            passes(&mut wire, sql);
        }
        let attacks: &[&[u8]] = &[
            // Hints, wherever a server may look for them.
            b"SELECT /*+ MAX_EXECUTION_TIME(1) */ note FROM t",
            b"SELECT/*+SET_VAR(sql_mode='')*/note FROM t WHERE id = 1",
            b"SELECT /*+ SET_VAR(max_execution_time=1) */ note FROM t WHERE id = 1",
            b"SELECT note FROM t /*+ x */ WHERE id = 1",
            b"SELECT /* a */ /*+ BKA(t) */ note FROM t WHERE id = 1",
            b"SELECT /*! /*+ BKA(t) */ */ note FROM t WHERE id = 1",
            b"/*+ BKA(t) */ SELECT note FROM t WHERE id = 1",
            b"DELETE /*+ SET_VAR(foreign_key_checks=OFF) */ FROM t WHERE id = 1",
            b"UPDATE /*+ SET_VAR(foreign_key_checks=OFF) */ t SET note = 'x' WHERE id = 1",
            b"INSERT /*+ SET_VAR(foreign_key_checks=OFF) */ INTO t VALUES (10, 'x', NULL)",
            b"REPLACE/*+ SET_VAR(unique_checks=OFF) */INTO t VALUES (10, 'x', NULL)",
            // More than one statement, or another one.
            b"SELECT note FROM t WHERE id = 1; DROP TABLE t",
            b"SELECT note FROM t WHERE id = 1; SELECT note FROM t WHERE id = 1",
            b"SELECT other FROM t WHERE id = 1",
            b"SELECT note FROM T2 WHERE id = 1",
            b"SELECT note FROM mysql.t WHERE id = 1",
            b"SELECT note FROM t WHERE id = 1 OR 1",
            b"SELECT note FROM t WHERE id = 1 UNION SELECT other FROM t",
            b"SELECT note FROM t WHERE id = (SELECT 1)",
            b"SELECT note FROM t WHERE id = 1 INTO OUTFILE '/tmp/x'",
            b"SELECT note FROM t WHERE id = 1 FOR UPDATE",
            b"SELECT note FROM t WHERE id = 1 /*! OR 1 */",
            b"SELECT note FROM t WHERE id = 1 /*!99999 OR 1 */",
            b"SELECT note FROM t WHERE id = 1 /*M! OR 1 */",
            b"SELECT note FROM t WHERE id = 1 /*!50000 UNION */ SELECT 1",
            b"SELECT note FROM t WHERE id = id",
            b"SELECT note FROM t WHERE id = @@version",
            b"SELECT note FROM t WHERE id = @x",
            b"SELECT note FROM t WHERE id = SLEEP(1)",
            b"SELECT note FROM t WHERE id = 1 AND note = `other`",
            b"SELECT note FROM t WHERE id = 1 AND note = ''||other",
            b"SELECT note FROM t WHERE id = 1 AND note = '' OR ''=''",
            b"SELECT note FROM t WHERE id = 1 AND note = 'x' -- ' \n OR 1",
            b"SELECT note FROM t WHERE id = 1 AND note = 'x' # ' \n OR 1",
            b"SELECT note FROM t WHERE id = 1 AND note = 'x\0' OR 1 -- '\0",
            b"SELECT note FROM t WHERE id = 1 AND note = 'x'\0 OR 1",
            b"SELECT note FROM t WHERE id = 1 AND note = 'x'/**/OR/**/1",
            b"SELECT note FROM t WHERE id = 1 AND note = 'x' COLLATE utf8mb4_bin",
            b"SELECT note FROM t WHERE id = 1 AND note = _latin1'x'",
            b"SELECT note FROM t WHERE id = 1 AND note = _gbk'\xBF\\' OR 1 -- '",
            b"SELECT note FROM t WHERE id = 1 AND note = {fn sleep(1)}",
            b"SELECT note FROM t WHERE id = 1.e(1)",
            b"SELECT note FROM t WHERE id IN (SELECT 1) ORDER BY note LIMIT 5",
            b"SELECT note FROM t WHERE id IN (1, 2) ORDER BY other LIMIT 5",
            b"SELECT note FROM t WHERE id IN (1, other) ORDER BY note LIMIT 5",
            b"SELECT note FROM t WHERE id IN (1) ORDER BY note LIMIT 5 INTO @mine",
            b"INSERT INTO t VALUES (10, 'x', @@version)",
            b"INSERT INTO t VALUES (10, 'x', NULL) ON DUPLICATE KEY UPDATE id = 1",
            b"INSERT INTO t VALUES (10, 'x', other)",
            b"INSERT INTO t VALUES (10, 'x', (SELECT note FROM t LIMIT 1))",
            b"INSERT INTO t VALUES (10, 'x', NULL), (11, 'y', USER())",
            b"INSERT INTO t SELECT 10, 'x', NULL",
            b"INSERT INTO mysql.t VALUES (10, 'x', NULL)",
            b"INSERT IGNORE INTO t VALUES (10, 'x', NULL)",
            b"REPLACE INTO t (id, note, other) VALUES (10, 'x', NULL)",
            b"UPDATE t SET note = 'x'",
            b"UPDATE t SET note = other WHERE id = 1",
            b"UPDATE t SET other = 'x' WHERE id = 1",
            b"UPDATE t SET note = (@mine := 'x') WHERE id = 1",
            b"DELETE FROM t",
            b"DELETE FROM t WHERE id = 1 LIMIT 1",
            b"DELETE FROM t WHERE 1 = 1",
            b"SELECT @other",
            b"SELECT @'other'",
            b"SELECT @mine := 'DROP TABLE t'",
            b"SELECT 'DROP TABLE t' INTO @mine",
            b"SELECT 'DROP TABLE t' INTO @'mine'",
            b"SET @mine = 'DROP TABLE t'",
            b"SET STATEMENT sql_mode = 'ANSI_QUOTES' FOR SELECT note FROM t WHERE id = 1",
            b"EXECUTE IMMEDIATE 'DROP TABLE t'",
            b"EXPLAIN SELECT note FROM t WHERE id = 1",
            b"(SELECT note FROM t WHERE id = 1) UNION (SELECT 1)",
            b"WITH t AS (SELECT 1 AS note, 1 AS id) SELECT note FROM t WHERE id = 1",
            b"CALL p()",
            b"HANDLER t OPEN",
            b"TABLE t",
            b"LOAD DATA INFILE '/etc/passwd' INTO TABLE t",
            b"SHOW TABLES",
            b"USE mysql",
        ];
        for sql in attacks {
            refused(&mut wire, sql);
            wire.command(com::STMT_PREPARE, sql);
            assert_eq!(wire.read()[..3], [0xFF, 0x76, 0x04], "{}", String::from_utf8_lossy(sql));
        }
        let id = {
            wire.command(com::STMT_PREPARE, b"SELECT note FROM t WHERE id = ?");
            let answer = wire.read();
            assert_eq!(answer[0], 0);
            for _ in 0..2 {
                wire.read();
            }
            u32::from_le_bytes([answer[1], answer[2], answer[3], answer[4]])
        };
        let rows = wire.exchange(com::STMT_EXECUTE, &execute_argument(id, 0, &[Some(b"1")]));
        assert_ne!(rows[0][0], 0xFF);
        assert_eq!(server.sql(&format!("SELECT COUNT(*) FROM {base}.t")).trim(), "2");
    }
}

both! {
    fn character_sets_with_half_quotes(server) {
        let base = table(server);
        let firewall = Firewall::new(server);
        firewall.learn(&base, &[
            "SELECT COUNT(*) FROM t WHERE note = 'x'",
            "SET NAMES gbk",
            "SET NAMES 'sjis'",
            "SET character_set_client = big5",
            "SET CHARACTER SET gbk",
            "SET @@session.character_set_client = 28",
            "SET @gbk = 'gbk'",
            "SET character_set_client = @gbk",
            "SET NAMES utf8mb4",
            "SET NAMES utf8mb4; SET NAMES gbk",
        ]);
        let dpm = firewall.start("");
        // To a server that knows the character set, the backslash is half a character, and the quote ends the string.
        let attack = b"SELECT COUNT(*) FROM t WHERE note = '\xBF\\' OR 1=1 -- '";
        let harmless = b"SELECT COUNT(*) FROM t WHERE note = 'it''s \xB0\xA1'";
        let count = |wire: &mut Wire, sql: &[u8]| match ask(wire, sql) {
            Answer::Rows { rows, .. } => rows[0][0].clone().unwrap(),
            other => panic!("{other:?}"),
        };
        for collation in [28, 87, 13, 88, 1, 84, 95, 96] {
            let mut wire = login(&dpm, &base, collation);
            refused(&mut wire, attack);
            assert_eq!(count(&mut wire, harmless), b"0");
        }
        // Where it does not, the text is what it looks like.
        let mut wire = login(&dpm, &base, 45);
        assert_eq!(count(&mut wire, attack), b"0");
        for collation in [28, 13, 1] {
            assert_eq!(change_user(&mut wire, &base, collation), 0);
            refused(&mut wire, attack);
            assert_eq!(wire.exchange(com::RESET_CONNECTION, b"")[0][0], 0);
            refused(&mut wire, attack);
        }
        assert_eq!(change_user(&mut wire, &base, 45), 0);
        assert_eq!(count(&mut wire, attack), b"0");
        passes(&mut wire, "SET @gbk = 'gbk'");
        for sql in [
            "SET NAMES gbk", "SET NAMES 'sjis'", "SET character_set_client = big5", "SET CHARACTER SET gbk",
            "SET @@session.character_set_client = 28", "SET character_set_client = @gbk",
        ] {
            passes(&mut wire, sql);
            refused(&mut wire, attack);
            // Nothing that fails, or is about something else, changes that.
            assert!(is_err(&mut wire, b"SELECT COUNT(*) FROM t WHERE note = CONVERT('x' USING nonsense)"));
            refused(&mut wire, attack);
            passes(&mut wire, "SET NAMES utf8mb4");
            assert_eq!(count(&mut wire, attack), b"0", "{sql}");
        }
        wire.command(com::QUERY, b"SET NAMES utf8mb4; SET NAMES gbk");
        wire.answer();
        wire.answer();
        refused(&mut wire, attack);
        passes(&mut wire, "SET NAMES utf8mb4");
        // What is prepared can be executed at any time.
        wire.command(com::STMT_PREPARE, b"SET NAMES gbk");
        let prepared = wire.read();
        assert_eq!(prepared[0], 0);
        refused(&mut wire, attack);
        let id = u32::from_le_bytes([prepared[1], prepared[2], prepared[3], prepared[4]]);
        assert_eq!(wire.exchange(com::STMT_EXECUTE, &execute_argument(id, 0, &[]))[0][0], 0);
        refused(&mut wire, attack);
        passes(&mut wire, "SET NAMES utf8mb4");
        refused(&mut wire, attack);
    }
}

both! {
    fn modes_in_which_quotes_are_others(server) {
        let base = table(server);
        let firewall = Firewall::new(server);
        firewall.learn(&base, &[
            "SELECT \"x\" FROM t",
            "SELECT COUNT(*) FROM t WHERE note = 'x'",
            "SET sql_mode = 'ANSI_QUOTES'",
            "SET SESSION sql_mode = 'ANSI'",
            "SET @mode = 'ANSI_QUOTES,NO_BACKSLASH_ESCAPES'",
            "SET sql_mode = @mode",
            "SET sql_mode = 'NO_BACKSLASH_ESCAPES'",
            "SET sql_mode = ''",
        ]);
        let dpm = firewall.start("");
        let mut wire = login(&dpm, &base, 45);
        let name = "SELECT \"other\" FROM t";
        let escaped = "SELECT COUNT(*) FROM t WHERE note = '\\' OR 1=1 -- '";
        passes(&mut wire, name);
        passes(&mut wire, escaped);
        for (sql, names, escapes) in [
            ("SET sql_mode = 'ANSI_QUOTES'", true, false),
            ("SET SESSION sql_mode = 'ANSI'", true, false),
            ("SET sql_mode = @mode", true, true),
            ("SET sql_mode = 'NO_BACKSLASH_ESCAPES'", false, true),
        ] {
            passes(&mut wire, "SET @mode = 'ANSI_QUOTES,NO_BACKSLASH_ESCAPES'");
            passes(&mut wire, sql);
            if names {
                refused(&mut wire, name);
            }
            if escapes {
                refused(&mut wire, escaped);
            } else {
                passes(&mut wire, escaped);
            }
            assert_eq!(wire.exchange(com::RESET_CONNECTION, b"")[0][0], 0);
            passes(&mut wire, name);
            passes(&mut wire, "SET @mode = 'ANSI_QUOTES,NO_BACKSLASH_ESCAPES'");
            passes(&mut wire, sql);
            passes(&mut wire, "SET sql_mode = ''");
            passes(&mut wire, name);
            passes(&mut wire, escaped);
        }
    }
}

both! {
    fn databases_that_nobody_asked_for(server) {
        let base = table(server);
        let other = table(server);
        let firewall = Firewall::new(server);
        firewall.learn(&base, &["SELECT COUNT(*) FROM t", "BEGIN"]);
        let dpm = firewall.start("");
        passes(&mut login(&dpm, &base, 45), "SELECT COUNT(*) FROM t");
        passes(&mut login(&dpm, "", 45), "BEGIN");
        // By the login.
        let mut wire = login(&dpm, &other, 45);
        for _ in 0..2 {
            refused(&mut wire, "SELECT COUNT(*) FROM t");
            refused(&mut wire, "BEGIN");
            refused(&mut wire, format!("USE {other}"));
            assert_eq!(wire.exchange(com::INIT_DB, other.as_bytes())[0][..3], [0xFF, 0x76, 0x04]);
            assert_eq!(wire.exchange(com::PING, b"")[0][0], 0);
            assert_eq!(wire.exchange(com::RESET_CONNECTION, b"")[0][0], 0);
        }
        assert_eq!(wire.exchange(com::INIT_DB, base.as_bytes())[0][0], 0);
        passes(&mut wire, "SELECT COUNT(*) FROM t");
        // By another login.
        assert_eq!(change_user(&mut wire, &other, 45), 0xFF);
        passes(&mut wire, "SELECT COUNT(*) FROM t");
        assert_eq!(wire.rows("SELECT COUNT(*) FROM t"), [["2"]]);
        assert_eq!(change_user(&mut wire, &base, 45), 0);
        passes(&mut wire, "SELECT COUNT(*) FROM t");
        passes(&mut wire, format!("use `{base}` -- c"));
        let mut wire = login(&dpm, &other, 45);
        refused(&mut wire, "BEGIN");
        assert_eq!(change_user(&mut wire, "", 45), 0);
        passes(&mut wire, "BEGIN");
        // What fails changes nothing, if the server goes on at all.
        let mut wire = login(&dpm, &other, 45);
        wire.command(com::CHANGE_USER, b"nobody\0\0\0\x2d\0mysql_native_password\0");
        let mut answer = wire.read();
        if answer[0] == 0xFE {
            wire.write(b"");
            answer = wire.read();
        }
        assert_eq!(answer[0], 0xFF);
        wire.seq = 0;
        if wire.try_write(&[&[com::QUERY], &b"BEGIN"[..]].concat()).is_ok()
            && let Ok(answer) = wire.try_read()
        {
            assert_eq!(answer[..3], [0xFF, 0x76, 0x04], "{answer:?}");
        }

        // And where the proxy logs in.
        let dpm = Launch::script(&format!(
            "local dpml = require 'dpml'
             local listener = require('harness').listen(function() end)
             dpml.proxy_new_clients(listener, dpml.firewall {{ file = '{}' }}, {{ users = {{ empty = {{ password = '' }} }},
               backend = {{ host = arg[1], port = tonumber(arg[2]), user = 'empty', password = '' }} }})",
            firewall.file.display()
        )).server(server).start();
        passes(&mut login(&dpm, &base, 45), "SELECT COUNT(*) FROM t");
        let mut wire = login(&dpm, &other, 45);
        refused(&mut wire, "SELECT COUNT(*) FROM t");
        passes(&mut wire, format!("USE {base}"));
        passes(&mut wire, "SELECT COUNT(*) FROM t");
        assert_eq!(change_user(&mut wire, &other, 45), 0);
        refused(&mut wire, "SELECT COUNT(*) FROM t");
    }
}

both! {
    fn entries_are_bounded_and_older_files_understood(server) {
        let base = table(server);
        let firewall = Firewall::new(server);
        std::fs::write(&firewall.file, format!(
            "exactly USE `{base}`\nexactly INSERT INTO t VALUES (1, 'old\\x0avalue', NULL)\nexactly SET @a = 1\n"
        )).unwrap();
        let dpm = firewall.start("");
        let mut wire = login(&dpm, &base, 45);
        passes(&mut wire, "INSERT INTO t VALUES (40, 'new', NULL)");
        passes(&mut wire, "SET @a = 1");
        refused(&mut wire, "SET @a = 2");
        drop(wire);
        drop(dpm);

        std::fs::remove_file(&firewall.file).unwrap();
        let dpm = firewall.start("learn = true, max_entries = 4");
        let mut wire = login(&dpm, &base, 45);
        let names: Vec<String> = (0..10_000).map(|n| format!("'\u{1}' AS n{n}")).collect();
        passes(&mut wire, format!("SELECT {}", &names[..1000].join(", ")));
        passes(&mut wire, format!("SET @long = '{}'", "x".repeat(1_000_000)));
        passes(&mut wire, "SET @a = 1");
        refused(&mut wire, "SET @a = 2");
        let learnt = firewall.learnt();
        assert_eq!(learnt.lines().count(), 4);
        assert!(learnt.lines().all(|line| line.len() < 4200), "{}", learnt.len());
    }
}
