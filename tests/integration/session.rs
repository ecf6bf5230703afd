//! What is known of sessions: on each kind of server, against what the server itself says.

use std::collections::BTreeMap;
use std::fmt::Write as _;

use crate::support::exchange::execute_argument;
use crate::support::stage::Stage;
use crate::support::wire::{Answer, Wire, caps, com};
use crate::support::{Flavour, Server, mariadb, server};

/// Reports at the end of rows, too.
const MODERN: u32 = caps::BASE | caps::MULTI | caps::SESSION_TRACK | caps::DEPRECATE_EOF;
/// Reports, but not there.
const TRACKED: u32 = caps::BASE | caps::MULTI | caps::SESSION_TRACK;
/// No reports.
const PLAIN: u32 = caps::BASE | caps::MULTI;

const REPORT_ALL: &str = "SET session_track_schema = 1, session_track_state_change = 1, \
    session_track_transaction_info = 'CHARACTERISTICS', session_track_system_variables = '*'";

/// Variables that statements here change.
const VARIABLES: &[&str] = &[
    "character_set_client",
    "character_set_connection",
    "character_set_results",
    "collation_connection",
    "div_precision_increment",
    "foreign_key_checks",
    "group_concat_max_len",
    "lc_time_names",
    "long_query_time",
    "max_join_size",
    "sql_big_selects",
    "sql_mode",
    "sql_safe_updates",
    "time_zone",
    "tx_isolation",
    "tx_read_only",
    "unique_checks",
];

