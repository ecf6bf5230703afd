use super::*;
use crate::sql::{Mode, digest};
use crate::wire::{Com, TextRow};

fn ask(sql: &str) -> Option<Asked<'_>> {
    asked(sql.as_bytes(), Mode::default())
}

fn diagnostics_of(flavour: Flavour) -> Diagnostics {
    let mut diagnostics = Diagnostics::new();
    diagnostics.arrive(flavour);
    diagnostics
}

fn needs(sql: &str) -> Needs {
    ask(sql).map_or(Needs::empty(), |asked| asked.needs())
}

fn run(diagnostics: &mut Diagnostics, sql: &str, outcome: Outcome<'_>) {
    let manner = manner(
        Com::QUERY,
        Some(sql.as_bytes()),
        Mode::default(),
        diagnostics.flavour,
    );
    diagnostics.ended(manner.unwrap(), outcome);
}

fn rows(rows: u64, warnings: u16) -> Outcome<'static> {
    Outcome::Rows {
        rows: Some(rows),
        warnings,
    }
}

fn ok(affected: u64, warnings: u16) -> Outcome<'static> {
    Outcome::Ok { affected, warnings }
}

/// The values of the first row of the proxy's own answer.
fn own(diagnostics: &Diagnostics, sql: &str) -> Option<Vec<String>> {
    match diagnostics.answer(&ask(sql)?, Some(b"utf8mb4")) {
        Answer::Own(results) => {
            let row = results.rows.first().map_or(&b""[..], Vec::as_slice);
            let values = TextRow::new(row).map(|value| value.unwrap().unwrap().to_vec());
            Some(
                values
                    .map(|value| String::from_utf8(value).unwrap())
                    .collect(),
            )
        }
        _ => None,
    }
}

#[test]
fn plain_forms_are_understood() {
    let conditions = |errors_only, offset, limit| {
        Some(Asked::Conditions {
            errors_only,
            offset,
            limit,
        })
    };
    assert_eq!(ask("SHOW WARNINGS"), conditions(false, 0, u64::MAX));
    assert_eq!(ask(" show /* x */ errors ;"), conditions(true, 0, u64::MAX));
    assert_eq!(ask("SHOW WARNINGS LIMIT 5"), conditions(false, 0, 5));
    assert_eq!(ask("SHOW WARNINGS LIMIT 2, 5"), conditions(false, 2, 5));
    assert_eq!(
        ask("SHOW WARNINGS LIMIT 5 OFFSET 2"),
        conditions(false, 2, 5)
    );
    let names = |sql: &'static str| match ask(sql) {
        Some(Asked::Values(items)) => items
            .iter()
            .map(|item| String::from_utf8(item.name.to_vec()).unwrap())
            .collect(),
        other => panic!("{sql}: {other:?}"),
    };
    let names: Vec<Vec<String>> = [
        "SHOW COUNT(*) ERRORS;",
        "select Row_Count( ) , @@Warning_Count as n",
        "SELECT FOUND_ROWS() 'a b' FROM DUAL",
        "SELECT @@session.error_count/* c */",
    ]
    .map(names)
    .to_vec();
    assert_eq!(
        names,
        [
            vec!["@@session.error_count"],
            vec!["Row_Count( )", "n"],
            vec!["a b"],
            vec!["@@session.error_count"],
        ]
    );
}

