//! Settings of sessions, taken from one connection and put on another: against what the servers
//! themselves say of both.

use std::collections::{BTreeMap, BTreeSet};

use dpm::pool::state::{Obstacle, Row, Settings, Side, Snapshot, Step, differs, is_restorable};
use dpm::track::{Ending, Fact, Hidden, Login, Session, Transaction, canonical_name};
use dpm::wire::{Capabilities, Com, Ok, Status};

use crate::support::wire::{Wire, caps, lenenc, text_row};
use crate::support::{Server, mariadb, server};

const CAPABILITIES: u32 = caps::BASE | caps::MULTI | caps::SESSION_TRACK | caps::DEPRECATE_EOF;

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

/// The end of an answer.
#[derive(Debug, PartialEq)]
enum Answer {
    Rows(Vec<Row>),
    Err(u16),
}

/// A connection of a pool.
struct Connection {
    wire: Wire,
    session: Session,
    snapshot: Snapshot,
}

impl Connection {
    /// Logs in without a schema, and prepares the connection as a pool does.
    #[track_caller]
    fn new(server: &Server) -> Connection {
        let mut wire = Wire::login_empty(server.port, CAPABILITIES);
        let version = wire.rows("SELECT VERSION()").remove(0).remove(0);
        let login = Login {
            version: version.as_bytes(),
            user: b"empty",
            ..Login::default()
        };
        let mut connection = Connection {
            wire,
            session: Session::new(&login, Hidden::Reported),
            snapshot: Snapshot::new([]),
        };
        let ok = Ending::Ok {
            status: Status::AUTOCOMMIT,
            insert_id: 0,
            warnings: 0,
            changes: None,
        };
        connection.session.result(ok, true);
        let rows = connection.ask(Snapshot::query());
        connection.snapshot = Snapshot::new(rows.iter().map(|row| match row.as_slice() {
            [Some(name), value] => (name.as_slice(), value.as_deref()),
            other => panic!("{other:?}"),
        }));
        connection.ask(&connection.snapshot.enable_trackers());
        let initial = connection.snapshot.values().clone();
        connection.session.begin_reports(initial);
        connection
    }

    /// Sends a command, which the session sees, as it does each answer.
    #[track_caller]
    fn command(&mut self, com: Com, argument: &[u8]) -> Answer {
        self.session.command(com, argument);
        self.wire.command(com.0, argument);
        let mut rows = Vec::new();
        loop {
            let head = self.wire.read();
            match head[0] {
                0 => {}
                0xFF => {
                    let number = u16::from_le_bytes([head[1], head[2]]);
                    self.session.result(Ending::Err(number), true);
                    return Answer::Err(number);
                }
                _ => {
                    for _ in 0..lenenc(&head).0 {
                        self.wire.read();
                    }
                }
            }
            let mut end = head;
            if end[0] != 0 {
                loop {
                    end = self.wire.read();
                    match end[0] {
                        0xFE => break,
                        0xFF => {
                            let number = u16::from_le_bytes([end[1], end[2]]);
                            self.session.result(Ending::Err(number), true);
                            return Answer::Err(number);
                        }
                        _ => rows.push(text_row(&end)),
                    }
                }
            }
            let capabilities = Capabilities::from_bits_retain(CAPABILITIES.into());
            let ok = Ok::decode(&end, capabilities).expect("an OK");
            let is_last = !ok.status.contains(Status::MORE_RESULTS_EXISTS);
            let ending = Ending::Ok {
                status: ok.status,
                insert_id: ok.insert_id,
                warnings: ok.warnings,
                changes: ok.session_changes.as_deref(),
            };
            self.session.result(ending, is_last);
            if is_last {
                return Answer::Rows(rows);
            }
        }
    }

    fn run(&mut self, sql: &str) -> Answer {
        self.command(Com::QUERY, sql.as_bytes())
    }

    #[track_caller]
    fn ask(&mut self, sql: &[u8]) -> Vec<Row> {
        match self.command(Com::QUERY, sql) {
            Answer::Rows(rows) => rows,
            Answer::Err(number) => panic!("{}: {number}", String::from_utf8_lossy(sql)),
        }
    }