/// The same test on each kind of server.
macro_rules! everywhere {
    (fn $name:ident($server:ident) $body:block) => {
        mod $name {
            #[allow(unused_imports)]
            use super::*;

            fn check($server: &'static Server) $body

            #[test]
            fn mariadb() {
                check(super::mariadb());
            }

            #[test]
            fn mariadb11() {
                if let Some(server) = server::mariadb11() {
                    check(server);
                }
            }

            #[test]
            fn mysql() {
                if let Some(server) = server::mysql() {
                    check(server);
                }
            }
        }
    };
}

/// A client whose server's session is followed.
struct Followed {
    stage: Stage,
    client: Wire,
    flavour: Flavour,
    port: u16,
}

impl Followed {
    #[track_caller]
    fn start(server: &Server, hidden: &str, capabilities: u32) -> Followed {
        let variables: Vec<String> = VARIABLES.iter().map(|name| format!("'{name}'")).collect();
        let script = format!(
            "h.listen(function(c)
               local s = dpm.connect(arg[1], tonumber(arg[2]))
               s:track_session(true, {{ hidden = '{hidden}' }})
               client, server = c, s
               dpm.proxy_connect(c, s)
             end)
             local facts = {{ 'schema', 'transaction', 'in_transaction', 'read_only', 'autocommit',
               'characteristics', 'last_insert_id', 'warnings' }}
             local variables = {{ {} }}
             function claims()
               local session, lines = client:session(), {{}}
               local function claim(name, value, why)
                 if value == dpm.NULL then value = '' end
                 lines[#lines + 1] = name .. (value == nil and '?' .. why or '=' .. tostring(value))
               end
               for _, name in ipairs(facts) do claim(name, session[name](session)) end
               for _, name in ipairs(variables) do claim(name, session:variable(name)) end
               local left = session:left()
               for _, name in ipairs {{ 'user_variables', 'named_locks', 'temporary_tables' }} do
                 claim(name, tostring(left[name] or false))
               end
               return table.concat(lines, '\\n')
             end",
            variables.join(", ")
        );
        let stage = Stage::with(&script, server.port);
        let port = stage.dpm.port();
        let client = Wire::login_empty(port, capabilities);
        Followed {
            stage,
            client,
            flavour: server.flavour,
            port,
        }
    }

    /// What is claimed: a value, or a question mark and why it is not known.
    #[track_caller]
    fn claims(&mut self) -> BTreeMap<String, String> {
        let lines = self.stage.lua("return claims()");
        let claims = lines.split('\n').map(|line| {
            let at = line.find(['=', '?']).expect("a claim");
            let value = line[at..].trim_start_matches('=');
            (line[..at].to_owned(), value.to_owned())
        });
        claims.collect()
    }

    #[track_caller]
    fn claim(&mut self, name: &str) -> String {
        self.claims()[name].clone()
    }

    #[track_caller]
    fn run(&mut self, sql: &str) -> Vec<Vec<u8>> {
        self.client.exchange(com::QUERY, sql.as_bytes())
    }

    /// The same account again, with another schema. It has no password, whatever the plugin.
    #[track_caller]
    fn change_user(&mut self) {
        let argument = b"empty\0\0test\0\x2d\0mysql_native_password\0";
        self.client.command(com::CHANGE_USER, argument);
        let mut answer = self.client.read();
        while answer[0] != 0 {
            assert_eq!(answer[0], 0xFE, "{}", answer.escape_ascii());
            self.client.write(b"");
            answer = self.client.read();
        }
    }

    /// The rows of a query; none where the state of an XA transaction forbids it.
    #[track_caller]
    fn ask(&mut self, sql: &str) -> Vec<Vec<String>> {
        let text = |value: Option<Vec<u8>>| String::from_utf8(value.unwrap_or_default()).unwrap();
        match self.client.query(sql) {
            Answer::Rows { rows, .. } => {
                let rows = rows.into_iter();
                rows.map(|row| row.into_iter().map(text).collect())
                    .collect()
            }
            Answer::Err(1399, ..) => Vec::new(),
            other => panic!("{sql}: {other:?}"),
        }
    }

    /// What the server says. Diagnostics first, as all else destroys them.
    #[track_caller]
    fn truth(&mut self) -> BTreeMap<String, String> {
        let is_mariadb = self.flavour.is_mariadb();
        let mut truth = BTreeMap::new();
        for row in self.ask("SHOW COUNT(*) WARNINGS") {
            truth.insert("warnings".to_owned(), row[0].clone());
        }
        let in_transaction = if is_mariadb {
            "@@in_transaction"
        } else {
            "NULL"
        };
        let rows = self.ask(&format!(
            "SELECT IFNULL(DATABASE(), ''), LAST_INSERT_ID(), IF(@@autocommit, 'true', 'false'),
               IF(IS_USED_LOCK('l1') = CONNECTION_ID(), 'true', 'false'),
               IF({in_transaction}, 'true', 'false')"
        ));
        let names = [
            "schema",
            "last_insert_id",
            "autocommit",
            "named_locks",
            "in_transaction",
        ];
        for row in rows {
            let facts = names.iter().zip(row);
            truth.extend(facts.map(|(name, value)| ((*name).to_owned(), value)));
        }
        if !is_mariadb {
            truth.remove("in_transaction");
        }
        let names: Vec<String> = VARIABLES.iter().map(|name| format!("'{name}'")).collect();
        let rows = self.ask(&format!(
            "SHOW SESSION VARIABLES WHERE Variable_name IN \
             ({}, 'transaction_isolation', 'transaction_read_only')",
            names.join(", ")
        ));
        for row in rows {
            truth.insert(row[0].replace("transaction_", "tx_"), row[1].clone());
        }
        if is_mariadb {
            // One that is only mentioned is there, too, and NULL.
            let rows = self.ask(
                "SELECT IF(COUNT(*), 'true', 'false') FROM information_schema.user_variables
                 WHERE VARIABLE_VALUE IS NOT NULL",
            );
            for row in rows {
                truth.insert("user_variables".to_owned(), row[0].clone());
            }
        }
        truth
    }

    /// Nothing that is claimed is wrong. Returns how many claims were known.
    #[track_caller]
    fn compare(&mut self, history: &[String]) -> usize {
        let claims = self.claims();
        let truth = self.truth();
        let mut wrong = String::new();
        let mut known = 0;
        for (name, is) in &truth {
            let Some(claimed) = claims.get(name) else {
                continue;
            };
            let unknown = claimed.starts_with('?') || claimed == "maybe";
            known += usize::from(!unknown);
            if !unknown && claimed != is {
                writeln!(wrong, "{name}: claimed {claimed}, is {is}").unwrap();
            }
        }
        assert!(wrong.is_empty(), "{wrong}behind\n{}", history.join("\n"));
        known
    }
}

everywhere! {
    fn what_is_known_with_all_reports(server) {
        let base = server.database();
        let mut one = Followed::start(server, "trusted", MODERN);
        assert_eq!(one.claim("schema"), "");
        one.run(REPORT_ALL);
        one.run(&format!("CREATE TABLE {base}.t (id INT AUTO_INCREMENT PRIMARY KEY, v VARCHAR(20))"));
        for (sql, name, claim) in [
            (&*format!("USE {base}"), "schema", &*base),
            ("USE nosuch", "schema", &base),
            ("SET time_zone = '+2:00'", "time_zone", "+02:00"),
            ("SET time_zone = nonsense", "time_zone", "?error"),
            ("SET time_zone = 'SYSTEM'", "time_zone", "SYSTEM"),
            ("SET time_zone = DEFAULT", "time_zone", "SYSTEM"),
            ("SET NAMES utf8mb4 COLLATE utf8mb4_bin", "collation_connection", "utf8mb4_bin"),
            ("SET NAMES latin1", "character_set_client", "latin1"),
            ("DO 1", "collation_connection", "?coupled"),
            ("SET character_set_results = NULL", "character_set_results", ""),
            ("SET NAMES utf8mb4", "character_set_results", "utf8mb4"),
            ("SET foreign_key_checks = 0", "foreign_key_checks", "OFF"),
            ("SET unique_checks = 0", "unique_checks", "OFF"),
            ("DO 1", "foreign_key_checks", "OFF"),
            ("SET autocommit = 0", "autocommit", "false"),
            ("SELECT 1", "transaction", "none"),
            ("SELECT * FROM t", "transaction", "implicit"),
            ("COMMIT", "transaction", "none"),
            ("SET autocommit = 1", "autocommit", "true"),
            ("START TRANSACTION READ ONLY", "transaction", "explicit"),
            ("DO 1", "read_only", "true"),
            ("ROLLBACK", "transaction", "none"),
            ("BEGIN", "characteristics", "START TRANSACTION;"),
            ("COMMIT", "characteristics", ""),
            ("SET TRANSACTION ISOLATION LEVEL READ COMMITTED", "characteristics",
                "SET TRANSACTION ISOLATION LEVEL READ COMMITTED;"),
            ("SELECT 1", "characteristics", "SET TRANSACTION ISOLATION LEVEL READ COMMITTED;"),
            ("SELECT * FROM t", "characteristics", ""),
            ("INSERT INTO t (v) VALUES ('a')", "last_insert_id", "1"),
            ("INSERT INTO t VALUES (5, 'a')", "last_insert_id", "?expression"),
            ("INSERT INTO t VALUES (NULL, 'a'), (NULL, 'b')", "last_insert_id", "6"),
            ("UPDATE t SET v = 'c' WHERE id = 6", "last_insert_id", "6"),
            ("SELECT CAST('a' AS SIGNED)", "warnings", "1"),
            ("SHOW WARNINGS", "warnings", "1"),
            ("INSERT INTO t (v) VALUES ('z')", "warnings", "0"),
            ("SELECT nosuch", "warnings", "?error"),
            ("SET SESSION TRANSACTION ISOLATION LEVEL SERIALIZABLE", "tx_isolation", "SERIALIZABLE"),
            ("SET @a = 1", "user_variables", "true"),
            ("CREATE TEMPORARY TABLE tmp SELECT 1", "temporary_tables", "true"),
        ] {
            one.run(sql);
            assert_eq!(one.claim(name), claim, "{sql}");
        }
        let known = one.compare(&[]);
        assert!(known > 10, "{known}");
    }
}

everywhere! {
    fn what_is_known_without_reports(server) {
        let base = server.database();
        let mut one = Followed::start(server, "trusted", PLAIN);
        for (sql, name, claim) in [
            (&*format!("USE {base}"), "schema", &*base),
            ("SET time_zone = '+02:00'", "time_zone", "+02:00"),
            ("SET sql_mode = 'ANSI'", "sql_mode", "?expression"),
            ("BEGIN", "transaction", "explicit"),
            ("nonsense", "transaction", "?error"),
            ("DO 1", "transaction", "open"),
            ("COMMIT", "transaction", "none"),
            ("SELECT nosuch()", "schema", &base),
            ("SELECT nosuch()", "time_zone", "?error"),
        ] {
            one.run(sql);
            assert_eq!(one.claim(name), claim, "{sql}");
        }
        one.client.command(com::INIT_DB, b"test");
        one.client.read();
        assert_eq!(one.claim("schema"), "test");
        let id = one.client.prepare("SET unique_checks = 0");
        assert_eq!(one.claim("unique_checks"), "?error");
        one.client.exchange(com::STMT_EXECUTE, &execute_argument(id, 0, &[]));
        assert_eq!(one.claim("unique_checks"), "OFF");
        one.client.exchange(com::RESET_CONNECTION, b"");
        assert_eq!(one.claim("schema"), "test");
        assert_eq!(one.claim("unique_checks"), "?reset");
        assert_eq!(one.claim("user_variables"), "false");
        one.change_user();
        assert_eq!(one.claim("schema"), "test");
        one.compare(&[]);
    }
}

/// Who asks, and when.
#[test]
fn tracking_is_asked_for() {
    let mut stage = Stage::before(mariadb().port);
    let _client = stage.client(PLAIN);
    stage.lua("h.server(nil, { dpm.CLIENT_LOCAL_FILES })");
    stage.until("servers[1]:state() == dpm.MYS_WAIT_CMD");
    let refused = |stage: &mut Stage, what: &str| {
        let answer = stage.lua(&format!("return pcall(function() {what} end)"));
        answer.strip_prefix("false\t").expect("an error").to_owned()
    };
    assert_eq!(stage.lua("return servers[1]:track_session()"), "false");
    assert!(refused(&mut stage, "servers[1]:session()").contains("track_session(true)"));
    assert!(refused(&mut stage, "h.listener:session()").contains("a listener has no session"));
    assert!(refused(&mut stage, "clients[1]:track_session(true)").contains("linked to no server"));
    assert!(
        refused(&mut stage, "servers[1]:track_session(true, { hidden = 1 })").contains("doubted")
    );
    assert_eq!(stage.lua("return clients[1]:session()"), "nil");
    // From later than the login on, only what is said is known.
    stage.lua(
        "servers[1]:track_session(true, { hidden = 'trusted' }) session = servers[1]:session()",
    );
    assert_eq!(stage.lua("return session:schema()"), "nil\tlogin");
    assert_eq!(stage.lua("return session:in_transaction()"), "nil\tlogin");
    stage.lua(
        "local cmd = dpm.new_cmd_pkt()
         cmd:command(dpm.COM_QUERY)
         cmd:argument('USE test')
         dpm.wire_packet(servers[1], cmd)",
    );
    stage.until("servers[1]:session():in_transaction() == false");
    assert_eq!(stage.lua("return session:schema()"), "test");
    stage.link(1, 1);
    assert_eq!(stage.lua("return clients[1]:session():schema()"), "test");
    stage.lua("clients[1]:track_session(false)");
    assert_eq!(
        stage.lua("return servers[1]:track_session(), session:schema()"),
        "false\tnil\tclosed"
    );
    stage.lua("servers[1]:track_session(true) dpm.close(servers[1])");
    stage.until("servers[1]:session() == nil");
    assert_eq!(stage.lua("return session:schema()"), "nil\tclosed");
}

/// A script that sends the login itself, and holds back a command of the client's.
#[test]
fn what_a_script_says_counts_and_what_it_holds_back_does_not() {
    let mut stage = Stage::before(mariadb().port);
    let mut client = stage.client(PLAIN);
    stage.lua("h.server(nil, { dpm.CLIENT_LOCAL_FILES }) servers[1]:track_session(true)");
    stage.until("servers[1]:state() == dpm.MYS_WAIT_CMD");
    assert_eq!(stage.lua("return servers[1]:session():user()"), "empty");
    stage.lua(
        "clients[1]:register(dpm.MYC_SENT_CMD, function(cmd, id, conn)
           if cmd:argument():find('hold') then
             dpm.wire_packet(conn, dpm.new_ok_pkt())
             return dpm.DPM_NOPROXY
           end
         end)",
    );
    stage.link(1, 1);
    client.query("USE test /* hold */");
    assert_eq!(stage.lua("return servers[1]:session():schema()"), "");
    client.query("USE test");
    assert_eq!(stage.lua("return servers[1]:session():schema()"), "test");
}

