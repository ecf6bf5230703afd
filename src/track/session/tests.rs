//! Cases from what servers were measured to do; those that need a server are in the integration tests.

mod reported;

use std::rc::Rc;

use proptest::prelude::*;

use super::*;
use crate::wire::ChangeUser;

const MARIADB: &[u8] = b"11.8.9-MariaDB";
const MYSQL: &[u8] = b"9.7.4";

/// They go with the transaction, as the status tells.
const OF_TRANSACTIONS: Traces = Traces::XA.union(Traces::SAVEPOINTS);

/// A session, and what its server says.
struct Talk(Session);

impl Talk {
    fn with(version: &[u8], hidden: Hidden) -> Talk {
        let login = Login {
            version,
            user: b"app",
            schema: b"test",
            collation: 46,
            capabilities: Capabilities::CONNECT_WITH_DB,
        };
        let mut talk = Talk(Session::new(&login, hidden));
        talk.ok("");
        talk
    }

    fn mariadb() -> Talk {
        Talk::with(MARIADB, Hidden::Trusted)
    }

    fn mysql() -> Talk {
        Talk::with(MYSQL, Hidden::Trusted)
    }

    fn end(&mut self, status: Status, insert_id: u64, warnings: u16, blocks: &str, is_last: bool) {
        let changes = blocks.split_ascii_whitespace().map(|block| {
            let (kind, value) = block.split_once(':').unwrap();
            let (name, value) = match value.split_once('=') {
                Some((name, value)) => (Some(name.as_bytes().to_vec()), value),
                None => (None, value),
            };
            SessionChange {
                change_type: match kind {
                    "VAR" => change_type::SYSTEM_VARIABLES,
                    "SCHEMA" => change_type::SCHEMA,
                    "STATE" => change_type::STATE_CHANGE,
                    "TRX" => change_type::TRANSACTION_STATE,
                    "CHAR" => change_type::TRANSACTION_CHARACTERISTICS,
                    _ => panic!("{kind}"),
                },
                name,
                value: value.replace('_', " ").into_bytes(),
            }
        });
        let changes = session_changes::encode(&changes.collect::<Vec<_>>());
        let changes = (!changes.is_empty()).then_some(&changes[..]);
        let ending = Ending::Ok {
            status,
            insert_id,
            warnings,
            changes,
        };
        self.0.result(ending, is_last);
    }

    fn ok(&mut self, blocks: &str) -> &mut Talk {
        self.end(Status::AUTOCOMMIT, 0, 0, blocks, true);
        self
    }

    fn query(&mut self, sql: &str, blocks: &str) -> &mut Talk {
        self.0.command(Com::QUERY, sql.as_bytes());
        self.ok(blocks)
    }

    fn with_status(&mut self, sql: &str, status: Status, blocks: &str) -> &mut Talk {
        self.0.command(Com::QUERY, sql.as_bytes());
        self.end(status, 0, 0, blocks, true);
        self
    }

    fn inserted(&mut self, sql: &str, id: u64) -> Fact<u64> {
        self.0.command(Com::QUERY, sql.as_bytes());
        self.end(Status::AUTOCOMMIT, id, 0, "", true);
        self.0.last_insert_id()
    }

    fn warned(&mut self, sql: &str, warnings: u16) -> Fact<u16> {
        self.0.command(Com::QUERY, sql.as_bytes());
        self.end(Status::AUTOCOMMIT, 0, warnings, "", true);
        self.0.warnings()
    }

    fn fails(&mut self, sql: &str, errno: u16) -> &mut Talk {
        self.0.command(Com::QUERY, sql.as_bytes());
        self.0.result(Ending::Err(errno), true);
        self
    }

    fn schema(&self) -> Fact<Option<&str>> {
        match self.0.schema() {
            Fact::Known(schema) => {
                Fact::Known(schema.map(|name| std::str::from_utf8(name).unwrap()))
            }
            Fact::Unknown(why) => Fact::Unknown(why),
        }
    }