    /// What is set, after reading what is not known of it; and how many rounds that took.
    #[track_caller]
    fn settings(&mut self) -> (Settings, usize) {
        for rounds in 0..3 {
            match Settings::of(&self.session, &self.snapshot) {
                Ok(settings) => return (settings, rounds),
                Err(unknown) => {
                    assert!(!unknown.is_unreadable(), "{unknown:?}");
                    let queries = unknown.queries(&self.snapshot);
                    let answers: Vec<_> = queries.iter().map(|sql| self.ask(sql)).collect();
                    unknown.learn(&mut self.session, &self.snapshot, &answers);
                }
            }
        }
        panic!("{:?}", Settings::of(&self.session, &self.snapshot));
    }

    fn last_insert_id(&self) -> Option<u64> {
        self.session.last_insert_id().known().copied()
    }

    /// Takes over the settings of another one, from its own.
    #[track_caller]
    fn becomes(&mut self, wanted: &Settings, last_insert_id: u64) -> Vec<Step> {
        let (settings, _) = self.settings();
        self.leads_from(&settings, wanted, last_insert_id)
    }

    #[track_caller]
    fn leads_from(&mut self, from: &Settings, wanted: &Settings, last_insert_id: u64) -> Vec<Step> {
        let from = Side {
            settings: from,
            last_insert_id: self.last_insert_id(),
        };
        let to = Side {
            settings: wanted,
            last_insert_id: Some(last_insert_id),
        };
        let steps = differs(from, to, &self.snapshot).expect("commands");
        for step in &steps {
            let done = match step {
                Step::Query(sql) => self.command(Com::QUERY, sql),
                Step::InitDb(name) => self.command(Com::INIT_DB, name),
            };
            assert_eq!(done, Answer::Rows(Vec::new()), "{}", shown(step));
        }
        wanted.were_put_on(&mut self.session);
        steps
    }

    /// What the server says, except of what differs in any case.
    #[track_caller]
    fn truth(&mut self) -> BTreeMap<String, String> {
        let rows = self.wire.rows("SHOW SESSION VARIABLES");
        let mut truth: BTreeMap<String, String> = rows
            .into_iter()
            // The results may be in UTF-16.
            .map(|row| row.into_iter().map(|value| value.replace('\0', "")))
            .filter_map(|mut row| Some((row.next()?, row.next()?)))
            .filter(|(name, _)| self.snapshot.value(canonical_name(name)).is_some())
            .collect();
        let more = self
            .wire
            .rows("SELECT DATABASE(), LAST_INSERT_ID(), @@session.character_set_results LIMIT 1");
        for (name, value) in ["(schema)", "(id)", "(results)"].iter().zip(&more[0]) {
            truth.insert((*name).to_owned(), value.clone());
        }
        truth
    }
}

/// Those that the pool keeps for itself, or for the client.
const NOT_TRIED: &[&str] = &[
    "interactive_timeout",
    "session_track_gtids",
    "session_track_schema",
    "session_track_state_change",
    "session_track_system_variables",
    "session_track_transaction_info",
    "wait_timeout",
];

/// Those for which no other value was found that every server takes, or that are variables of the
/// whole server on one of them.
const UNCHANGED: &[&str] = &[
    "alter_algorithm",
    "external_table_storage_engine",
    "innodb_ft_user_stopword_table",
    "log_queries_not_using_indexes",
    "log_slow_admin_statements",
    "log_slow_slave_statements",
    "pseudo_slave_mode",
    "query_cache_type",
    "redirect_url",
    "resultset_metadata",
    "server_id",
    "slow_query_log",
    "thread_pool_priority",
    "wsrep_on",
    "wsrep_trx_fragment_size",
    "wsrep_trx_fragment_unit",
];

fn shown(step: &Step) -> String {
    match step {
        Step::Query(sql) => String::from_utf8_lossy(sql).into_owned(),
        Step::InitDb(name) => format!("COM_INIT_DB {}", String::from_utf8_lossy(name)),
    }
}