/// Numbers that look random, and are the same each time.
struct Dice(u64);

impl Dice {
    fn roll(&mut self, sides: usize) -> usize {
        self.0 ^= self.0 << 13;
        self.0 ^= self.0 >> 7;
        self.0 ^= self.0 << 17;
        (self.0 % sides as u64) as usize
    }

    fn pick<'a>(&mut self, from: &[&'a str]) -> &'a str {
        from[self.roll(from.len())]
    }
}

/// Statements of every kind; `{base}` is the schema.
const STATEMENTS: &[&str] = &[
    "USE {base}",
    "USE test",
    "USE nosuch",
    "USE `Upper_{base}`",
    "DROP DATABASE IF EXISTS nosuch",
    "CREATE DATABASE IF NOT EXISTS d_{base}",
    "USE d_{base}",
    "DROP DATABASE IF EXISTS d_{base}",
    "SET time_zone = '+02:00'",
    "SET time_zone = '+3:00'",
    "SET time_zone = @z",
    "SET time_zone = 'nonsense'",
    "SET time_zone = DEFAULT",
    "SET SESSION sql_mode = 'ANSI'",
    "SET sql_mode = ''",
    "SET sql_mode = 'NO_BACKSLASH_ESCAPES'",
    "SET sql_mode = DEFAULT",
    "SET NAMES utf8mb4",
    "SET NAMES latin1",
    "SET NAMES utf8mb4 COLLATE utf8mb4_bin",
    "SET NAMES utf8",
    "SET CHARACTER SET latin1",
    "SET character_set_results = NULL",
    "SET character_set_connection = utf8mb4",
    "SET collation_connection = latin1_german1_ci",
    "SET collation_connection = 'utf8mb4_bin', foreign_key_checks = 0",
    "SET foreign_key_checks = 0",
    "SET foreign_key_checks = 1",
    "SET unique_checks = OFF",
    "SET @@session.unique_checks = 'on', @@global.long_query_time = 10",
    "SET unique_checks = 0, nosuch = 1",
    "SET GLOBAL group_concat_max_len = 1024, div_precision_increment = 4",
    "SET sql_safe_updates = 0",
    "SET long_query_time = 2.5",
    "SET max_join_size = 1000000",
    "SET max_join_size = DEFAULT",
    "SET group_concat_max_len = 2000",
    "SET lc_time_names = 'de_DE'",
    "SET div_precision_increment = 1 + 4",
    "SET STATEMENT_TIME",
    "SET @a = 1",
    "SET @a := 2, time_zone = '+01:00'",
    "SELECT @b := 5",
    "SELECT 5 INTO @c",
    "BEGIN",
    "START TRANSACTION READ ONLY",
    "START TRANSACTION WITH CONSISTENT SNAPSHOT",
    "COMMIT",
    "ROLLBACK",
    "COMMIT AND CHAIN",
    "SAVEPOINT s",
    "ROLLBACK TO s",
    "SET autocommit = 0",
    "SET autocommit = 1",
    "SET TRANSACTION ISOLATION LEVEL READ COMMITTED",
    "SET TRANSACTION READ ONLY",
    "SET SESSION TRANSACTION ISOLATION LEVEL REPEATABLE READ, READ WRITE",
    "SET SESSION TRANSACTION READ WRITE",
    "SELECT 1",
    "SELECT \"it's\"",
    "SELECT 'it\\'s'",
    "SELECT * FROM {base}.t LIMIT 1",
    "SELECT nosuch",
    "SELECT CAST('a' AS SIGNED)",
    "SELECT v + 0 FROM {base}.t LIMIT 3",
    "DO 1",
    "SHOW WARNINGS",
    "SHOW TABLES FROM {base}",
    "INSERT INTO {base}.t (v) VALUES ('a')",
    "INSERT INTO {base}.t (v) VALUES ('a'), ('b')",
    "INSERT INTO {base}.t VALUES (NULL, 'x')",
    "REPLACE INTO {base}.t VALUES (3, 'x')",
    "INSERT INTO {base}.t VALUES (1, 'x')",
    "INSERT IGNORE INTO {base}.t VALUES (1, 'x'), (NULL, 'y')",
    "INSERT INTO {base}.t (v) SELECT 'a'",
    "INSERT INTO {base}.t (v) VALUES ('u') ON DUPLICATE KEY UPDATE v = 'w'",
    "INSERT INTO {base}.t (v) VALUES (UPPER('x'))",
    "INSERT INTO {base}.t (id, v) VALUES (NULL, 'p'), (1, 'q')",
    "UPDATE {base}.t SET v = 'b' WHERE id = 2",
    "UPDATE {base}.t SET v = 'b' WHERE id = LAST_INSERT_ID(2)",
    "DELETE FROM {base}.t WHERE id = 3",
    "SELECT LAST_INSERT_ID(77)",
    "SET last_insert_id = 12",
    "SELECT GET_LOCK('l1', 0)",
    "DO RELEASE_LOCK('l1')",
    "CREATE TEMPORARY TABLE IF NOT EXISTS {base}.tmp (a INT)",
    "DROP TEMPORARY TABLE IF EXISTS {base}.tmp",
    "DROP TABLE IF EXISTS {base}.nosuch",
    "CREATE TABLE IF NOT EXISTS {base}.u (a INT)",
    "TRUNCATE {base}.u",
    "ANALYZE TABLE {base}.t",
    "PREPARE p FROM 'SET @a = 3'",
    "EXECUTE p",
    "CALL {base}.set_zone()",
    "CALL {base}.inserts()",
    "CALL {base}.fails()",
    "CALL {base}.selects()",
    "SELECT {base}.sets()",
    "SELECT 1; SET time_zone = '+04:00'; SELECT 2",
    "SET time_zone = '+05:00'; SELECT nosuch; SET time_zone = '+06:00'",
    "BEGIN; INSERT INTO {base}.t (v) VALUES ('m'); COMMIT",
    "/*!40101 SET NAMES utf8mb4 */",
    "/*!99999 SET NAMES latin1 */",
    "",
    "nonsense",
    "LOCK TABLES {base}.t WRITE",
    "UNLOCK TABLES",
    "SET @@transaction_isolation = 'READ-COMMITTED'",
    "XA START 'x'",
    "XA END 'x'",
    "XA ROLLBACK 'x'",
];