    fn var(&self, name: &str) -> Fact<Option<&str>> {
        match self.0.variable(name) {
            Fact::Known(value) => {
                Fact::Known(value.map(|value| std::str::from_utf8(value).unwrap()))
            }
            Fact::Unknown(why) => Fact::Unknown(why),
        }
    }

    fn next(&self) -> Fact<&str> {
        match self.0.characteristics() {
            Fact::Known(text) => Fact::Known(std::str::from_utf8(text).unwrap()),
            Fact::Unknown(why) => Fact::Unknown(why),
        }
    }
}

fn is<T>(value: T) -> Fact<Option<T>> {
    Fact::Known(Some(value))
}

const fn unknown<T>(why: Doubt) -> Fact<T> {
    Fact::Unknown(why)
}

#[test]
fn the_login() {
    let talk = Talk::mysql();
    assert_eq!(talk.0.user(), b"app");
    assert_eq!(talk.schema(), is("test"));
    assert_eq!(talk.var("character_set_client"), is("utf8mb4"));
    assert_eq!(talk.var("collation_connection"), is("utf8mb4_bin"));
    assert_eq!(talk.var("sql_mode"), unknown(Doubt::Login));
    assert_eq!(talk.0.transaction(), Fact::Known(Transaction::None));
    assert_eq!(talk.0.autocommit(), Fact::Known(true));
    assert_eq!(talk.var("autocommit"), is("ON"));
    assert_eq!(talk.0.last_insert_id(), Fact::Known(0));
    assert_eq!(talk.next(), Fact::Known(""));
    assert_eq!(talk.0.may_be_left().0, Traces::empty());
    // init_connect may have done anything but choose a schema.
    let talk = Talk::with(MYSQL, Hidden::Doubted);
    assert_eq!(talk.schema(), is("test"));
    assert_eq!(talk.var("character_set_client"), unknown(Doubt::Login));
    assert_eq!(talk.0.may_be_left().0, Traces::all() - OF_TRANSACTIONS);
    // 11.8 has other default collations, and tells.
    let login = Login {
        version: MARIADB,
        collation: 45,
        ..Login::default()
    };
    let mut talk = Talk(Session::new(&login, Hidden::Trusted));
    talk.ok("VAR:character_set_client=latin1 VAR:time_zone=SYSTEM");
    assert_eq!(talk.schema(), Fact::Known(None));
    assert_eq!(talk.var("collation_connection"), unknown(Doubt::Login));
    assert_eq!(talk.var("character_set_client"), is("latin1"));
    assert_eq!(talk.var("time_zone"), is("SYSTEM"));
    assert_eq!(
        Session::unknown(Hidden::Trusted).schema(),
        unknown(Doubt::Login)
    );
}

#[test]
fn the_schema() {
    let mut talk = Talk::mysql();
    assert_eq!(talk.query("USE other", "").schema(), is("other"));
    assert_eq!(
        talk.query("USE Shop", "").schema(),
        unknown(Doubt::Spelling)
    );
    assert_eq!(talk.query("USE Shop", "SCHEMA:shop").schema(), is("shop"));
    assert_eq!(talk.fails("USE nosuch", 1049).schema(), is("shop"));
    assert_eq!(
        talk.fails("USE nosuch", 2013).schema(),
        unknown(Doubt::Error)
    );
    talk.0.command(Com::INIT_DB, b"a");
    assert_eq!(talk.ok("").schema(), is("a"));
    assert_eq!(talk.query("DROP DATABASE b", "").schema(), is("a"));
    assert_eq!(
        talk.query("DROP DATABASE A", "").schema(),
        unknown(Doubt::Spelling)
    );
    talk.query("USE a", "");
    assert_eq!(
        talk.query("DROP DATABASE IF EXISTS a", "").schema(),
        Fact::Known(None)
    );
    // Fewer results than statements.
    assert_eq!(
        talk.query("USE a; SELECT 1", "").schema(),
        unknown(Doubt::Routine)
    );
}