#[test]
fn every_other_use_is_recognised() {
    let all = Needs::CONDITIONS | Needs::ROW_COUNT;
    for (sql, expected) in [
        ("SELECT ROW_COUNT() + 1", Needs::ROW_COUNT),
        ("SELECT * FROM t LIMIT 1, 2", Needs::empty()),
        ("INSERT INTO t SELECT FOUND_ROWS()", Needs::FOUND_ROWS),
        ("SET @n = @@warning_count", Needs::CONDITIONS),
        ("SELECT @@`error_count` + 0", Needs::CONDITIONS),
        ("SELECT @@session . `error_count`", Needs::CONDITIONS),
        ("GET DIAGNOSTICS @n = NUMBER", all),
        ("GET CURRENT DIAGNOSTICS @n = ROW_COUNT", all),
        ("RESIGNAL", Needs::CONDITIONS),
        ("SHOW COUNT(*) WARNINGS LIMIT 1", Needs::CONDITIONS),
        ("SELECT ROW_COUNT() AS `é`", Needs::ROW_COUNT),
        ("SELECT ROW_COUNT() AS rows", Needs::ROW_COUNT),
        // In front of it another statement has replaced the value.
        ("SELECT 1; SELECT ROW_COUNT()", Needs::empty()),
        (
            "SELECT SQL_CALC_FOUND_ROWS 1; SELECT FOUND_ROWS()",
            Needs::empty(),
        ),
        ("SET @a = 1; SHOW WARNINGS", Needs::CONDITIONS),
        ("INSERT INTO t VALUES (1); SHOW WARNINGS", Needs::empty()),
        // Not asked for.
        ("SELECT 'ROW_COUNT()'", Needs::empty()),
        ("SELECT 1 -- SHOW WARNINGS", Needs::empty()),
        ("SELECT /* FOUND_ROWS() */ 1", Needs::empty()),
        ("SELECT row_count FROM t", Needs::empty()),
        ("SELECT x.row_count() ", Needs::empty()),
        ("SELECT warning_count FROM t", Needs::empty()),
        ("SHOW TABLES LIKE 'errors'", Needs::empty()),
        (
            "CREATE PROCEDURE p() BEGIN SELECT ROW_COUNT(); SHOW WARNINGS; END",
            Needs::empty(),
        ),
        ("CREATE TABLE t SELECT FOUND_ROWS() AS n", Needs::FOUND_ROWS),
    ] {
        assert_eq!(needs(sql), expected, "{sql}");
    }
    assert_eq!(
        ask("SELECT ROW_COUNT() + 1"),
        Some(Asked::Other(Needs::ROW_COUNT))
    );
}

#[test]
fn a_client_that_has_its_connection_asks_its_server() {
    let mut of = diagnostics_of(Flavour::MySql);
    assert!(!of.are_there());
    run(&mut of, "SELECT 1", rows(1, 0));
    assert!(of.are_there());
    let asked = ask("SELECT ROW_COUNT(), FOUND_ROWS(), @@warning_count").unwrap();
    assert_eq!(of.answer(&asked, None), Answer::Server);
    assert_eq!(of.unread().count(), 0);
}

#[test]
fn values_go_with_the_client() {
    for flavour in [Flavour::MariaDb, Flavour::MySql] {
        let mut of = diagnostics_of(flavour);
        run(&mut of, "SELECT a FROM t LIMIT 7", rows(5, 0));
        run(&mut of, "INSERT INTO t VALUES (1), (2)", ok(2, 0));
        of.part();
        let all = "SELECT ROW_COUNT(), FOUND_ROWS(), @@warning_count, @@error_count";
        assert_eq!(own(&of, all).unwrap(), ["2", "5", "0", "0"]);
        assert_eq!(
            of.answer(&ask("GET DIAGNOSTICS @a = ROW_COUNT").unwrap(), None),
            Answer::Refused(Needs::CONDITIONS | Needs::ROW_COUNT)
        );
        // On another connection.
        run(&mut of, "SET @a = 1", ok(0, 0));
        assert_eq!(own(&of, "SELECT FOUND_ROWS()").unwrap(), ["5"]);
    }
}

#[test]
fn warnings_are_read_only_if_there_may_be_some() {
    let mut of = diagnostics_of(Flavour::MariaDb);
    run(&mut of, "INSERT INTO t VALUES ('x')", ok(1, 1));
    // MariaDB keeps them.
    run(&mut of, "SELECT 1", rows(1, 0));
    let unread: Vec<_> = of.unread().collect();
    assert_eq!(
        unread.iter().map(Unread::sql).collect::<Vec<_>>(),
        [b"SHOW WARNINGS"]
    );
    let listed = vec![Some(&b"Warning"[..]), Some(b"1366"), Some(b"Incorrect")];
    of.read(unread[0], [listed].into_iter(), Some(b"utf8mb4"), 64);
    assert_eq!(of.unread().count(), 0);
    of.part();
    assert_eq!(
        own(&of, "SHOW WARNINGS").unwrap(),
        ["Warning", "1366", "Incorrect"]
    );
    assert_eq!(own(&of, "SHOW ERRORS").unwrap(), [""; 0]);
    assert_eq!(own(&of, "SHOW COUNT(*) WARNINGS").unwrap(), ["1"]);
    // The next connection has another client's, and MariaDB keeps those.
    run(&mut of, "SET @a = 1", ok(0, 0));
    assert_eq!(own(&of, "SELECT @@warning_count").unwrap(), ["1"]);
    run(&mut of, "SELECT * FROM t", rows(3, 0));
    assert!(of.are_there());
}