#[track_caller]
fn assert_alike(one: &mut Connection, two: &mut Connection, what: &str) {
    let (one, two) = (one.truth(), two.truth());
    let differing: Vec<_> = one
        .iter()
        .filter(|(name, value)| two.get(*name) != Some(value))
        .map(|(name, value)| format!("{name}: {value} / {:?}", two.get(name)))
        .collect();
    assert!(differing.is_empty(), "{what}: {differing:#?}");
}

/// Values to try for a variable, in the form in which they can be written.
fn others(value: &str) -> Vec<String> {
    let words = [
        "latin1",
        "utf8mb4",
        "latin1_bin",
        "utf8mb4_bin",
        "'READ-COMMITTED'",
        "utf8mb4_general_ci",
        "NO",
        "'/tmp'",
        "PARTIAL_JSON",
        "'InnoDB'",
        "'+01:00'",
        "'ANSI'",
        "de_DE",
        "MyISAM",
        "MEMORY",
        "STATEMENT",
        "MINIMAL",
        "NEVER",
        "FORCE",
        "KEEP",
        "COPY",
        "NULLS_EQUAL",
        "CHAIN",
        "ENCRYPTED",
        "SINGLE_PREC_HB",
        "DOTALL",
        "EVENTUAL",
        "'mrr=on'",
        "'index_merge=off'",
        "'greedy_search=off'",
        "'enabled=on'",
        "'query_plan'",
        "'admin'",
        "'filesort'",
        "'aes-256-cbc'",
        "'json'",
        "'utf8mb4=utf8mb4_unicode_ci'",
        "'1999-01-01 00:00:00'",
        "'basic'",
        "TABLE",
        "TRADITIONAL",
        "ON_NO_SUCH",
        "RSU",
        "rows",
        "cosine",
        "FULL",
        "IDEMPOTENT",
        "NONE",
        "'x'",
        "NULL",
        "ON",
        "OFF",
        "2",
        "''",
    ];
    let mut all = Vec::new();
    match value {
        "ON" => all.push("0".to_owned()),
        "OFF" => all.push("1".to_owned()),
        _ => {}
    }
    let numbers = [1_000_000_000, 0, 1, 2, 5, 1024, 65536].map(|number: u64| number.to_string());
    if let Ok(number) = value.parse::<u64>() {
        let near = [
            number.checked_add(1),
            number.checked_mul(2),
            number.checked_sub(1),
        ];
        all.extend(
            near.into_iter()
                .flatten()
                .filter(|near| *near < 1 << 40)
                .map(|near| near.to_string()),
        );
        all.extend(numbers);
    } else if let Ok(number) = value.parse::<f64>() {
        all.push(format!("{}", number / 2.0));
        all.extend(numbers);
    }
    all.extend(words.iter().map(|word| (*word).to_owned()));
    all
}

everywhere! {
    fn each_variable_is_restored(server) {
        let mut one = Connection::new(server);
        let mut two = Connection::new(server);
        let initial = one.truth();
        let mut unchanged = BTreeSet::new();
        for name in initial.keys() {
            let is_setting = one.snapshot.value(canonical_name(name)).is_some();
            if !is_setting || NOT_TRIED.contains(&name.as_str()) {
                continue;
            }
            let read = format!("SELECT @@session.{name}");
            let before = one.run(&read);
            let set = others(&initial[name]).into_iter().find(|value| {
                one.run(&format!("SET SESSION {name} = {value}"));
                one.run(&read) != before
            });
            let Some(value) = set else {
                unchanged.insert(name.as_str());
                continue;
            };
            let (settings, _) = one.settings();
            let id = one.last_insert_id().unwrap();
            let steps: Vec<_> = two.becomes(&settings, id).iter().map(shown).collect();
            let what = format!("{name} = {value}: {steps:?}");
            assert_alike(&mut one, &mut two, &what);
            assert_eq!(two.settings().0, settings, "{what}");
            one.becomes(&Settings::default(), 0);
            two.becomes(&Settings::default(), 0);
            assert_alike(&mut one, &mut two, &what);
        }
        let now = one.truth();
        for (name, value) in &initial {
            assert_eq!(now.get(name), Some(value), "{name}");
        }
        let is_known = |name: &&str| UNCHANGED.contains(name);
        assert!(unchanged.iter().all(is_known), "not tried: {unchanged:?}");
    }
}