/// What only MariaDB has.
const OF_MARIADB: &[&str] = &[
    "SET STATEMENT time_zone = '+07:00' FOR SELECT 1",
    "INSERT INTO {base}.t (v) VALUES ('r') RETURNING id",
    "BEGIN NOT ATOMIC SET time_zone = '+08:00'; SELECT 1; END",
    "EXECUTE IMMEDIATE 'USE test'",
];

/// What changes the session of who does not see it.
const HIDDEN: &[&str] = &[
    "SELECT * FROM {base}.v",
    "INSERT INTO {base}.triggering VALUES (1)",
    "SELECT * FROM {base}.locking",
    "UPDATE {base}.triggering SET a = 2",
];

fn prepare(server: &Server, base: &str) {
    server.sql(&format!(
        "CREATE DATABASE `Upper_{base}`; USE {base};
         CREATE TABLE t (id INT AUTO_INCREMENT PRIMARY KEY, v VARCHAR(20));
         INSERT INTO t (v) VALUES ('a'), ('b'), ('c'), ('d');
         CREATE TABLE triggering (a INT);
         CREATE TRIGGER tr BEFORE INSERT ON triggering FOR EACH ROW SET @hidden = 1;
         CREATE VIEW v AS SELECT LAST_INSERT_ID(99) AS a;
         CREATE VIEW locking AS SELECT GET_LOCK('l1', 0) AS a;
         CREATE PROCEDURE set_zone() SET time_zone = '+09:00';
         CREATE PROCEDURE inserts() INSERT INTO t (v) VALUES ('p');
         CREATE PROCEDURE selects() SELECT * FROM t;
         DELIMITER //
         CREATE PROCEDURE fails() BEGIN SET foreign_key_checks = 0; SET @d = 1; SELECT nosuch; END //
         CREATE FUNCTION sets() RETURNS INT DETERMINISTIC
         BEGIN SET time_zone = '-01:00', @e = 1, unique_checks = 1; RETURN 1; END //
         DELIMITER ;"
    ));
}

