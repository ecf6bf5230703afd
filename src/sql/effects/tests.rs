use super::*;

fn one(sql: &str) -> Effects {
    let mut all = effects(sql.as_bytes(), Mode::default());
    assert_eq!(all.len(), 1, "{sql}: {all:?}");
    all.remove(0)
}

fn action(sql: &str) -> Action {
    one(sql).action
}

fn assigned(sql: &str) -> Vec<(String, Scope, Value)> {
    let Action::Set(settings) = action(sql) else {
        panic!("{sql}");
    };
    let variable = |setting| match setting {
        Setting::Variable(Assignment { name, scope, value }) => {
            (String::from_utf8(name).unwrap(), scope, value)
        }
        other => panic!("{sql}: {other:?}"),
    };
    settings.into_iter().map(variable).collect()
}

fn literal(text: &str) -> Value {
    Value::Literal(text.as_bytes().to_vec())
}

#[test]
fn what_only_reads_leaves_the_session_alone() {
    for sql in [
        "SELECT 1",
        "/* x */ (SELECT 2)",
        "SHOW VARIABLES",
        "EXPLAIN SELECT * FROM t",
        "SELECT NOW(), CONCAT('a', 'b')",
        "UPDATE t SET a = UPPER(b) WHERE c = 1",
        "DELETE FROM t",
        "DO SLEEP(0)",
        "SELECT * FROM t FOR UPDATE",
        "KILL 5",
    ] {
        assert_eq!(action(sql), Action::Plain, "{sql}");
        assert_eq!(
            one(sql).leaves | one(sql).may_leave,
            Traces::empty(),
            "{sql}"
        );
    }
    assert!(one("SELECT * FROM t").tables);
    assert!(!one("SELECT 1 + 1").tables);
}

#[test]
fn what_calls_something_may_do_anything() {
    assert_eq!(action("CALL p()"), Action::Call);
    assert_eq!(action("nonsense"), Action::Unfamiliar);
    assert_eq!(action("SELECT 'x"), Action::Unfamiliar, "an error");
    assert_eq!(action("SET STATEMENT a = 1 FOR x"), Action::Unfamiliar);
    assert_eq!(action("SELECT 1 /* x"), Action::Unfamiliar, "an error");
    assert_eq!(action("SELECT f(1)"), Action::Function);
    assert_eq!(action("SELECT shop.f(1)"), Action::Function);
    assert_eq!(action("INSERT INTO t (a) VALUES (f(1))"), Action::Function);
    assert_eq!(action("SET @a = f()"), Action::Function);
    assert_eq!(action("CREATE TABLE t SELECT f()"), Action::Function);
    for sql in [
        "EXECUTE s",
        "EXECUTE IMMEDIATE 'x'",
        "SET STATEMENT a = 1 FOR EXECUTE s",
        "SET STATEMENT a = (SELECT 1 FOR UPDATE)",
        "SET STATEMENT a = 1 FOR SET STATEMENT a = 1 FOR SELECT 1",
        "EXPLAIN ANALYZE SELECT f()",
        "SET @@local.`x``y` = 1",
        "ANALYZE SELECT 1",
        "SELECT 1; SELECT 'x",
        "/*!80000 SELECT 1 */",
        "/*M! SELECT 1 */",
        "BEGIN NOT ATOMIC SELECT 1; END",
        "SET a.b = 1",
        "USE",
        "USE a b",
        "SET",
    ] {
        assert_eq!(action(sql), Action::Opaque, "{sql}");
    }
}

#[test]
fn what_follows_a_procedure_may_be_its_own() {
    let all = effects(
        b"CALL p(); SELECT @a := 1, LAST_INSERT_ID(5) FROM t",
        Mode::default(),
    );
    let [one] = all.as_slice() else {
        panic!("{all:?}");
    };
    assert_eq!(one.action, Action::Call);
    assert_eq!(one.may_leave, Traces::USER_VARIABLES);
    assert!(one.sets_insert_id && one.tables);
}

#[test]
fn variables_may_have_other_values_for_a_statement() {
    for (sql, wanted) in [
        ("SET STATEMENT a = 1 FOR SELECT f(1)", Action::Function),
        (
            "SET STATEMENT a = (1), b = 2 FOR UPDATE t SET a = 1",
            Action::Plain,
        ),
        ("SET STATEMENT a = 1 FOR CALL p()", Action::Call),
    ] {
        let one = one(sql);
        assert_eq!(one.action, wanted, "{sql}");
        assert!(one.is_passing && one.sets_insert_id, "{sql}");
    }
    assert!(!one("SET statement = 1").is_passing);
    let locks = one("SET STATEMENT a = 1 FOR SELECT GET_LOCK('x', 1)");
    assert_eq!(locks.may_leave, Traces::NAMED_LOCKS);
    assert_eq!(
        action("SIGNAL SQLSTATE '45000' SET MESSAGE_TEXT = 'x'"),
        Action::Plain
    );
}