everywhere! {
    fn character_sets_are_restored_with_their_collations(server) {
        let mut one = Connection::new(server);
        let mut two = Connection::new(server);
        // Nothing is selected without a limit of its own.
        one.run("SET sql_select_limit = 0");
        for sql in [
            "SET NAMES latin1",
            "SET NAMES utf8mb4",
            "SET NAMES utf8mb4 COLLATE utf8mb4_bin",
            "SET NAMES 'gbk' COLLATE 'gbk_bin'",
            "SET NAMES sjis",
            "SET CHARACTER SET latin1",
            "SET CHARACTER SET DEFAULT",
            "SET character_set_client = gbk",
            "SET character_set_results = NULL",
            "SET character_set_results = utf16",
            "SET character_set_connection = utf16",
            "SET collation_connection = utf16_bin",
            "SET sql_mode = _utf8mb4'NO_BACKSLASH_ESCAPES,ANSI_QUOTES', collation_connection = latin1_bin",
            "SET NAMES DEFAULT",
            "SET NAMES binary",
        ] {
            assert_eq!(one.run(sql), Answer::Rows(Vec::new()), "{sql}");
            let (settings, rounds) = one.settings();
            assert!(rounds <= 1, "{sql}: {rounds}");
            two.becomes(&settings, 0);
            assert_alike(&mut one, &mut two, sql);
            assert_eq!(two.becomes(&settings, 0), [], "{sql}");
        }
        one.becomes(&Settings::default(), 0);
        two.becomes(&Settings::default(), 0);
        assert_alike(&mut one, &mut two, "back");
    }
}

everywhere! {
    fn schemas_are_restored_whatever_the_character_set(server) {
        server.sql("SET NAMES utf8mb4; CREATE DATABASE IF NOT EXISTS `p\u{fc}`; CREATE DATABASE IF NOT EXISTS `P q`");
        let mut one = Connection::new(server);
        let mut two = Connection::new(server);
        for sql in ["SET NAMES utf8mb4", "SET NAMES latin1", "SET NAMES gbk", "SET NAMES binary"] {
            for name in ["p\u{fc}", "test", "P q"] {
                let mut stranger = Connection::new(server);
                stranger.run("SET NAMES utf8mb4");
                stranger.run(&format!("USE `{name}`"));
                stranger.run(sql);
                let (settings, _) = stranger.settings();
                assert_eq!(settings.schema(), Some(name.as_bytes()));
                for other in [&mut one, &mut two] {
                    other.becomes(&settings, 0);
                    assert_alike(other, &mut stranger, &format!("{sql}, {name}"));
                }
            }
        }
        // Nothing leads back.
        let (settings, _) = one.settings();
        let fresh = Settings::default();
        let side = |settings| Side { settings, last_insert_id: Some(0) };
        let back = differs(side(&settings), side(&fresh), &one.snapshot);
        assert_eq!(back, Err(Obstacle::Schema));
    }
}