/// A step of a random session.
fn step(
    one: &mut Followed,
    dice: &mut Dice,
    statements: &[&str],
    base: &str,
    history: &mut Vec<String>,
) {
    match dice.roll(40) {
        0 => {
            history.push("COM_PING".into());
            one.client.exchange(com::PING, b"");
        }
        1 => {
            let name = dice.pick(&["test", base, "nosuch"]);
            history.push(format!("COM_INIT_DB {name}"));
            one.client.exchange(com::INIT_DB, name.as_bytes());
        }
        2 => {
            history.push("COM_RESET_CONNECTION".into());
            one.client.exchange(com::RESET_CONNECTION, b"");
        }
        3 => {
            history.push("COM_CHANGE_USER".into());
            one.change_user();
        }
        4..10 => {
            let sql = dice.pick(statements).replace("{base}", base);
            history.push(format!("prepared: {sql}"));
            let answer = one.client.exchange(com::STMT_PREPARE, sql.as_bytes());
            if answer[0][0] == 0 {
                let id: [u8; 4] = answer[0][1..5].try_into().unwrap();
                let argument = execute_argument(u32::from_le_bytes(id), 0, &[]);
                one.client.exchange(com::STMT_EXECUTE, &argument);
                one.client.exchange(com::STMT_CLOSE, &id);
            }
        }
        10 => {
            history.push(REPORT_ALL.into());
            one.run(REPORT_ALL);
        }
        _ => {
            let sql = dice.pick(statements).replace("{base}", base);
            history.push(sql.clone());
            one.run(&sql);
        }
    }
}