#[test]
fn what_was_not_read_is_refused() {
    let mut of = diagnostics_of(Flavour::MySql);
    run(
        &mut of,
        "SELECT x",
        Outcome::Err {
            errno: 1054,
            message: b"Unknown column",
        },
    );
    of.part();
    let refused = |of: &Diagnostics, sql| of.answer(&ask(sql).unwrap(), None);
    assert_eq!(
        refused(&of, "SHOW WARNINGS"),
        Answer::Refused(Needs::CONDITIONS)
    );
    assert_eq!(own(&of, "SELECT ROW_COUNT()").unwrap(), ["-1"]);
    run(
        &mut of,
        "SELECT SQL_CALC_FOUND_ROWS * FROM t LIMIT 1",
        rows(1, 1),
    );
    assert_eq!(
        of.unread().map(|one| one.sql()).collect::<Vec<_>>(),
        [&b"SHOW WARNINGS"[..], b"SELECT FOUND_ROWS()"]
    );
    of.part();
    assert_eq!(
        refused(&of, "SELECT FOUND_ROWS()"),
        Answer::Refused(Needs::FOUND_ROWS)
    );
}

#[test]
fn errors_of_simple_commands_are_added_on_mysql() {
    let mut of = diagnostics_of(Flavour::MySql);
    let manner = manner(Com::INIT_DB, None, Mode::default(), Flavour::MySql).unwrap();
    let outcome = Outcome::Err {
        errno: 1049,
        message: b"Unknown database 'x'",
    };
    of.ended(manner, outcome);
    assert_eq!(
        own(&of, "SHOW WARNINGS").unwrap(),
        ["Error", "1049", "Unknown database 'x'"]
    );
    assert_eq!(own(&of, "SHOW COUNT(*) ERRORS").unwrap(), ["1"]);
}

#[test]
fn a_refusal_begins_with_the_name_of_its_reason() {
    let err = refusal(Needs::CONDITIONS | Needs::ROW_COUNT);
    assert_eq!((err.errnum, err.sqlstate), (1105, Some(*b"HY000")));
    let text = String::from_utf8(err.message).unwrap();
    assert!(
        text.starts_with("diagnostics-wanted: the warnings and ROW_COUNT() of"),
        "{text}"
    );
    assert!(text.len() < 512, "{text}");
}

#[test]
fn an_own_answer_is_a_statement_too() {
    let mut of = diagnostics_of(Flavour::MySql);
    run(&mut of, "SELECT * FROM t", rows(9, 0));
    of.part();
    let asked = ask("SELECT FOUND_ROWS()").unwrap();
    let Answer::Own(results) = of.answer(&asked, None) else {
        panic!("it is known");
    };
    of.answered(&asked, &results);
    assert_eq!(own(&of, "SELECT FOUND_ROWS()").unwrap(), ["1"]);
    // MySQL says that it is deprecated.
    assert_eq!(own(&of, "SHOW WARNINGS").unwrap()[1], "1287");
}

#[test]
fn what_was_learnt_is_bounded() {
    let mut learnt = Learnt::new();
    let mode = Mode::default();
    assert!(learnt.is_empty());
    let statement = |number: usize| format!("SELECT c{number} FROM t WHERE a = 1");
    let digest_of = |number: usize| digest(statement(number).as_bytes(), mode).hash;
    learnt.learn(digest_of(0));
    for number in 1..1000 {
        learnt.learn(digest_of(number));
        // The first one is needed all the time.
        assert!(learnt.holds(b"SELECT c0 FROM t WHERE a = 5", mode));
    }
    assert_eq!(learnt.len(), 256);
    assert!(!learnt.holds(statement(1).as_bytes(), mode));
    assert!(learnt.holds(statement(999).as_bytes(), mode));
}

#[test]
fn a_usual_client_costs_a_few_words() {
    assert!(
        size_of::<Diagnostics>() <= 96,
        "{}",
        size_of::<Diagnostics>()
    );
}