everywhere! {
    fn what_an_error_has_left_is_found(server) {
        let schema = server.database();
        server.sql(&format!(
            "USE {schema};
             DELIMITER //
             CREATE PROCEDURE fails() BEGIN
               SET time_zone = '+03:00', sql_notes = 0;
               SET NAMES latin1 COLLATE latin1_bin;
               SET LAST_INSERT_ID = 17;
               SIGNAL SQLSTATE '45000';
             END//
             CREATE FUNCTION f() RETURNS INT NO SQL BEGIN
               SET lc_time_names = 'de_DE', unique_checks = 0; RETURN 1; END//
             CREATE FUNCTION g() RETURNS INT NO SQL BEGIN
               SET lc_time_names = 'fr_FR', foreign_key_checks = 0;
               SIGNAL SQLSTATE '45000'; RETURN 1; END//
             CREATE TABLE t (a INT)//
             CREATE TRIGGER h BEFORE INSERT ON t FOR EACH ROW BEGIN
               SET default_week_format = 3;
               SIGNAL SQLSTATE '45000'; END//"
        ));
        let mut one = Connection::new(server);
        let mut two = Connection::new(server);
        for other in [&mut one, &mut two] {
            other.command(Com::INIT_DB, schema.as_bytes());
        }
        for sql in [
            "CALL fails()",
            "SELECT f()",
            "SELECT g()",
            "DO g()",
            "INSERT INTO t VALUES (1)",
            "SET time_zone = '+05:00', lc_time_names = 'nowhere'",
            "SET character_set_client = utf16",
        ] {
            one.run(sql);
            let (settings, rounds) = one.settings();
            assert!(rounds <= 2, "{sql}: {rounds}");
            let id = one.last_insert_id().unwrap();
            two.becomes(&settings, id);
            assert_alike(&mut one, &mut two, sql);
            let fresh = Settings::at_login(Some(schema.as_bytes()), "utf8mb4", "utf8mb4_bin");
            one.becomes(&fresh, 0);
            two.becomes(&fresh, 0);
            assert_alike(&mut one, &mut two, sql);
        }
    }
}

everywhere! {
    fn values_of_one_statement_are_not_taken_for_the_sessions(server) {
        let mut one = Connection::new(server);
        let mut two = Connection::new(server);
        for sql in [
            "SET STATEMENT time_zone = '+07:00', foreign_key_checks = 0 FOR SELECT 1",
            "SELECT /*+ SET_VAR(sort_buffer_size = 65536) */ 1",
            "EXECUTE IMMEDIATE 'SET STATEMENT lc_time_names = \\'de_DE\\' FOR DO 1'",
            "PREPARE s FROM 'SET lc_time_names = ?'",
            "SET @a = 'fr_FR'",
            "EXECUTE s USING @a",
            "SET @@session.sql_notes = @@session.unique_checks - 1, autocommit = @@session.sql_notes",
            "SET @@global.lc_time_names = 'en_US', lc_time_names = 'es_ES'",
            "SET timestamp = 1000",
            "SET timestamp = DEFAULT",
        ] {
            one.run(sql);
            let (settings, rounds) = one.settings();
            assert!(rounds <= 2, "{sql}: {rounds}");
            two.becomes(&settings, 0);
            assert_alike(&mut one, &mut two, sql);
        }
    }
}

everywhere! {
    fn transactions_that_were_only_begun_are_begun_again(server) {
        let mut one = Connection::new(server);
        let mut two = Connection::new(server);
        for begin in [
            &["START TRANSACTION"][..],
            &["START TRANSACTION READ ONLY"],
            &["BEGIN", "SELECT 1", "SELECT @@sql_mode", "USE test"],
            &["SET TRANSACTION READ ONLY"],
            &["SET TRANSACTION ISOLATION LEVEL SERIALIZABLE, READ ONLY"],
            &["SET TRANSACTION ISOLATION LEVEL SERIALIZABLE", "BEGIN"],
            &["SET autocommit = 0", "BEGIN", "SET time_zone = '+01:00'"],
            &["SET completion_type = CHAIN", "BEGIN"],
            &["SET completion_type = RELEASE, autocommit = 1", "BEGIN"],
        ] {
            for sql in begin {
                one.run(sql);
            }
            let (settings, rounds) = one.settings();
            assert_eq!(rounds, 0, "{begin:?}");
            two.becomes(&settings, 0);
            let characteristics = one.session.characteristics();
            assert_eq!(two.session.characteristics(), characteristics, "{begin:?}");
            assert_eq!(two.session.transaction(), one.session.transaction(), "{begin:?}");
            assert_alike(&mut one, &mut two, "begun");
            let fresh = Settings::at_login(settings.schema(), "utf8mb4", "utf8mb4_bin");
            for other in [&mut one, &mut two] {
                other.becomes(&fresh, 0);
                let transaction = other.session.transaction();
                assert_eq!(transaction, Fact::Known(Transaction::None), "{begin:?}");
            }
            assert_alike(&mut one, &mut two, "ended");
        }
        server.sql("CREATE TABLE IF NOT EXISTS test.used (a INT)");
        for used in [
            &["START TRANSACTION WITH CONSISTENT SNAPSHOT"][..],
            &["BEGIN", "SELECT * FROM test.used"],
            &["BEGIN", "INSERT INTO test.used VALUES (1)"],
            &["BEGIN", "SELECT * FROM test.nosuch"],
            &["BEGIN", "SET SESSION TRANSACTION ISOLATION LEVEL SERIALIZABLE"],
            &["XA START 'x'"],
            &["SET autocommit = 0", "SELECT * FROM test.used"],
        ] {
            let mut one = Connection::new(server);
            for sql in used {
                one.run(sql);
            }
            // After an error the next answer tells.
            one.run("DO 1");
            assert_eq!(Settings::left_behind(&one.session, &one.snapshot), None);
            let unknown = Settings::of(&one.session, &one.snapshot).unwrap_err();
            assert!(unknown.is_unreadable(), "{used:?}");
        }
    }
}

