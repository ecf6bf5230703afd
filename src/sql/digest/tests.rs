use super::*;

fn text(sql: &str) -> String {
    String::from_utf8(digest(sql.as_bytes(), Mode::default()).text).unwrap()
}

#[test]
fn texts() {
    for (sql, wanted) in [
        ("", ""),
        ("-- nothing", ""),
        (
            "select  *\nfrom t where id=5;",
            "SELECT * FROM t WHERE id = ?",
        ),
        (
            "SELECT * FROM `t` WHERE `id` = 'x' -- y",
            "SELECT * FROM t WHERE id = ?",
        ),
        ("select * from T", "SELECT * FROM T"),
        ("select a, t.b, `db`.`t`.*", "SELECT a, t.b, db.t.*"),
        ("select 1", "SELECT ?"),
        ("select 1, 2, 'x'", "SELECT ?, ..."),
        ("select a in (1)", "SELECT a IN (...)"),
        (
            "select a in (1,2,3), b in (c, 1)",
            "SELECT a IN (...), b IN (c, ?)",
        ),
        ("insert into t values (1)", "INSERT INTO t VALUES (?)"),
        (
            "insert into t values (1),(2),(3)",
            "INSERT INTO t VALUES (?), ...",
        ),
        (
            "insert into t (a, b) values (1, 'x')",
            "INSERT INTO t(a, b) VALUES (...)",
        ),
        (
            "insert into t values (1, 'x'), (2, 'y') on duplicate key update a = 1",
            "INSERT INTO t VALUES (...), ... ON DUPLICATE KEY UPDATE a = ?",
        ),
        (
            "insert into t values (1, now()), (2, now())",
            "INSERT INTO t VALUES (?, NOW()), (?, NOW())",
        ),
        (
            "select (1,2) in ((1,2),(3,4))",
            "SELECT (...) IN ((...), ...)",
        ),
        (
            "select a from t limit 10, 20",
            "SELECT a FROM t LIMIT ?, ...",
        ),
        (
            "select a from t limit 10 offset 20",
            "SELECT a FROM t LIMIT ? OFFSET ?",
        ),
        ("select -1, - -1, +1", "SELECT ?, ..."),
        ("select a-1, a - -1, (-1)", "SELECT a - ?, a - ?, (?)"),
        (
            "select a where b between -1 and -2",
            "SELECT a WHERE b BETWEEN ? AND ?",
        ),
        ("select -a, -'x'", "SELECT - a, - ?"),
        ("select null, true, false", "SELECT ?, ..."),
        (
            "select a is null, b is not true, \\N",
            "SELECT a IS NULL, b IS NOT TRUE, ?",
        ),
        (
            "create table t (a int null, b int not null default null)",
            "CREATE TABLE t(a INT NULL, b INT NOT NULL DEFAULT NULL)",
        ),
        (
            "select _utf8mb4'x', N'x', x'AB', 0xAB, 1e5, 'a' 'b'",
            "SELECT _utf8mb4 ?, ... ?",
        ),
        (
            "select f(1), g(1, 2), coalesce(a, 1), CONCAT('x')",
            "SELECT f(?), g(...), COALESCE(a, ?), CONCAT(?)",
        ),
        ("select count(*), Count (1)", "SELECT COUNT(*), COUNT(?)"),
        (
            "select @A, @`b`, @@GLOBAL.Max_Connections",
            "SELECT @a, @b, @@global.max_connections",
        ),
        ("set @a := 5, b = 'x'", "SET @a := ?, b = ?"),
        (
            "grant select on d.* to 'u'@'h'",
            "GRANT SELECT ON d.* TO ? @ ?",
        ),
        ("select a <> 1 and b != 2", "SELECT a != ? AND b != ?"),
        ("select 1;;; select 2 ;", "SELECT ?; SELECT ?"),
        ("start transaction", "START TRANSACTION"),
        ("show full tables", "SHOW FULL TABLES"),
        (
            "select * from User, user where status = 1",
            "SELECT * FROM User, user WHERE status = ?",
        ),
        (
            "select `select`, `a b`, t.`from`, `ä`",
            "SELECT `select`, `a b`, t.from, `ä`",
        ),
        ("select a.select", "SELECT a.select"),
        ("/*!40101 set names utf8 */", "SET NAMES utf8"),
        ("select /*!80000 a, */ b", "SELECT /*!80000 a, */ b"),
        ("select /*M! a, */ b /*! c */", "SELECT /*M! a, */ b c"),
        ("select /*+ MAX_EXECUTION_TIME(5) */ a", "SELECT a"),
        ("select doc->'$.a' from t", "SELECT doc -> ? FROM t"),
        ("select * from t where a = ?", "SELECT * FROM t WHERE a = ?"),
        ("größe", "größe"),
    ] {
        assert_eq!(text(sql), wanted, "{sql}");
        assert_eq!(text(wanted), wanted, "of {sql}");
    }
}