#[test]
fn a_routine_may_drop_the_schema() {
    let dropped = Status::AUTOCOMMIT | Status::DB_DROPPED;
    let mut talk = Talk::mysql();
    assert_eq!(talk.query("CALL p()", "").schema(), is("test"));
    assert_eq!(
        talk.with_status("CALL p()", dropped, "").schema(),
        unknown(Doubt::Routine)
    );
    // MariaDB's may choose another, which is reported if anything is.
    let mut talk = Talk::mariadb();
    assert_eq!(talk.query("CALL p()", "").schema(), unknown(Doubt::Routine));
    talk.query("USE a", "SCHEMA:a");
    assert_eq!(talk.query("CALL p()", "").schema(), is("a"));
    assert_eq!(talk.query("CALL p()", "SCHEMA:b").schema(), is("b"));
    talk.query("SET session_track_schema = 0", "");
    assert_eq!(
        talk.query("EXECUTE s", "").schema(),
        unknown(Doubt::Routine)
    );
}

#[test]
fn variables_by_report_and_by_text() {
    let mut talk = Talk::mysql();
    talk.query("SET time_zone = '+2:00'", "VAR:time_zone=+02:00 STATE:1");
    assert_eq!(talk.var("time_zone"), is("+02:00"));
    talk.query("SET time_zone = '+03:00', sql_mode = 'ANSI'", "");
    assert_eq!(talk.var("time_zone"), is("+03:00"));
    assert_eq!(talk.var("sql_mode"), unknown(Doubt::Expression));
    talk.query("SET GLOBAL time_zone = '+04:00'", "");
    assert_eq!(talk.var("time_zone"), is("+03:00"));
    talk.query("SET GLOBAL x = 1, time_zone = '+04:00'", "");
    assert_eq!(talk.var("time_zone"), unknown(Doubt::Expression));
    talk.fails("SET unique_checks = 0", 1231);
    assert_eq!(talk.var("unique_checks"), unknown(Doubt::Error));
    talk.query("SET unique_checks = DEFAULT", "");
    assert_eq!(talk.var("unique_checks"), unknown(Doubt::Expression));
    talk.query("SET @@unique_checks = ON, @@global.unique_checks = 0", "");
    assert_eq!(talk.var("unique_checks"), is("ON"));
    talk.query(
        "SET character_set_results = NULL",
        "VAR:character_set_results=",
    );
    assert_eq!(talk.var("character_set_results"), Fact::Known(None));
    talk.query("SET timestamp = DEFAULT", "VAR:timestamp=1");
    assert_eq!(talk.var("timestamp"), unknown(Doubt::Volatile));
    assert_eq!(
        talk.query("SELECT f()", "").var("time_zone"),
        unknown(Doubt::Routine)
    );
}

#[test]
fn character_sets() {
    let mut talk = Talk::mariadb();
    talk.query(
        "SET NAMES utf8mb4 COLLATE utf8mb4_bin",
        "VAR:character_set_connection=utf8mb4",
    );
    assert_eq!(talk.var("collation_connection"), is("utf8mb4_bin"));
    talk.query(
        "SET NAMES latin1",
        "VAR:character_set_connection=latin1 VAR:character_set_client=latin1",
    );
    assert_eq!(talk.var("character_set_client"), is("latin1"));
    assert_eq!(talk.var("collation_connection"), unknown(Doubt::Coupled));
    // Under the other one's name.
    talk.query(
        "SET collation_connection = latin1_bin",
        "VAR:character_set_connection=latin1",
    );
    assert_eq!(talk.var("collation_connection"), is("latin1_bin"));
    assert_eq!(talk.var("character_set_connection"), is("latin1"));
    talk.query("SET NAMES utf8", "");
    assert_eq!(talk.var("character_set_client"), unknown(Doubt::Expression));
    talk.query(
        "SET CHARACTER SET latin1",
        "VAR:character_set_client=latin1",
    );
    assert_eq!(talk.var("character_set_client"), is("latin1"));
    assert_eq!(
        talk.var("character_set_connection"),
        unknown(Doubt::Expression)
    );
}

