//! What routines, views and triggers hide, read from the catalogue of each kind of server.

use dpm::pool::{Catalogue, Harmless, Hides, Reading};
use dpm::sql::Mode;
use dpm::track::{Doubt, Traces};
use mysql::prelude::Queryable;
use mysql::{Conn, Row, Value};

use crate::support::{Server, connect, connect_as, mariadb, server};

const MODE: Mode = Mode {
    no_backslash_escapes: Some(false),
    ansi_quotes: Some(false),
    plain_charset: true,
};

/// Reads the catalogue as the pool does.
fn read(conn: &mut Conn, server: &Server, harmless: Harmless) -> Catalogue {
    conn.query_drop("SET NAMES utf8mb4").unwrap();
    let mut reading = Reading::new(server.flavour.is_mariadb(), harmless);
    loop {
        let queries = reading.queries();
        if queries.is_empty() {
            break;
        }
        for query in queries {
            let query = String::from_utf8(query).unwrap();
            let Ok(rows) = conn.query::<Row, _>(query) else {
                reading.failed();
                continue;
            };
            for row in rows {
                let values = row.unwrap();
                let values = values.iter().map(|value| match value {
                    Value::Bytes(bytes) => Some(bytes.as_slice()),
                    _ => None,
                });
                reading.row(&values.collect::<Vec<_>>());
            }
            reading.done();
        }
    }
    reading.finish()
}

