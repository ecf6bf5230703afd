//! What a command in between leaves of the warnings, FOUND_ROWS() and ROW_COUNT() of the one before.

use super::{Flavour, reader, server, turn};
use reader::Session;

/// A command, and what is left then: the warnings on MariaDB and on MySQL, FOUND_ROWS(), ROW_COUNT().
type Row = (&'static str, Warnings, Warnings, Found, &'static str);

#[derive(Debug, Clone, Copy, PartialEq)]
enum Warnings {
    Kept,
    Cleared,
    Replaced,
}

#[derive(Debug, Clone, Copy, PartialEq)]
enum Found {
    Kept,
    /// 1, or what the command has found.
    Changed,
    /// On MySQL only.
    ChangedByMySql,
}

use Found::ChangedByMySql;
use Warnings::{Cleared, Kept, Replaced};

/// The number of rows that the statement before has changed, as it was.
const COUNT: &str = "3";

const TABLE: &[Row] = &[
    ("COM_STMT_CLOSE", Kept, Kept, Found::Kept, COUNT),
    ("COM_STATISTICS", Kept, Kept, Found::Kept, COUNT),
    ("COM_PING", Kept, Kept, Found::Kept, "0"),
    ("COM_INIT_DB facts_volatile", Kept, Kept, Found::Kept, "0"),
    ("COM_STMT_RESET", Kept, Kept, Found::Kept, "0"),
    ("COM_SET_OPTION 0", Kept, Kept, Found::Kept, "-1"),
    (
        "COM_STMT_PREPARE SELECT 2",
        Kept,
        Cleared,
        Found::Kept,
        COUNT,
    ),
    ("SET @a=1", Kept, Cleared, Found::Kept, "0"),
    ("USE facts_volatile", Kept, Cleared, Found::Kept, "0"),
    ("BEGIN", Kept, Cleared, Found::Kept, "0"),
    ("COMMIT", Kept, Cleared, Found::Kept, "0"),
    ("DO 1", Kept, Cleared, ChangedByMySql, "0"),
    ("SELECT 1", Kept, Cleared, Found::Changed, "-1"),
    (
        "SELECT v FROM t LIMIT 1",
        Cleared,
        Cleared,
        Found::Changed,
        "-1",
    ),
    (
        "SHOW VARIABLES LIKE 'sql_mode'",
        Cleared,
        Cleared,
        Found::Changed,
        "-1",
    ),
    (
        "SHOW STATUS LIKE 'uptime'",
        Cleared,
        Cleared,
        Found::Changed,
        "-1",
    ),
    ("SHOW WARNINGS", Kept, Kept, Found::Kept, "-1"),
    (
        "GET DIAGNOSTICS @n = NUMBER",
        Kept,
        Kept,
        Found::Kept,
        COUNT,
    ),
    (
        "COM_STMT_PREPARE nonsense",
        Replaced,
        Replaced,
        Found::Kept,
        "-1",
    ),
    ("nonsense", Replaced, Replaced, Found::Kept, "-1"),
    ("KILL 99999999", Replaced, Replaced, Found::Kept, "-1"),
];

fn check(flavour: Flavour) {
    let Some(server) = server(flavour) else {
        return;
    };
    let _turn = turn(flavour);
    server.sql("CREATE DATABASE facts_volatile; CREATE TABLE facts_volatile.t (v INT)");
    server.sql("INSERT INTO facts_volatile.t VALUES (1), (2), (3), (4), (5)");
    let mut session = Session::new(server, "facts_volatile");
    let mut differences = Vec::new();
    for &(command, on_mariadb, on_mysql, found, count) in TABLE {
        let warnings = match flavour.is_mariadb() {
            true => on_mariadb,
            false => on_mysql,
        };
        let found = match found {
            ChangedByMySql if flavour.is_mariadb() => Found::Kept,
            ChangedByMySql => Found::Changed,
            other => other,
        };
        let told = (
            warnings_after(&mut session, command),
            found_after(&mut session, command),
            count_after(&mut session, command),
        );
        let wanted = (warnings, found, format!("({count})"));
        if told != wanted {
            differences.push(format!("{command}: wanted {wanted:?}, told {told:?}"));
        }
    }
    assert!(
        differences.is_empty(),
        "not so on {}:\n{}",
        reader::version(server),
        differences.join("\n")
    );
}
on_all!(what_commands_in_between_destroy, check);

fn warnings_after(session: &mut Session, command: &str) -> Warnings {
    session.run("COM_STMT_PREPARE SELECT 1");
    session.run("SELECT CAST('x' AS SIGNED) FROM t LIMIT 1");
    session.run(command);
    match session.run("SHOW WARNINGS") {
        none if !none.starts_with('(') => Cleared,
        same if same.contains(",1292,") => Kept,
        _ => Replaced,
    }
}

fn found_after(session: &mut Session, command: &str) -> Found {
    session.run("COM_STMT_PREPARE SELECT 1");
    session.run("SELECT v FROM t WHERE v < 5");
    session.run(command);
    match session.run("SELECT FOUND_ROWS()").starts_with("(4)") {
        true => Found::Kept,
        false => Found::Changed,
    }
}

fn count_after(session: &mut Session, command: &str) -> String {
    session.run("COM_STMT_PREPARE SELECT 1");
    session.run("UPDATE t SET v = v + 10 WHERE v IN (1, 2, 3)");
    session.run("UPDATE t SET v = v - 10 WHERE v IN (11, 12, 13)");
    session.run(command);
    let told = session.run("SELECT ROW_COUNT()");
    session.run("ROLLBACK");
    // Without what its end tells of the transaction that the command has begun.
    told.split(' ').next().unwrap_or_default().to_owned()
}