#[test]
fn reports_under_another_name() {
    let mut talk = Talk::mariadb();
    talk.query("SET foreign_key_checks = 0", "VAR:foreign_key_checks=OFF");
    talk.query("SET unique_checks = 1", "VAR:foreign_key_checks=OFF");
    assert_eq!(talk.var("foreign_key_checks"), is("OFF"));
    assert_eq!(talk.var("unique_checks"), is("ON"));
    // No text says which it was.
    talk.query("SELECT 1", "VAR:foreign_key_checks=OFF");
    assert_eq!(talk.var("foreign_key_checks"), is("OFF"));
    assert_eq!(talk.var("unique_checks"), unknown(Doubt::Coupled));
    // What holds for one statement.
    talk.query(
        "SET STATEMENT time_zone = '+01:00' FOR SELECT 1",
        "VAR:time_zone=+01:00",
    );
    assert_eq!(talk.var("time_zone"), unknown(Doubt::Routine));
    // MySQL mixes up nothing.
    let mut talk = Talk::mysql();
    talk.query("SET unique_checks = 1", "");
    talk.query("SELECT f()", "VAR:foreign_key_checks=OFF");
    assert_eq!(talk.var("foreign_key_checks"), is("OFF"));
    assert_eq!(talk.var("unique_checks"), unknown(Doubt::Routine));
}

#[test]
fn transactions() {
    let open = Status::AUTOCOMMIT | Status::IN_TRANS;
    let explicit = Transaction::Open {
        begun: Begun::Explicitly,
        read_only: false,
    };
    let mut talk = Talk::mysql();
    assert_eq!(
        talk.with_status("BEGIN", open, "").0.transaction(),
        Fact::Known(explicit)
    );
    // Though its report says otherwise.
    talk.with_status(
        "CREATE TEMPORARY TABLE t (a INT)",
        open,
        "TRX:________ CHAR:",
    );
    assert_eq!(talk.0.transaction(), Fact::Known(explicit));
    assert_eq!(talk.next(), unknown(Doubt::Volatile));
    assert_eq!(
        talk.fails("SELECT nosuch", 1054).0.transaction(),
        unknown(Doubt::Error)
    );
    talk.with_status("DO 1", open, "");
    let unclear = Transaction::Open {
        begun: Begun::Unclear,
        read_only: false,
    };
    assert_eq!(talk.0.transaction(), Fact::Known(unclear));
    assert_eq!(
        talk.query("COMMIT", "").0.transaction(),
        Fact::Known(Transaction::None)
    );
    assert_eq!(talk.next(), Fact::Known(""));
    // What fails outside of transactions begins none, unless it could have.
    for (sql, errno) in [
        ("SELECT nosuch", 1054),
        ("INSERT INTO t VALUES (1)", 1062),
        ("x", 1064),
    ] {
        talk.fails(sql, errno);
        assert_eq!(
            talk.0.transaction(),
            Fact::Known(Transaction::None),
            "{sql}"
        );
        assert_eq!(talk.0.autocommit(), Fact::Known(true));
    }
    for sql in ["BEGIN", "SET autocommit = 0, nosuch = 1", "CALL p()"] {
        talk.query("DO 1", "").fails(sql, 1054);
        assert_eq!(talk.0.transaction(), unknown(Doubt::Error), "{sql}");
    }

    let read_only = Status::IN_TRANS | Status::IN_TRANS_READONLY;
    talk.with_status("SET autocommit = 0", Status::empty(), "");
    assert_eq!(talk.0.autocommit(), Fact::Known(false));
    assert_eq!(talk.var("autocommit"), is("OFF"));
    talk.with_status("SELECT * FROM t", read_only, "");
    let implicit = Transaction::Open {
        begun: Begun::Implicitly,
        read_only: true,
    };
    assert_eq!(talk.0.transaction(), Fact::Known(implicit));
    talk.with_status("CALL p()", read_only, "TRX:T");
    let explicit = Transaction::Open {
        begun: Begun::Explicitly,
        read_only: true,
    };
    assert_eq!(talk.0.transaction(), Fact::Known(explicit));
}