fn check(server: &Server) {
    let schema = server.database();
    let mut conn = connect(server.port);
    conn.query_drop(format!("USE {schema}")).unwrap();
    for sql in [
        "CREATE TABLE t (a INT)",
        "CREATE TABLE logged (a INT)",
        "INSERT INTO t VALUES (1)",
        "CREATE FUNCTION plain(x INT) RETURNS INT DETERMINISTIC RETURN x + 1",
        "CREATE FUNCTION takes_lock(x INT) RETURNS INT NO SQL RETURN GET_LOCK(CONCAT('dpm ', CONNECTION_ID()), x)",
        "CREATE FUNCTION by_way(x INT) RETURNS INT READS SQL DATA
         BEGIN DECLARE r INT DEFAULT 0; IF x > 0 THEN SET r = takes_lock(x); END IF; RETURN r; END",
        // The text of this one is shown as if it was all in a string.
        "CREATE PROCEDURE tricky() BEGIN SELECT ''''; SET @hidden = 1; SELECT ''''; END",
        "CREATE PROCEDURE with_escapes() BEGIN SELECT 'a\\\\'; SET @hidden = 1; SELECT 'b\\''; END",
        "CREATE PROCEDURE tables_left() BEGIN CREATE TEMPORARY TABLE temporary_one SELECT 1 AS a; END",
        "CREATE PROCEDURE dynamic() BEGIN PREPARE s FROM 'SELECT 1'; EXECUTE s; END",
        "CREATE PROCEDURE quiet(OUT x INT) COMMENT 'SET @hidden = 1'
         BEGIN
           DECLARE done INT DEFAULT 0;
           DECLARE c CURSOR FOR SELECT a FROM t;
           DECLARE CONTINUE HANDLER FOR NOT FOUND SET done = 1;
           OPEN c;
           all_of_them: LOOP
             FETCH c INTO x;
             IF done THEN LEAVE all_of_them; END IF;
             CASE x WHEN 1 THEN UPDATE t SET a = a + 0; ELSE BEGIN END; END CASE;
           END LOOP;
           CLOSE c;
         END",
        "CREATE VIEW v AS SELECT by_way(a) AS a, 'it''s' AS b FROM t",
        "CREATE VIEW over_logged AS SELECT a FROM logged",
        "CREATE VIEW simple AS SELECT a, 'back\\\\slash' AS b, plain(a) AS c FROM t",
        "CREATE TRIGGER r BEFORE INSERT ON logged FOR EACH ROW
         BEGIN SET NEW.a = NEW.a + 1; SET @hidden = CONCAT('it''s ', NEW.a); END",
    ] {
        conn.query_drop(sql)
            .unwrap_or_else(|error| panic!("{sql}: {error}"));
    }
    let catalogue = read(&mut conn, server, Harmless::default());
    assert!(!catalogue.is_blind());
    let hides = |sql: &str| catalogue.hides(sql.as_bytes(), MODE, Some(schema.as_bytes()));
    for (sql, traces) in [
        ("SELECT * FROM t", Traces::empty()),
        ("UPDATE t SET a = 1", Traces::empty()),
        ("SELECT plain(1)", Traces::empty()),
        ("SELECT * FROM simple", Traces::empty()),
        ("CALL quiet(@x)", Traces::empty()),
        ("SELECT takes_lock(1)", Traces::NAMED_LOCKS),
        ("SELECT a + by_way(1) FROM t", Traces::NAMED_LOCKS),
        ("SELECT * FROM v", Traces::NAMED_LOCKS),
        ("CALL tricky()", Traces::USER_VARIABLES),
        ("CALL with_escapes()", Traces::USER_VARIABLES),
        ("CALL tables_left()", Traces::TEMPORARY_TABLES),
        ("INSERT INTO logged VALUES (1)", Traces::USER_VARIABLES),
        ("INSERT INTO over_logged VALUES (1)", Traces::USER_VARIABLES),
    ] {
        let found = hides(sql);
        assert_eq!((found.traces, found.opaque), (traces, None), "{sql}");
        assert_eq!(left(server, &schema, sql), traces, "the server, of {sql}");
    }
    assert_eq!(hides("CALL dynamic()").opaque, Some(Doubt::Routine));
    assert_eq!(hides("SELECT not_stored(1)").opaque, Some(Doubt::Loadable));
    let harmless = Harmless::new([format!("{schema}.*").as_str()]);
    let declared = read(&mut conn, server, harmless);
    for sql in [
        "CALL dynamic()",
        "SELECT * FROM v",
        "INSERT INTO logged VALUES (1)",
    ] {
        let found = declared.hides(sql.as_bytes(), MODE, Some(schema.as_bytes()));
        assert_eq!(found, Hides::NOTHING, "{sql}");
    }

    // An account that may use all, and read none of it.
    let user = format!("reads_{schema}");
    conn.query_drop(format!("CREATE USER {user}@'%' IDENTIFIED BY 'x'"))
        .unwrap();
    conn.query_drop(format!(
        "GRANT SELECT, INSERT, UPDATE, DELETE, EXECUTE ON {schema}.* TO {user}@'%'"
    ))
    .unwrap();
    let mut limited = connect_as(server.port, &user, "x").unwrap();
    let catalogue = read(&mut limited, server, Harmless::default());
    assert!(catalogue.is_blind());
    for (sql, why) in [
        ("SELECT * FROM t", None),
        ("SELECT plain(1)", Some(Doubt::Routine)),
        ("CALL quiet(@x)", Some(Doubt::Routine)),
        ("SELECT * FROM simple", Some(Doubt::Hidden)),
        ("INSERT INTO t VALUES (1)", Some(Doubt::Hidden)),
    ] {
        let found = catalogue.hides(sql.as_bytes(), MODE, Some(schema.as_bytes()));
        assert_eq!(found.opaque, why, "{sql}");
    }
    conn.query_drop(format!("GRANT TRIGGER ON {schema}.* TO {user}@'%'"))
        .unwrap();
    let mut limited = connect_as(server.port, &user, "x").unwrap();
    let catalogue = read(&mut limited, server, Harmless::default());
    let found = catalogue.hides(b"INSERT INTO t VALUES (1)", MODE, Some(schema.as_bytes()));
    assert_eq!(found, Hides::NOTHING);
    conn.query_drop(format!("DROP USER {user}@'%'")).unwrap();
}

/// What is there on a connection of its own after this statement, of what is looked for here.
fn left(server: &Server, schema: &str, sql: &str) -> Traces {
    let mut conn = connect(server.port);
    conn.query_drop(format!("USE {schema}")).unwrap();
    conn.query_drop(sql).unwrap();
    let lock = "IS_USED_LOCK(CONCAT('dpm ', CONNECTION_ID())) IS NOT NULL";
    let query = format!("SELECT @hidden IS NOT NULL, {lock}");
    let (variable, lock): (bool, bool) = conn.query_first(query).unwrap().unwrap();
    let table = conn.query_drop("SELECT * FROM temporary_one").is_ok();
    let mut left = Traces::empty();
    left.set(Traces::USER_VARIABLES, variable);
    left.set(Traces::NAMED_LOCKS, lock);
    left.set(Traces::TEMPORARY_TABLES, table);
    left
}

#[test]
fn of_mariadb() {
    check(mariadb());
}

#[test]
fn of_mariadb11() {
    if let Some(server) = server::mariadb11() {
        check(server);
    }
}

#[test]
fn of_mysql() {
    if let Some(server) = server::mysql() {
        check(server);
    }
}
