use super::*;
use crate::track::{Ending, Hidden, Login};
use crate::wire::session_changes::{self, change_type};
use crate::wire::{Com, SessionChange, Status};

const IN_TRANSACTION: Status = Status::AUTOCOMMIT.union(Status::IN_TRANS);

/// A session in which nothing has happened yet.
fn session() -> Session {
    let login = Login {
        version: b"9.7.4",
        user: b"app",
        collation: 45,
        ..Login::default()
    };
    let mut session = Session::new(&login, Hidden::Trusted);
    end(&mut session, Status::AUTOCOMMIT, "");
    session
}

fn end(session: &mut Session, status: Status, characteristics: &str) {
    let change = SessionChange {
        change_type: change_type::TRANSACTION_CHARACTERISTICS,
        name: None,
        value: characteristics.as_bytes().to_vec(),
    };
    let changes = session_changes::encode(&[change]);
    let ending = Ending::Ok {
        status,
        insert_id: 0,
        warnings: 0,
        changes: Some(&changes),
    };
    session.result(ending, true);
}

fn run(session: &mut Session, sql: &str) {
    session.command(Com::QUERY, sql.as_bytes());
    end(session, Status::AUTOCOMMIT, "");
}

fn fail(session: &mut Session, sql: &str, errno: u16) {
    session.command(Com::QUERY, sql.as_bytes());
    session.result(Ending::Err(errno), true);
}

/// A session in which these statements have succeeded.
fn after(statements: &[&str]) -> Session {
    let mut session = session();
    for sql in statements {
        run(&mut session, sql);
    }
    session
}

fn with(session: &Session, policy: Policy) -> Decision {
    decide(session, Ongoing::empty(), policy)
}

fn decided(statements: &[&str]) -> Decision {
    with(&after(statements), Policy::default())
}

fn returned(statements: &[&str]) -> Return {
    Return::of(&after(statements), Ongoing::empty(), Policy::default())
}

#[test]
fn what_leaves_nothing_is_shared() {
    for sql in [
        "SELECT * FROM t WHERE a = 'x'",
        "INSERT INTO t VALUES (1)",
        "UPDATE t SET a = 1",
        "SET NAMES utf8mb4 COLLATE utf8mb4_bin",
        "SET time_zone = '+00:00', sql_mode = 'ANSI'",
        "SET profiling = 0",
        "SET gtid_next = AUTOMATIC",
        "USE shop",
        "CREATE TABLE t (a INT)",
        "COMMIT",
        "SELECT 1 INTO OUTFILE '/tmp/x'",
        "LOAD DATA LOCAL INFILE 'x' INTO TABLE t",
        "FLUSH STATUS",
        "SELECT RELEASE_LOCK(?), RELEASE_ALL_LOCKS()",
        "HANDLER t CLOSE",
        "PURGE BINARY LOGS TO 'x'",
        "CREATE SEQUENCE s",
        "ALTER SEQUENCE s RESTART",
        "XA RECOVER",
        "SELECT LASTVAL(s)",
    ] {
        assert_eq!(decided(&[sql]), Decision::Share, "{sql}");
        assert_eq!(returned(&[sql]), Return::AsItIs, "{sql}");
    }
}

#[test]
fn what_holds_and_what_becomes_of_the_connection() {
    use Return::{Close, Reset};
    for (sql, reason, becomes) in [
        ("LOCK TABLES t READ", Reason::TableLocks, Reset),
        ("FLUSH TABLES t WITH READ LOCK", Reason::TableLocks, Reset),
        ("FLUSH TABLES t, u FOR EXPORT", Reason::TableLocks, Reset),
        ("FLUSH TABLES WITH READ LOCK", Reason::GlobalReadLock, Reset),
        (
            "FLUSH LOCAL TABLES WITH READ LOCK",
            Reason::GlobalReadLock,
            Reset,
        ),
        ("BACKUP STAGE START", Reason::BackupLock, Reset),
        ("BACKUP LOCK t", Reason::BackupLock, Reset),
        ("LOCK INSTANCE FOR BACKUP", Reason::BackupLock, Reset),
        ("SELECT GET_LOCK('a', 1)", Reason::NamedLock, Reset),
        (
            "CREATE TEMPORARY TABLE t (a INT)",
            Reason::TemporaryTable,
            Reset,
        ),
        (
            "CREATE OR REPLACE TEMPORARY SEQUENCE s",
            Reason::TemporaryTable,
            Reset,
        ),
        ("SET @a = 1", Reason::UserVariable, Reset),
        ("SELECT 1 INTO @a", Reason::UserVariable, Reset),
        ("SELECT @a := 1", Reason::UserVariable, Reset),
        ("GET DIAGNOSTICS @n = NUMBER", Reason::UserVariable, Reset),
        ("PREPARE s FROM 'SELECT 1'", Reason::PreparedInSql, Reset),
        ("HANDLER t OPEN", Reason::Handler, Reset),
        ("SELECT NEXTVAL(s)", Reason::Sequence, Reset),
        ("SET ROLE r", Reason::Role, Close),
        ("SET profiling = 1", Reason::Profiling, Close),
        (
            "SET optimizer_trace = 'enabled=on'",
            Reason::OptimizerTrace,
            Close,
        ),
        ("SET RESOURCE GROUP g", Reason::ResourceGroup, Close),
        ("SET gtid_next = 'a:1'", Reason::GtidNext, Close),
        (
            "SET @@session.insert_id = 5",
            Reason::OneShotVariable,
            Reset,
        ),
        ("SET rand_seed1 = 5", Reason::OneShotVariable, Reset),
        ("SET timestamp = 5", Reason::OneShotVariable, Reset),
        ("EXECUTE s", Reason::NotUnderstood, Close),
        ("CALL p()", Reason::Routine, Close),
        ("SELECT f()", Reason::Routine, Close),
    ] {
        assert_eq!(decided(&[sql]), Decision::Hold(reason), "{sql}");
        assert_eq!(returned(&[sql]), becomes, "{sql}");
        // An error tells nothing of what was done before it.
        let mut failed = session();
        fail(&mut failed, sql, 1234);
        let decision = with(&failed, Policy::default());
        assert!(matches!(decision, Decision::Hold(_)), "{sql}: {decision:?}");
    }
}