#[test]
fn characteristics_of_the_next_transaction() {
    const TEXT: &str = "SET TRANSACTION ISOLATION LEVEL READ COMMITTED; SET TRANSACTION READ ONLY;";
    let mut talk = Talk::mysql();
    talk.query("SET TRANSACTION ISOLATION LEVEL READ COMMITTED", "");
    talk.query("SET TRANSACTION READ ONLY", "");
    assert_eq!(talk.next(), Fact::Known(TEXT));
    for stays in ["SELECT 1", "USE a", "SET @a = 1", "SHOW WARNINGS"] {
        assert_eq!(talk.query(stays, "").next(), Fact::Known(TEXT), "{stays}");
    }
    assert_eq!(
        talk.query("SELECT * FROM t", "").next(),
        unknown(Doubt::Expression)
    );
    assert_eq!(
        talk.query("SELECT * FROM t", "CHAR:").next(),
        Fact::Known("")
    );
    assert_eq!(talk.query("SELECT * FROM t", "").next(), Fact::Known(""));
    let one = "CHAR:SET_TRANSACTION_READ_ONLY;";
    assert_eq!(
        talk.query("SET @@transaction_read_only = 1", "").next(),
        unknown(Doubt::Expression)
    );
    assert_eq!(
        talk.query("DO 1", one).next(),
        Fact::Known("SET TRANSACTION READ ONLY;")
    );
    let open = Status::AUTOCOMMIT | Status::IN_TRANS;
    assert_eq!(
        talk.with_status("BEGIN", open, "").next(),
        unknown(Doubt::Expression)
    );
    talk.query("SET SESSION TRANSACTION ISOLATION LEVEL READ COMMITTED", "");
    assert_eq!(talk.var("tx_isolation"), is("READ-COMMITTED"));
    assert_eq!(talk.var("transaction_isolation"), is("READ-COMMITTED"));
}

#[test]
fn last_insert_ids() {
    let mut talk = Talk::mysql();
    assert_eq!(
        talk.inserted("INSERT INTO t VALUES (NULL, 'a'), (5, 'b')", 7),
        Fact::Known(7)
    );
    // It was given: another one may have been generated before it.
    assert_eq!(
        talk.inserted("INSERT INTO t VALUES (9, 'a')", 9),
        unknown(Doubt::Expression)
    );
    assert_eq!(
        talk.inserted("INSERT INTO t (a) VALUES ('a')", 10),
        Fact::Known(10)
    );
    assert_eq!(
        talk.inserted("INSERT IGNORE INTO t SELECT 1", 0),
        Fact::Known(10)
    );
    assert_eq!(talk.inserted("UPDATE t SET a = 1", 0), Fact::Known(10));
    assert_eq!(talk.inserted("SET last_insert_id = 12", 0), Fact::Known(12));
    assert_eq!(
        talk.fails("UPDATE t SET a = 1", 1205).0.last_insert_id(),
        Fact::Known(12)
    );
    assert_eq!(
        talk.fails("INSERT INTO t VALUES (1), (1)", 1062)
            .0
            .last_insert_id(),
        unknown(Doubt::Error)
    );
    for lost in [
        "UPDATE t SET a = LAST_INSERT_ID(5)",
        "INSERT INTO t VALUES (1) RETURNING a",
        "INSERT INTO t VALUES (?)",
        "INSERT INTO t VALUES ('x') ON DUPLICATE KEY UPDATE a = 1",
        "CALL p()",
        "SELECT f()",
    ] {
        talk.query("SET last_insert_id = 12", "");
        assert!(talk.inserted(lost, 3).known().is_none(), "{lost}");
    }
    let mut talk = Talk::with(MYSQL, Hidden::Doubted);
    assert_eq!(
        talk.inserted("INSERT INTO t (a) VALUES ('a')", 10),
        unknown(Doubt::Hidden)
    );
}

#[test]
fn warnings() {
    let mut talk = Talk::mysql();
    assert_eq!(talk.warned("SELECT 1", 2), Fact::Known(2));
    assert_eq!(talk.warned("SHOW WARNINGS", 0), Fact::Known(2));
    talk.0.command(Com::PING, b"");
    assert_eq!(talk.ok("").0.warnings(), Fact::Known(2));
    assert_eq!(talk.warned("DO 1", 0), Fact::Known(0));
    assert_eq!(talk.fails("DO 1", 1054).0.warnings(), unknown(Doubt::Error));
    // MariaDB keeps them in places.
    let mut talk = Talk::mariadb();
    assert_eq!(talk.warned("SELECT 1", 0), Fact::Known(0));
    assert_eq!(talk.warned("SELECT 1", 2), Fact::Known(2));
    assert_eq!(talk.warned("DO 1", 0), unknown(Doubt::Volatile));
    assert_eq!(talk.warned("INSERT INTO t VALUES (1)", 0), Fact::Known(0));
    assert_eq!(talk.warned("CALL p()", 0), unknown(Doubt::Routine));
}