#[test]
fn a_definition_is_not_carried_out() {
    for sql in [
        "CREATE TABLE t (a INT, KEY k (a))",
        "CREATE PROCEDURE p() BEGIN SET @a = 1; CALL q(); END",
        "CREATE DEFINER = u FUNCTION f() RETURNS INT RETURN g(1)",
        "CREATE OR REPLACE VIEW v AS VALUES (1)",
        "CREATE VIEW v AS SELECT f(a), @b := 1 FROM t",
        "CREATE PROCEDURE p() SELECT GET_LOCK('a', 1), f(1)",
        "CREATE TRIGGER r BEFORE INSERT ON t FOR EACH ROW SET @a = (SELECT f(1))",
        "ALTER TABLE t ADD b INT",
        "DROP TABLE t, u",
        "TRUNCATE t",
        "ANALYZE LOCAL TABLE t",
        "GRANT SELECT ON *.* TO u",
    ] {
        assert_eq!(action(sql), Action::Definition, "{sql}");
    }
    assert_eq!(
        action("DROP DATABASE IF EXISTS `a b`"),
        Action::DropSchema(b"a b".to_vec())
    );
    assert_eq!(action("drop schema x"), Action::DropSchema(b"x".to_vec()));
}

#[test]
fn traces() {
    let temporary = Traces::TEMPORARY_TABLES;
    for (sql, leaves) in [
        ("CREATE TEMPORARY TABLE t (a INT)", temporary),
        ("CREATE OR REPLACE TEMPORARY TABLE t SELECT 1", temporary),
        ("SET @a = 1", Traces::USER_VARIABLES),
        ("SET time_zone = 'x', @a := 1", Traces::USER_VARIABLES),
        ("SELECT @a := 1", Traces::USER_VARIABLES),
        ("LOCK TABLES t READ", Traces::TABLE_LOCKS),
        ("LOCK INSTANCE FOR BACKUP", Traces::BACKUP_LOCKS),
        ("FLUSH TABLES WITH READ LOCK", Traces::GLOBAL_READ_LOCK),
        (
            "FLUSH NO_WRITE_TO_BINLOG TABLE WITH READ LOCK",
            Traces::GLOBAL_READ_LOCK,
        ),
        ("FLUSH TABLES t WITH READ LOCK", Traces::TABLE_LOCKS),
        ("FLUSH TABLES t FOR EXPORT", Traces::TABLE_LOCKS),
        ("FLUSH TABLES", Traces::empty()),
        ("FLUSH TABLES t", Traces::empty()),
        ("XA START 'x'", Traces::XA),
        ("XA BEGIN 'x' JOIN", Traces::XA),
        ("XA END 'x'", Traces::empty()),
        ("SAVEPOINT a", Traces::SAVEPOINTS),
        ("SET profiling = ON", Traces::PROFILES),
        ("SET profiling = OFF", Traces::empty()),
        (
            "SET SESSION optimizer_trace = 'enabled=on'",
            Traces::OPTIMIZER_TRACES,
        ),
        ("SET optimizer_trace = 'enabled=off'", Traces::empty()),
        ("SET optimizer_trace = @a", Traces::OPTIMIZER_TRACES),
        ("SET @@gtid_next = 'a:1'", Traces::GTID_NEXT),
        (
            "SET INSERT_ID = 5, timestamp = 6",
            Traces::ONE_SHOT.union(Traces::TIMESTAMP),
        ),
        ("SET timestamp = 6, timestamp = DEFAULT", Traces::empty()),
        ("SET GLOBAL timestamp = 6", Traces::empty()),
        ("PREPARE s FROM 'x'", Traces::PREPARED),
        ("SET ROLE r", Traces::ROLE),
        ("SET RESOURCE GROUP g", Traces::RESOURCE_GROUP),
        ("SELECT NEXTVAL(s)", Traces::SEQUENCES),
        ("SELECT NEXT VALUE FOR s", Traces::SEQUENCES),
        ("SET DEFAULT ROLE r", Traces::empty()),
        ("SET PASSWORD = 'x'", Traces::empty()),
    ] {
        assert_eq!(one(sql).leaves, leaves, "{sql}");
    }
    for (sql, may_leave) in [
        ("SELECT 1 INTO @a", Traces::USER_VARIABLES),
        ("GET DIAGNOSTICS @n = NUMBER", Traces::USER_VARIABLES),
        (
            "LOAD DATA INFILE 'x' INTO TABLE t (@a)",
            Traces::USER_VARIABLES,
        ),
        ("SELECT GET_LOCK('a', 1)", Traces::NAMED_LOCKS),
        ("FLUSH STATUS", Traces::empty()),
        ("CALL p(@a, 1)", Traces::USER_VARIABLES),
        ("SELECT f(@a)", Traces::USER_VARIABLES),
        ("SELECT 1 INTO a", Traces::empty()),
        ("LOAD DATA INFILE 'x' INTO TABLE t", Traces::empty()),
        ("SET GLOBAL a = 1, timestamp = 5", Traces::TIMESTAMP),
    ] {
        assert_eq!(one(sql).may_leave, may_leave, "{sql}");
    }
    let locks = Traces::TABLE_LOCKS | Traces::GLOBAL_READ_LOCK;
    assert_eq!(one("UNLOCK TABLES").clears, locks);
    assert_eq!(one("UNLOCK INSTANCE").clears, Traces::BACKUP_LOCKS);
    let of_begin = Traces::TABLE_LOCKS | Traces::SAVEPOINTS;
    assert_eq!(one("START TRANSACTION READ ONLY").clears, of_begin);
    assert_eq!(one("COMMIT AND CHAIN").clears, Traces::SAVEPOINTS);
    assert_eq!(one("ROLLBACK WORK TO SAVEPOINT a").clears, Traces::empty());
    let of_xa = Traces::XA | Traces::SAVEPOINTS;
    assert_eq!(one("XA ROLLBACK 'x'").clears, of_xa);
    assert_eq!(one("SET timestamp = DEFAULT").clears, Traces::TIMESTAMP);
    assert_eq!(one("SET gtid_next = 'automatic'").clears, Traces::GTID_NEXT);
    assert_eq!(one("DROP TABLES user").may_clear, temporary);
    assert_eq!(one("DROP PREPARE s").may_clear, Traces::PREPARED);
    assert!(one("SELECT LAST_INSERT_ID(5)").sets_insert_id);
    assert!(!one("SELECT LAST_INSERT_ID()").sets_insert_id);
}