#[test]
fn what_is_gone_is_shared_again() {
    for statements in [
        ["LOCK TABLES t READ", "UNLOCK TABLES"],
        ["LOCK TABLES t READ", "BEGIN"],
        ["FLUSH TABLES WITH READ LOCK", "UNLOCK TABLES"],
        ["LOCK INSTANCE FOR BACKUP", "UNLOCK INSTANCE"],
        ["SET timestamp = 5", "SET timestamp = DEFAULT"],
        ["SET gtid_next = 'a:1'", "SET gtid_next = 'AUTOMATIC'"],
        ["XA START 'x'", "XA COMMIT 'x' ONE PHASE"],
        ["SAVEPOINT a", "COMMIT"],
        ["CREATE TEMPORARY TABLE a.t SELECT 1", "DROP TABLE a.t"],
        ["SELECT GET_LOCK('a', 1)", "SELECT RELEASE_LOCK('a')"],
        ["SELECT GET_LOCK(?, 1)", "DO RELEASE_ALL_LOCKS()"],
        ["PREPARE s FROM 'SELECT 1'", "DEALLOCATE PREPARE s"],
        ["HANDLER t OPEN", "HANDLER t CLOSE"],
        ["BACKUP STAGE START", "BACKUP STAGE END"],
        ["XA START 'x'", "XA PREPARE 'x'"],
    ] {
        assert_eq!(decided(&statements), Decision::Share, "{statements:?}");
    }
    for statements in [
        // It does not end a lock of everything.
        ["FLUSH TABLES WITH READ LOCK", "BEGIN"],
        ["LOCK INSTANCE FOR BACKUP", "UNLOCK TABLES"],
        ["SET profiling = 1", "SET profiling = 0"],
        [
            "SET timestamp = 5, insert_id = 1",
            "SET timestamp = DEFAULT",
        ],
        [
            "SET timestamp = DEFAULT",
            "SET timestamp = DEFAULT, timestamp = 5",
        ],
    ] {
        let decision = decided(&statements);
        assert!(matches!(decision, Decision::Hold(_)), "{statements:?}");
    }
    assert_eq!(
        decided(&["SET timestamp = 5, timestamp = DEFAULT"]),
        Decision::Share
    );
}

#[test]
fn transactions_hold_until_they_end() {
    for (sql, characteristics, reason) in [
        ("BEGIN", "START TRANSACTION;", Reason::Transaction),
        ("SELECT * FROM t", "", Reason::Transaction),
        (
            "START TRANSACTION WITH CONSISTENT SNAPSHOT",
            "START TRANSACTION WITH CONSISTENT SNAPSHOT;",
            Reason::ConsistentSnapshot,
        ),
        ("XA START 'x'", "XA START 'x';", Reason::Xa),
        ("XA BEGIN 'x'", "", Reason::Xa),
    ] {
        let mut session = session();
        session.command(Com::QUERY, sql.as_bytes());
        end(&mut session, IN_TRANSACTION, characteristics);
        let decision = with(&session, Policy::all());
        assert_eq!(decision, Decision::Hold(reason), "{sql}");
        let policy = Policy::default();
        assert_eq!(
            Return::of(&session, Ongoing::empty(), policy),
            Return::Reset
        );
    }
}