#[test]
fn what_is_left() {
    let mut talk = Talk::mysql();
    talk.query("CREATE TEMPORARY TABLE t SELECT 1", "");
    assert_eq!(talk.0.left(), Traces::TEMPORARY_TABLES);
    talk.query("SELECT 1 INTO @a", "");
    assert_eq!(
        talk.0.may_be_left(),
        (Traces::USER_VARIABLES, Doubt::Expression)
    );
    talk.query("SET @a = 1", "STATE:1");
    assert_eq!(
        talk.0.left(),
        Traces::TEMPORARY_TABLES | Traces::USER_VARIABLES
    );
    talk.query("DROP TABLE t, u WAIT 5", "");
    assert_eq!(talk.0.left(), Traces::USER_VARIABLES);
    assert!(talk.0.may_be_left().0.contains(Traces::TEMPORARY_TABLES));
    talk.query("LOCK TABLES t READ", "")
        .query("UNLOCK TABLES", "");
    assert_eq!(talk.0.left(), Traces::USER_VARIABLES);
    talk.query("SELECT f()", "");
    assert_eq!(
        talk.0.may_be_left().0,
        Traces::all() - Traces::USER_VARIABLES - OF_TRANSACTIONS
    );
    // A reset leaves some.
    talk.0.command(Com::RESET_CONNECTION, b"");
    talk.ok("");
    assert_eq!(talk.0.left(), Traces::empty());
    assert_eq!(talk.0.may_be_left().0, Left::KEPT);
    // A state that has changed for no reason that is seen.
    let mut talk = Talk::mysql();
    talk.query("SELECT * FROM t", "STATE:1");
    assert!(talk.0.may_be_left().0.contains(Traces::USER_VARIABLES));
}

#[test]
fn what_tables_may_hide() {
    let mut talk = Talk::with(MYSQL, Hidden::Doubted);
    talk.0.command(Com::RESET_CONNECTION, b"");
    talk.ok("").query("SET time_zone = '+01:00'", "");
    assert_eq!(talk.query("SELECT 1", "").var("time_zone"), is("+01:00"));
    assert_eq!(
        talk.query("SELECT * FROM t", "").var("time_zone"),
        unknown(Doubt::Hidden)
    );
    assert_eq!(talk.schema(), is("test"));
    assert_eq!(talk.0.transaction(), Fact::Known(Transaction::None));
}

#[test]
fn another_user_and_a_reset() {
    let mut talk = Talk::mysql();
    talk.query("SET time_zone = '+01:00', last_insert_id = 5", "");
    talk.0.command(Com::RESET_CONNECTION, b"");
    talk.ok("");
    assert_eq!(talk.schema(), is("test"));
    assert_eq!(talk.var("time_zone"), unknown(Doubt::Reset));
    assert_eq!(talk.0.last_insert_id(), Fact::Known(0));
    assert_eq!(talk.0.likeness(), Err(Doubt::Reset));
    let to = ChangeUser {
        user: b"other".to_vec(),
        database: b"shop".to_vec(),
        character_set: Some(8),
        ..ChangeUser::default()
    };
    let command = to.command(Capabilities::empty());
    talk.0.command(command.com, &command.argument);
    talk.ok("").query("SET ROLE r", "");
    assert_eq!(talk.0.user(), b"other");
    assert_eq!(talk.schema(), is("shop"));
    assert_eq!(talk.var("character_set_client"), is("latin1"));
    talk.0.command(command.com, &command.argument);
    talk.0.result(Ending::Err(1045), true);
    assert_eq!(talk.schema(), unknown(Doubt::Error));
}