everywhere! {
    fn the_last_insert_id_is_restored(server) {
        let schema = server.database();
        server.sql(&format!("CREATE TABLE {schema}.t (a BIGINT UNSIGNED AUTO_INCREMENT PRIMARY KEY)"));
        let mut one = Connection::new(server);
        let mut two = Connection::new(server);
        for sql in [
            format!("INSERT INTO {schema}.t VALUES (NULL), (NULL)"),
            format!("INSERT INTO {schema}.t VALUES (900)"),
            "SELECT LAST_INSERT_ID(18446744073709551615)".to_owned(),
            format!("INSERT INTO {schema}.t VALUES (NULL), (1)"),
            "SET last_insert_id = 5".to_owned(),
            "SET last_insert_id = 5 + 1".to_owned(),
        ] {
            one.run(&sql);
            let (settings, rounds) = one.settings();
            assert!(rounds <= 1, "{sql}: {rounds}");
            let id = one.last_insert_id().unwrap();
            two.becomes(&settings, id);
            assert_eq!(two.last_insert_id(), Some(id), "{sql}");
            assert_alike(&mut one, &mut two, &sql);
        }
    }
}

everywhere! {
    fn a_session_whose_client_is_gone_need_not_be_read(server) {
        let mut one = Connection::new(server);
        let mut two = Connection::new(server);
        two.run("SET NAMES utf8mb4 COLLATE utf8mb4_unicode_ci");
        let (wanted, _) = two.settings();
        for sql in ["SET NAMES latin1", "SET time_zone = @@time_zone", "SELECT LAST_INSERT_ID(3)"] {
            one.run(sql);
            let left = Settings::left_behind(&one.session, &one.snapshot).expect("what is left");
            one.leads_from(&left, &wanted, 0);
            assert_alike(&mut one, &mut two, sql);
            assert_eq!(one.becomes(&wanted, 0), []);
        }
        // A tracker was switched off: only a reset helps.
        one.run("SET session_track_transaction_info = 'OFF'");
        let unknown = Settings::of(&one.session, &one.snapshot).unwrap_err();
        assert!(unknown.is_unreadable());
        assert_eq!(Settings::left_behind(&one.session, &one.snapshot), None);
    }
}

everywhere! {
    fn what_only_others_may_set_is_not_restorable(server) {
        let schema = server.database();
        server.sql(&format!(
            "CREATE PROCEDURE {schema}.p() SET sql_log_bin = 0, time_zone = '+01:00';
             CREATE PROCEDURE {schema}.q() SET sql_notes = 0"
        ));
        let mut one = Connection::new(server);
        for (sql, expected) in [
            (format!("CALL {schema}.q()"), true),
            (format!("CALL {schema}.p()"), false),
            ("SET sql_log_bin = 0".to_owned(), true),
            (format!("CALL {schema}.p()"), false),
            ("SET sql_log_bin = 1".to_owned(), true),
        ] {
            one.run(&sql);
            one.settings();
            assert_eq!(is_restorable(&one.session, &one.snapshot), expected, "{sql}");
        }
    }
}