/// Scripts store hashes, so these must never change.
#[test]
fn hashes_are_for_ever() {
    for (sql, wanted) in [
        ("", "e3b0c44298fc1c149afbf4c8996fb924"),
        (
            "select * from t where id = 5",
            "1ae0d1a5e20680b89c28f603d7a1fd3d",
        ),
        (
            "insert into t values (1, 'x'), (2, 'y')",
            "4156b65c54bad9f095a492dcd399736f",
        ),
    ] {
        let hash = digest(sql.as_bytes(), Mode::default()).hash;
        let hash: String = hash.iter().map(|byte| format!("{byte:02x}")).collect();
        assert_eq!(hash, wanted, "{sql}");
    }
}

#[test]
fn what_a_mode_decides_is_ambiguous_without_it() {
    let is_ambiguous = |sql: &str, mode| digest(sql.as_bytes(), mode).ambiguous;
    let known = Mode {
        no_backslash_escapes: Some(false),
        ansi_quotes: Some(false),
        plain_charset: true,
    };
    for sql in [r"select 'a\'b'", r#"select "a""#, "select `é`"] {
        assert!(is_ambiguous(sql, Mode::default()), "{sql}");
        assert!(!is_ambiguous(sql, known), "{sql}");
    }
    for sql in [
        "select /*!80000 1 */",
        "select /*M! 1 */",
        "select \0",
        "select 1.e(5)",
    ] {
        assert!(is_ambiguous(sql, known), "{sql}");
    }
    assert!(!is_ambiguous(
        "select /*!40001 SQL_NO_CACHE */ 'x', `y`, 'a\\n' -- it's",
        Mode::default()
    ));
}

#[test]
fn the_quotes_of_names_are_backquotes() {
    let ansi = Mode {
        ansi_quotes: Some(true),
        ..Mode::default()
    };
    let text = |sql: &str| String::from_utf8(digest(sql.as_bytes(), ansi).text).unwrap();
    assert_eq!(
        text(r#"select "a", "a b", "a""b", "a`b""#),
        "SELECT a, `a b`, `a\"b`, `a``b`"
    );
}

#[test]
fn a_guards_digest_has_hints_and_variables() {
    for (sql, wanted) in [
        (
            "select /*+ SET_VAR(a=1) */ 5 /* c */",
            "SELECT /*+ SET_VAR(a=1) */ ?",
        ),
        ("select/*+ b */1, 2", "SELECT /*+ b */ ?, ..."),
        (
            "insert /*+ a */ into t values (1), /*+ b */ (2)",
            "INSERT /*+ a */ INTO t VALUES (?), /*+ b */ (?)",
        ),
        ("delete /*! /*+ a */ */ from t", "DELETE /*+ a */ FROM t"),
        ("select @'A', @\"b c\"", "SELECT @'a', @\"b c\""),
        ("select @A, @`b`", "SELECT @a, @b"),
        ("select 'a' -- b", "SELECT ?"),
    ] {
        let guard = guard_digest(sql.as_bytes(), Mode::default());
        assert_eq!(String::from_utf8(guard.text).unwrap(), wanted, "{sql}");
        if !sql.contains("/*+") && !sql.contains('@') {
            assert_eq!(guard.hash, digest(sql.as_bytes(), Mode::default()).hash);
        }
    }
}