#[test]
fn several_statements_and_results() {
    let more = Status::AUTOCOMMIT | Status::MORE_RESULTS_EXISTS;
    let mut talk = Talk::mysql();
    talk.0.command(Com::QUERY, b"USE a; USE b; USE c");
    talk.end(more, 0, 0, "", false);
    assert_eq!(talk.schema(), is("a"));
    talk.end(more, 0, 0, "", false);
    assert_eq!(talk.schema(), is("b"));
    talk.0.result(Ending::Err(1049), true);
    assert_eq!(talk.schema(), is("b"));
    assert!(talk.0.is_idle());
    // More results than statements: the server read the text in another way.
    talk.0.command(Com::QUERY, b"SELECT 1");
    talk.end(more, 0, 0, "", false);
    talk.end(Status::AUTOCOMMIT, 0, 0, "", true);
    assert_eq!(talk.0.last_insert_id(), unknown(Doubt::Routine));
}

#[test]
fn pipelined_and_prepared() {
    let mut talk = Talk::mysql();
    talk.0
        .command(Com::STMT_PREPARE, b"SET time_zone = '+01:00'");
    talk.0.command(Com::STMT_EXECUTE, &LAST);
    talk.0.command(Com::QUERY, b"SET time_zone = '+02:00'");
    talk.0.prepared(7);
    talk.0.result(Ending::Other, true);
    assert_eq!(talk.var("time_zone"), unknown(Doubt::Login));
    assert_eq!(talk.ok("").var("time_zone"), is("+01:00"));
    assert_eq!(talk.ok("").var("time_zone"), is("+02:00"));
    talk.0.command(Com::STMT_EXECUTE, &[7, 0, 0, 0]);
    talk.0.command(Com::STMT_CLOSE, &[7, 0, 0, 0]);
    assert_eq!(talk.ok("").var("time_zone"), is("+01:00"));
    talk.0.command(Com::STMT_EXECUTE, &[7, 0, 0, 0]);
    assert_eq!(talk.ok("").var("time_zone"), unknown(Doubt::Routine));
    // A value that comes with each execution.
    talk.0.command(Com::STMT_PREPARE, b"SET time_zone = ?");
    talk.0.prepared(8);
    talk.0.result(Ending::Other, true);
    talk.0.command(Com::STMT_EXECUTE, &[8, 0, 0, 0]);
    assert_eq!(talk.ok("").var("time_zone"), unknown(Doubt::Expression));
    talk.0.unseen_command();
    assert_eq!(talk.ok("").schema(), unknown(Doubt::Routine));
}

#[test]
fn all_results_of_a_procedure_are_its_own() {
    let more = Status::AUTOCOMMIT | Status::MORE_RESULTS_EXISTS;
    let mut talk = Talk(Session::new(&Login::default(), Hidden::Reported));
    talk.ok("");
    talk.0.begin_reports(Rc::default());
    for sql in ["CALL p()", "SELECT 1; CALL p(); SELECT 2"] {
        talk.0.command(Com::QUERY, sql.as_bytes());
        talk.0.hides(Traces::empty(), None);
        talk.end(more, 0, 0, "", false);
        talk.end(more, 0, 0, "", false);
        talk.end(more, 0, 0, "", false);
        talk.end(Status::AUTOCOMMIT, 0, 0, "", true);
        assert_eq!(talk.0.opaque(), None, "{sql}");
    }
}

const LAST: [u8; 4] = [0xFF; 4];

#[test]
fn the_mode_is_that_of_the_session() {
    let mut talk = Talk::mysql();
    // One text or another, before it is known whether a backslash escapes.
    talk.query("SET sql_mode = 'x'", "VAR:sql_mode=STRICT,ANSI_QUOTES");
    talk.query("SELECT \"it's; USE a; -- \"", "");
    assert_eq!(talk.schema(), is("test"));
    talk.with_status(
        "DO 1",
        Status::AUTOCOMMIT | Status::NO_BACKSLASH_ESCAPES,
        "",
    );
    talk.query("SELECT '\\'", "");
    assert_eq!(talk.schema(), is("test"));
}