#[test]
fn diagnostics() {
    for sql in [
        "SHOW WARNINGS LIMIT 1",
        "SHOW ERRORS",
        "SHOW COUNT(*) WARNINGS",
        "SELECT @@warning_count",
        "SELECT @@session.error_count",
        "GET DIAGNOSTICS @n = NUMBER",
    ] {
        assert_eq!(action(sql), Action::Diagnostics, "{sql}");
    }
}

#[test]
fn inserted_ids() {
    let unless = |numbers: &[u64]| Action::Insert(Inserted::Unless(numbers.to_vec()));
    for (sql, expected) in [
        (
            "INSERT INTO t (a, b) VALUES (NULL, 'x'), (DEFAULT, '')",
            unless(&[]),
        ),
        (
            "INSERT INTO db.t (a) VALUES (7), ('7'), ('7 days'), (1.2e1), ('3.5')",
            unless(&[7, 12, 4]),
        ),
        ("REPLACE t VALUE (5)", unless(&[5])),
    ] {
        assert_eq!(action(sql), expected, "{sql}");
    }
    for sql in [
        "INSERT INTO t SELECT 1",
        "INSERT INTO t VALUES (?)",
        "INSERT INTO t VALUES (1 + 1)",
        "INSERT INTO t VALUES (-5)",
        "INSERT INTO t VALUES (0x5)",
        "INSERT INTO t VALUES (x'35')",
        "INSERT INTO t VALUES (TRUE)",
        "INSERT INTO t VALUES ('\\5')",
        "INSERT INTO t SET a = 1",
        "INSERT INTO t VALUES (1) ON DUPLICATE KEY UPDATE a = 2",
        "INSERT INTO t VALUES (\"a\")",
    ] {
        assert_eq!(action(sql), Action::Insert(Inserted::Unclear), "{sql}");
    }
    assert_eq!(
        action("INSERT INTO t VALUES (1) RETURNING a"),
        Action::Insert(Inserted::Hidden)
    );
    assert!(one("INSERT INTO t VALUES (LAST_INSERT_ID(5))").sets_insert_id);
}

#[test]
fn set_is_taken_apart() {
    use Scope::{Session, Unsaid};
    assert_eq!(
        assigned(
            "SET time_zone = '+02:00', @@sql_mode := ANSI, SESSION wait_timeout=5, @@local.X=1"
        ),
        [
            ("time_zone".into(), Session, literal("+02:00")),
            ("sql_mode".into(), Unsaid, literal("ANSI")),
            ("wait_timeout".into(), Session, literal("5")),
            ("x".into(), Session, literal("1")),
        ]
    );
}