#[test]
fn a_transaction_that_was_not_used_is_begun_elsewhere() {
    let begun = |text: &str, state: &str| {
        let mut session = session();
        session.command(Com::QUERY, b"BEGIN");
        let change = |change_type, value: &str| SessionChange {
            change_type,
            name: None,
            value: value.as_bytes().to_vec(),
        };
        let changes = session_changes::encode(&[
            change(change_type::TRANSACTION_CHARACTERISTICS, text),
            change(change_type::TRANSACTION_STATE, state),
        ]);
        let ending = Ending::Ok {
            status: IN_TRANSACTION,
            insert_id: 0,
            warnings: 0,
            changes: Some(&changes),
        };
        session.result(ending, true);
        session
    };
    let fresh = begun("START TRANSACTION READ ONLY;", "T_______");
    assert_eq!(with(&fresh, Policy::default()), Decision::Share);
    let used = begun("START TRANSACTION;", "T__R____");
    let held = Decision::Hold(Reason::Transaction);
    assert_eq!(with(&used, Policy::default()), held);
    let snapshot = begun("START TRANSACTION WITH CONSISTENT SNAPSHOT;", "T_______");
    let decision = with(&snapshot, Policy::default());
    assert_eq!(decision, Decision::Hold(Reason::ConsistentSnapshot));
    let mut saved = begun("START TRANSACTION;", "T_______");
    saved.command(Com::QUERY, b"SAVEPOINT a");
    let ending = Ending::Ok {
        status: IN_TRANSACTION,
        insert_id: 0,
        warnings: 0,
        changes: None,
    };
    saved.result(ending, true);
    assert_eq!(
        with(&saved, Policy::default()),
        held,
        "another has no savepoint"
    );
}

#[test]
fn what_was_given_up_is_refused() {
    let given_up = Policy::default() - Policy::LASTVAL;
    for sql in [
        "SELECT LASTVAL(s)",
        "SELECT lastval (s)",
        "SELECT PREVIOUS VALUE FOR s",
    ] {
        let refused = |policy| refuses(sql.as_bytes(), Mode::default(), policy);
        assert_eq!(refused(given_up), Some(Reason::Sequence), "{sql}");
        assert_eq!(refused(Policy::default()), None, "{sql}");
    }
    for sql in [
        "SELECT NEXTVAL(s)",
        "SELECT 'LASTVAL(s)', lastval FROM t",
        "",
    ] {
        assert_eq!(
            refuses(sql.as_bytes(), Mode::default(), given_up),
            None,
            "{sql}"
        );
    }
}

#[test]
fn what_a_statement_hides_is_known_when_it_is_executed() {
    let mut session = session();
    session.command(Com::STMT_PREPARE, b"SELECT * FROM v");
    session.hides(Traces::NAMED_LOCKS, None);
    session.prepared(7);
    session.result(Ending::Other, true);
    assert_eq!(with(&session, Policy::default()), Decision::Share);
    session.command(Com::STMT_EXECUTE, &[7, 0, 0, 0, 0, 1, 0, 0, 0]);
    end(&mut session, Status::AUTOCOMMIT, "");
    let decision = with(&session, Policy::default());
    assert_eq!(decision, Decision::Hold(Reason::NamedLock));
}

#[test]
fn after_an_error_the_server_is_asked() {
    let mut session = session();
    session.command(Com::QUERY, b"BEGIN");
    end(&mut session, IN_TRANSACTION, "");
    fail(&mut session, "UPDATE t SET a = 1", 1213);
    assert_eq!(with(&session, Policy::default()), Decision::Ask);
    run(&mut session, "DO 0");
    assert_eq!(with(&session, Policy::default()), Decision::Share);
    // Where each statement commits itself, an error begins no transaction.
    fail(&mut session, "SELECT no_such_column FROM t", 1054);
    assert_eq!(with(&session, Policy::default()), Decision::Share);
}