#[test]
fn likeness() {
    let mut one = Talk::mysql();
    let mut two = Talk::mysql();
    assert_eq!(one.0.likeness(), two.0.likeness());
    one.query("SET time_zone = 'Europe/Berlin'", "")
        .query("SELECT 1", "");
    assert_ne!(one.0.likeness(), two.0.likeness());
    two.query("SET time_zone = 'Europe/Berlin'", "");
    assert_eq!(one.0.likeness(), two.0.likeness());
    assert!(one.0.likeness().is_ok());
    two.query("USE other", "");
    assert_ne!(one.0.likeness(), two.0.likeness());
    two.query("SET time_zone = @z", "");
    assert_eq!(two.0.likeness(), Err(Doubt::Expression));
    one.query("SET @a = 1", "");
    assert_eq!(one.0.likeness(), Err(Doubt::Volatile));
    let mut other = Talk::mysql();
    other.query("SET timestamp = 1", "");
    assert_eq!(other.0.likeness(), Err(Doubt::Volatile));
    one.0.command(Com::QUERY, b"SELECT 1");
    assert_eq!(one.0.likeness(), Err(Doubt::Volatile));
}

/// Any command, and any end of its answer.
fn step() -> impl Strategy<Value = (u8, Vec<u8>, Option<Vec<u8>>, u16, bool)> {
    const TEXTS: &[&str] = &[
        "SET ",
        "NAMES ",
        "utf8mb4 ",
        "COLLATE ",
        "time_zone",
        "= ",
        "'+01:00'",
        ", ",
        "@a",
        "USE ",
        "a",
        "; ",
        "SELECT ",
        "INSERT INTO t VALUES (",
        "1)",
        "TRANSACTION ",
        "READ ONLY",
        "BEGIN",
        "GLOBAL ",
        "\"",
        "'",
        "DROP DATABASE ",
        "CREATE TEMPORARY TABLE t (a INT)",
        "@@",
        "SESSION ",
        "sql_mode",
        "\\",
        "/*!",
        "*/",
    ];
    let text = prop::collection::vec(prop::sample::select(TEXTS), 0..12)
        .prop_map(|all| all.concat().into_bytes());
    let any_bytes = prop::collection::vec(any::<u8>(), 0..40);
    let argument = prop_oneof![3 => text, 1 => any_bytes.clone()];
    (
        any::<u8>(),
        argument,
        prop::option::of(any_bytes),
        any::<u16>(),
        any::<bool>(),
    )
}

proptest! {
    #[test]
    fn nothing_panics_and_nothing_grows_beyond_its_bounds(
        steps in prop::collection::vec(step(), 0..200),
        hidden in prop::sample::select(&[Hidden::Doubted, Hidden::Trusted, Hidden::Reported]),
    ) {
        let mut session = Session::unknown(hidden);
        session.begin_reports(Rc::default());
        for (what, argument, changes, status, last) in steps {
            match what % 8 {
                0..=2 => session.command(Com::QUERY, &argument),
                3 => session.command(Com(what / 8), &argument),
                4 => session.command(Com::STMT_PREPARE, &argument),
                5 => session.prepared(u32::from(status % 8)),
                6 => session.result(Ending::Err(status), last),
                _ => {
                    let status = Status::from_bits_retain(status);
                    let changes = changes.as_deref();
                    let ending = Ending::Ok { status, insert_id: 1, warnings: 0, changes };
                    session.result(ending, last);
                }
            }
            prop_assert!(session.commands.bytes() <= 80 << 10);
        }
        let _ = session.likeness();
    }
}

#[test]
fn texts_without_end_are_not_kept() {
    let mut talk = Talk::mysql();
    for id in 0..10_000_u32 {
        let sql = format!("SET {}", vec!["time_zone = '+01:00'"; 60].join(", "));
        talk.0.command(Com::STMT_PREPARE, sql.as_bytes());
        talk.0.prepared(id);
        talk.0.result(Ending::Other, true);
        talk.0.command(Com::QUERY, sql.as_bytes());
    }
    assert!(
        talk.0.commands.bytes() <= 80 << 10,
        "{}",
        talk.0.commands.bytes()
    );
}