#[test]
fn values_of_set() {
    use Scope::{Session, Unclear};
    assert_eq!(
        assigned("SET a = -1, b = DEFAULT, c = 'it''s', d = 1 + 1, e = (SELECT 1, 2), F = NULL"),
        [
            ("a".into(), Session, literal("-1")),
            ("b".into(), Session, Value::Default),
            ("c".into(), Session, Value::Expression),
            ("d".into(), Session, Value::Expression),
            ("e".into(), Session, Value::Expression),
            ("f".into(), Session, literal("NULL")),
        ]
    );
    let Action::Set(settings) = action("SET GLOBAL a = 1, b = 2, @@global.c = 3") else {
        panic!();
    };
    let b = Assignment {
        name: b"b".to_vec(),
        scope: Unclear,
        value: literal("2"),
    };
    assert_eq!(
        settings,
        [Setting::Other, Setting::Variable(b), Setting::Other]
    );
}

#[test]
fn character_sets() {
    let names = |charset: &str, collation: Option<&str>| {
        let charset = Charset::Names(literal(charset), collation.map(literal));
        Action::Set(vec![Setting::Charset(charset)])
    };
    assert_eq!(
        action("/*!40101 SET NAMES utf8mb4 */"),
        names("utf8mb4", None)
    );
    assert_eq!(
        action("SET NAMES 'latin1' COLLATE latin1_bin"),
        names("latin1", Some("latin1_bin"))
    );
    let other = Action::Set(vec![Setting::Charset(Charset::CharacterSet)]);
    assert_eq!(action("SET CHARACTER SET latin1"), other);
    let default = Charset::Names(Value::Default, None);
    assert_eq!(
        action("set names default"),
        Action::Set(vec![Setting::Charset(default)])
    );
}

#[test]
fn transactions() {
    let next = |isolation, read_only| Characteristics {
        isolation,
        read_only,
    };
    assert_eq!(
        action("SET TRANSACTION ISOLATION LEVEL READ COMMITTED, READ ONLY"),
        Action::NextTransaction(next(Some("READ COMMITTED"), Some(true)))
    );
    assert_eq!(
        action("SET SESSION TRANSACTION READ WRITE"),
        Action::Set(vec![Setting::Transaction(next(None, Some(false)))])
    );
    assert_eq!(action("START TRANSACTION READ ONLY"), Action::Begin);
    assert_eq!(action("BEGIN WORK"), Action::Begin);
    for sql in [
        "COMMIT AND CHAIN",
        "ROLLBACK TO a",
        "SAVEPOINT a",
        "XA END 'x'",
    ] {
        assert_eq!(action(sql), Action::Transaction, "{sql}");
    }
}

#[test]
fn several_statements() {
    let actions = |sql: &str| -> Vec<Action> {
        let all = effects(sql.as_bytes(), Mode::default());
        all.into_iter().map(|one| one.action).collect()
    };
    assert_eq!(
        actions("USE a; SELECT ';' ; ; USE b;"),
        [
            Action::Use(b"a".to_vec()),
            Action::Plain,
            Action::Use(b"b".to_vec()),
        ]
    );
    // Which results are those of what follows?
    assert_eq!(
        actions("SELECT 1; CALL p(); USE b"),
        [Action::Plain, Action::Opaque]
    );
    assert_eq!(
        actions("SELECT 1; CALL p(); SELECT 2"),
        [Action::Plain, Action::Call]
    );
    assert_eq!(
        actions("USE a; nonsense; USE b"),
        [
            Action::Use(b"a".to_vec()),
            Action::Unfamiliar,
            Action::Opaque
        ]
    );
    assert_eq!(actions(""), []);
    assert_eq!(actions("-- nothing"), []);
    assert_eq!(
        actions(&"SELECT 1;".repeat(MAX_STATEMENTS)).len(),
        MAX_STATEMENTS
    );
    assert_eq!(
        actions(&"SELECT 1;".repeat(MAX_STATEMENTS + 1)),
        [Action::Opaque]
    );
}

#[test]
fn a_mode_that_is_not_known_makes_a_difference_where_it_does() {
    assert_eq!(action("SELECT \"a\""), Action::Plain);
    assert_eq!(action("SELECT 'it\\'s'"), Action::Opaque);
    assert_eq!(assigned("SET time_zone = \"x\"")[0].2, Value::Expression);
    // A string, or a function: whatever follows, its results are not known to be its own.
    let unclear = effects(b"SELECT \"f\"(1); USE b", Mode::default());
    let actions: Vec<_> = unclear.into_iter().map(|one| one.action).collect();
    assert_eq!(actions, [Action::Opaque]);
    let known = Mode {
        no_backslash_escapes: Some(false),
        ansi_quotes: Some(false),
        plain_charset: true,
    };
    let of = |sql: &str| effects(sql.as_bytes(), known).remove(0).action;
    assert_eq!(of("SELECT 'it\\'s'"), Action::Plain);
    assert_eq!(
        of("INSERT INTO t VALUES (\"a\")"),
        Action::Insert(Inserted::Unless(vec![]))
    );
    assert_eq!(of("USE `a"), Action::Unfamiliar);
}