#[test]
fn policies() {
    let variables = after(&["SET @a = 1"]);
    assert_eq!(
        with(&variables, Policy::all()),
        Decision::Share,
        "they are carried"
    );
    assert_eq!(
        Return::of(&variables, Ongoing::empty(), Policy::all()),
        Return::Reset,
        "the next client does not see them"
    );
    let sequences = after(&["SELECT NEXTVAL(s)"]);
    let nobody_asks = Policy::default() - Policy::LASTVAL;
    assert_eq!(with(&sequences, nobody_asks), Decision::Share);
    let becomes = Return::of(&sequences, Ongoing::empty(), nobody_asks);
    assert_eq!(becomes, Return::AsItIs);
    let opaque = after(&["CALL p()"]);
    let gives_up = Policy::default() - Policy::HOLD_OPAQUE;
    assert_eq!(with(&opaque, gives_up), Decision::Share);
    let becomes = Return::of(&opaque, Ongoing::empty(), gives_up);
    assert_eq!(becomes, Return::Reset);
    // What is known to be there holds all the same.
    for both in [["SET ROLE r", "CALL p()"], ["CALL p()", "SET ROLE r"]] {
        let both = after(&both);
        assert_eq!(with(&both, gives_up), Decision::Hold(Reason::Role));
        let becomes = Return::of(&both, Ongoing::empty(), gives_up);
        assert_eq!(becomes, Return::Close);
    }
    // What is opaque stays so, whatever else is known to be gone.
    let unlocked = after(&["CALL p()", "UNLOCK TABLES", "SELECT RELEASE_ALL_LOCKS()"]);
    assert_eq!(with(&unlocked, gives_up), Decision::Share);
    let decision = with(&unlocked, Policy::default());
    assert_eq!(decision, Decision::Hold(Reason::Routine));
}

#[test]
fn what_is_known_of_routines_decides() {
    let mut session = session();
    let mut call = |sql: &str, traces, opaque| {
        session.command(Com::QUERY, sql.as_bytes());
        session.hides(traces, opaque);
        end(&mut session, Status::AUTOCOMMIT, "");
        let becomes = Return::of(&session, Ongoing::empty(), Policy::default());
        (with(&session, Policy::default()), becomes)
    };
    let nothing = call("CALL p()", Traces::empty(), None);
    assert_eq!(nothing, (Decision::Share, Return::AsItIs));
    let locks = call("SELECT * FROM v", Traces::NAMED_LOCKS, None);
    assert_eq!(locks, (Decision::Hold(Reason::NamedLock), Return::Reset));
    let released = call("DO RELEASE_ALL_LOCKS()", Traces::empty(), None);
    assert_eq!(released, (Decision::Share, Return::AsItIs));
    let loadable = call("SELECT f()", Traces::empty(), Some(Doubt::Loadable));
    assert_eq!(
        loadable,
        (Decision::Hold(Reason::LoadableFunction), Return::Reset)
    );
    let views = call("SELECT * FROM v", Traces::empty(), Some(Doubt::Hidden));
    assert_eq!(
        views.0,
        Decision::Hold(Reason::LoadableFunction),
        "the first one"
    );
}

#[test]
fn a_function_that_does_not_exist_leaves_nothing() {
    let mut session = session();
    session.command(Com::QUERY, b"SELECT no_such_function()");
    session.hides(Traces::empty(), Some(Doubt::Loadable));
    session.result(Ending::Err(1305), true);
    let decision = with(&session, Policy::default());
    // Whether the transaction is what it was is not known before the next answer.
    assert_eq!(decision, Decision::Ask);
}

#[test]
fn what_goes_on_holds() {
    let idle = session();
    let held = |ongoing| decide(&idle, ongoing, Policy::default());
    for (ongoing, reason, becomes) in [
        (Ongoing::CURSOR, Reason::Cursor, Return::Reset),
        (Ongoing::LONG_DATA, Reason::LongData, Return::Reset),
        (Ongoing::ANSWER, Reason::SeveralResults, Return::Close),
        (Ongoing::LOCAL_INFILE, Reason::LocalInfile, Return::Close),
        (Ongoing::REPLICATION, Reason::Replication, Return::Close),
        (
            Ongoing::NOT_RESTORABLE,
            Reason::NotRestorable,
            Return::Reset,
        ),
        (
            Ongoing::DIAGNOSTICS_WANTED,
            Reason::DiagnosticsWanted,
            Return::AsItIs,
        ),
        (Ongoing::HINT, Reason::Hint, Return::AsItIs),
    ] {
        assert_eq!(held(ongoing), Decision::Hold(reason));
        let policy = Policy::default();
        assert_eq!(Return::of(&idle, ongoing, policy), becomes, "{reason:?}");
    }
    assert_eq!(
        held(Ongoing::all()),
        Decision::Hold(Reason::Replication),
        "the weightiest"
    );
    let mut busy = session();
    busy.command(Com::QUERY, b"SELECT 1");
    let decision = with(&busy, Policy::default());
    assert_eq!(decision, Decision::Hold(Reason::SeveralResults));
    let becomes = Return::of(&busy, Ongoing::empty(), Policy::default());
    assert_eq!(becomes, Return::Close);
}

#[test]
fn each_trace_has_a_reason() {
    for trace in Traces::all().iter() {
        let reason = reason_of_traces(trace, Policy::default());
        let is_elsewhere = OF_TRANSACTIONS.contains(trace) || trace == Traces::UNREPORTED;
        assert_eq!(reason.is_none(), is_elsewhere, "{trace:?}");
    }
}