everywhere! {
    fn random_sessions_are_never_told_wrong(server) {
        let base = server.database();
        prepare(server, &base);
        let rounds = std::env::var("DPM_TEST_SESSIONS").ok().and_then(|n| n.parse().ok()).unwrap_or(2);
        let mut known = 0;
        for round in 0..rounds {
            for (place, capabilities) in [MODERN, TRACKED, PLAIN].into_iter().enumerate() {
                for hidden in ["trusted", "doubted"] {
                    let mut statements = STATEMENTS.to_vec();
                    if server.flavour.is_mariadb() {
                        statements.extend(OF_MARIADB);
                    }
                    if hidden == "doubted" {
                        statements.extend(HIDDEN);
                    }
                    let mut dice = Dice(0x9E37_79B9 + 7919 * (round * 3 + place as u64) + hidden.len() as u64);
                    let mut one = Followed::start(server, hidden, capabilities);
                    let mut history = vec![format!("{hidden} {capabilities:x}")];
                    if dice.roll(2) == 0 {
                        history.push(REPORT_ALL.into());
                        one.run(REPORT_ALL);
                    }
                    for _ in 0..80 {
                        step(&mut one, &mut dice, &statements, &base, &mut history);
                        if dice.roll(2) == 0 {
                            history.push("(compared)".into());
                            known += one.compare(&history);
                        }
                    }
                }
            }
        }
        assert!(known > 500 * rounds as usize, "{known}");
    }
}

#[test]
fn sessions_are_told_apart() {
    let mut one = Followed::start(mariadb(), "trusted", MODERN);
    let likeness = "local likeness, why = client:session():likeness() return likeness or why";
    let first = one.stage.lua(likeness);
    one.run("SELECT 1");
    assert_eq!(one.stage.lua(likeness), first);
    one.run("SET time_zone = '+01:00'");
    assert_ne!(one.stage.lua(likeness), first);
    one.run("SET @a = 1");
    assert_eq!(one.stage.lua(likeness), "volatile");
    assert!(matches!(one.client.query("BEGIN"), Answer::Ok(_)));
    let mut other = Wire::login_empty(one.port, MODERN);
    other.query("SELECT 1");
    assert_eq!(one.stage.lua(likeness), first);
}