everywhere! {
    fn texts_survive_every_mode_and_character_set(server) {
        if !server.flavour.is_mariadb() {
            return; // It has no variable that takes any text.
        }
        let mut one = Connection::new(server);
        let mut two = Connection::new(server);
        for text in ["it's", "back\\slash", "\\'", "a \"b\" `c`", "\u{8868}\u{fc}", "; DROP TABLE t -- "] {
            for modes in ["''", "'ANSI_QUOTES'", "'NO_BACKSLASH_ESCAPES,ANSI_QUOTES'", "'ORACLE'"] {
                for charset in ["utf8mb4", "gbk", "sjis", "latin1", "binary", "swe7"] {
                    let digits: String = text.bytes().map(|byte| format!("{byte:02x}")).collect();
                    let set = format!(
                        "SET default_master_connection = _utf8mb4 0x{digits}, sql_mode = {modes}"
                    );
                    assert_eq!(one.run(&set), Answer::Rows(Vec::new()), "{set}");
                    assert_eq!(two.run(&format!("SET NAMES {charset}, sql_mode = {modes}")), Answer::Rows(Vec::new()));
                    let (settings, _) = one.settings();
                    two.becomes(&settings, 0);
                    assert_alike(&mut one, &mut two, &format!("{set}, {charset}"));
                }
            }
        }
    }
}

everywhere! {
    fn any_session_becomes_any_other(server) {
        const SETS: &[&str] = &[
            "SET NAMES gbk",
            "SET NAMES latin1 COLLATE latin1_bin",
            "SET collation_connection = utf16_bin",
            "SET character_set_results = NULL",
            "SET collation_server = latin1_bin",
            "SET character_set_server = utf8mb4",
            "SET sql_mode = _utf8mb4'ANSI'",
            "SET sql_mode = _utf8mb4'NO_BACKSLASH_ESCAPES'",
            "SET time_zone = _utf8mb4'+05:30'",
            "SET lc_time_names = _utf8mb4'de_DE'",
            "SET foreign_key_checks = 0",
            "SET unique_checks = 0, sql_notes = 0",
            "SET sql_safe_updates = 1",
            "SET max_join_size = 1000000",
            "SET sql_big_selects = 0, max_join_size = 4000000000",
            "SET autocommit = 0",
            "SET autocommit = 1",
            "SET SESSION TRANSACTION READ ONLY",
            "SET SESSION TRANSACTION ISOLATION LEVEL SERIALIZABLE",
            "SET TRANSACTION READ WRITE",
            "SET sql_select_limit = 1000000",
            "SET group_concat_max_len = 77777",
            "SET optimizer_switch = _utf8mb4'index_merge=off'",
            "SET long_query_time = 1.25",
            "SET last_insert_id = 18446744073709551615",
            "START TRANSACTION",
            "ROLLBACK",
            "SELECT 1",
            "nonsense",
            "USE test",
        ];
        let mut all = [Connection::new(server), Connection::new(server), Connection::new(server)];
        // Any numbers will do, if they are the same each time.
        let mut number = 12345_u32;
        let mut any = |below: usize| {
            number = number.wrapping_mul(1_664_525).wrapping_add(1_013_904_223);
            (number >> 8) as usize % below
        };
        for other in &mut all {
            other.run("USE test");
        }
        for _ in 0..60 {
            let [one, two, _] = &mut all;
            let mut said = Vec::new();
            for _ in 0..any(7) {
                let sql = SETS[any(SETS.len())];
                one.run(sql);
                said.push(sql);
            }
            // No other connection can take over a transaction in which something has failed.
            let unknown = Settings::of(&one.session, &one.snapshot).err();
            if unknown.is_some_and(|unknown| unknown.is_unreadable()) {
                one.run("ROLLBACK");
                said.push("ROLLBACK");
            }
            let (settings, rounds) = one.settings();
            assert!(rounds <= 2, "{said:?}");
            let id = one.last_insert_id().unwrap();
            let steps: Vec<_> = two.becomes(&settings, id).iter().map(shown).collect();
            assert_alike(one, two, &format!("{said:?} {steps:?}"));
            assert_eq!(two.session.transaction(), one.session.transaction(), "{said:?}");
            all.rotate_left(1 + any(2));
        }
    }
}
