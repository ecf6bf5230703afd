//! What every client does on every server: the steps of the battery, in the form that jobs have.
//!
//! No statement shows anything that differs between two runs, such as an id or a time.

use serde_json::{Value, json};

use crate::support::Flavour;

/// The steps for a combination that only has to connect.
pub fn connect() -> Vec<Value> {
    vec![query(
        "SELECT 1, 'ü', CURRENT_USER(), USER() LIKE CONCAT(SUBSTRING_INDEX(CURRENT_USER(), '@', 1), '@%')",
    )]
}

/// The server's status of the connection: whether it has the TLS and compression that were asked
/// for. Not compared.
pub fn probe() -> Value {
    query(
        "SHOW SESSION STATUS WHERE Variable_name IN ('Ssl_cipher', 'Compression', 'Compression_algorithm')",
    )
}

fn query(sql: &str) -> Value {
    json!({ "op": "query", "sql": sql })
}

fn prepare(sql: &str, params: Value) -> Value {
    json!({ "op": "prepare", "sql": sql, "params": params })
}

/// The columns of every type, with the least and the greatest value. A third row is all NULL.
fn types(flavour: Flavour) -> Vec<(&'static str, &'static str, &'static str)> {
    let mut types = vec![
        ("TINYINT", "-128", "127"),
        ("TINYINT UNSIGNED", "0", "255"),
        ("SMALLINT", "-32768", "32767"),
        ("SMALLINT UNSIGNED", "0", "65535"),
        ("MEDIUMINT", "-8388608", "8388607"),
        ("MEDIUMINT UNSIGNED", "0", "16777215"),
        ("INT", "-2147483648", "2147483647"),
        ("INT UNSIGNED", "0", "4294967295"),
        ("INT(7) ZEROFILL", "0", "42"),
        ("BIGINT", "-9223372036854775808", "9223372036854775807"),
        ("BIGINT UNSIGNED", "0", "18446744073709551615"),
        ("FLOAT", "-3.25e38", "3.25e-37"),
        (
            "DOUBLE",
            "-1.7976931348623157e308",
            "2.2250738585072014e-308",
        ),
        (
            "DECIMAL(65,30)",
            "-99999999999999999999999999999999999.999999999999999999999999999999",
            "0.000000000000000000000000000001",
        ),
        ("DECIMAL(5,0)", "-99999", "99999"),
        ("BIT(1)", "b'0'", "b'1'"),
        ("BIT(64)", "0", "18446744073709551615"),
        ("BOOL", "FALSE", "TRUE"),
        ("YEAR", "1901", "2155"),
        ("DATE", "'1000-01-01'", "'9999-12-31'"),
        ("TIME", "'-838:59:59'", "'838:59:59'"),
        ("TIME(6)", "'-00:00:00.000001'", "'23:59:59.999999'"),
        ("DATETIME", "'1000-01-01 00:00:00'", "'9999-12-31 23:59:59'"),
        (
            "DATETIME(6)",
            "'1000-01-01 00:00:00.000001'",
            "'9999-12-31 23:59:59.999999'",
        ),
        (
            "TIMESTAMP NULL",
            "'1970-01-02 00:00:01'",
            "'2038-01-18 03:14:07'",
        ),
        (
            "TIMESTAMP(3) NULL",
            "'1970-01-02 00:00:01.001'",
            "'2038-01-18 03:14:07.999'",
        ),
        ("CHAR(255)", "''", "REPEAT('ü', 255)"),
        ("VARCHAR(4000)", "''", "REPEAT('😀', 1000)"),
        ("VARCHAR(20) CHARACTER SET latin1", "''", "'Gruß'"),
        ("BINARY(8)", "''", "x'0001020304050607'"),
        ("VARBINARY(300)", "''", "REPEAT(x'00ff', 150)"),
        ("TINYBLOB", "''", "REPEAT(x'00', 250)"),
        ("TINYTEXT", "''", "REPEAT('a', 251)"),
        ("BLOB", "x'00'", "REPEAT(x'ff', 65535)"),
        ("TEXT", "' '", "REPEAT('z', 65535)"),
        ("MEDIUMBLOB", "''", "REPEAT('m', 100000)"),
        ("LONGTEXT", "''", "REPEAT('l', 100000)"),
        ("ENUM('', 'one', 'zwölf')", "''", "'zwölf'"),
        ("SET('a', 'b', 'ö')", "''", "'a,ö'"),
        ("JSON", "'[]'", "'{\"a\": [1, null, \"\\\\u00fc\"]}'"),
        (
            "GEOMETRY",
            "ST_GeomFromText('POINT(0 0)')",
            "ST_GeomFromText('POINT(1 -1)')",
        ),
    ];
    if flavour.is_mariadb() {
        types.push((
            "UUID",
            "'00000000-0000-0000-0000-000000000000'",
            "'ffffffff-ffff-ffff-ffff-ffffffffffff'",
        ));
        types.push(("INET6", "'::'", "'ffff::1'"));
        types.push(("INET4", "'0.0.0.0'", "'255.255.255.255'"));
    }
    types
}

/// The whole battery. LOAD DATA LOCAL reads `file`; `other` is another account.
pub fn whole(flavour: Flavour, file: &str, other: &str, password: &str, base: &str) -> Vec<Value> {
    let mut steps = vec![
        query("SET time_zone = '+00:00', sql_mode = 'STRICT_TRANS_TABLES,NO_ENGINE_SUBSTITUTION'"),
        query("DROP TABLE IF EXISTS kinds, numbers, lines_of_a_file"),
        query("DROP PROCEDURE IF EXISTS several"),
        query("DROP PROCEDURE IF EXISTS fails"),
    ];
    let types = types(flavour);
    let columns: Vec<_> = (types.iter().enumerate())
        .map(|(i, (kind, _, _))| format!("c{i} {kind}"))
        .collect();
    steps.push(query(&format!(
        "CREATE TABLE kinds (id INT PRIMARY KEY, {}) CHARACTER SET utf8mb4",
        columns.join(", ")
    )));
    let least: Vec<_> = types.iter().map(|t| t.1).collect();
    let most: Vec<_> = types.iter().map(|t| t.2).collect();
    steps.push(query(&format!(
        "INSERT INTO kinds VALUES (1, {})",
        least.join(", ")
    )));
    steps.push(query(&format!(
        "INSERT INTO kinds VALUES (2, {})",
        most.join(", ")
    )));
    steps.push(query("INSERT INTO kinds (id) VALUES (3)"));
    // One statement for each type, so that a driver's problem with one type does not hide the
    // others.
    for (i, (kind, _, _)) in types.iter().enumerate() {
        // SQL's own comment tells a reader of the transcript which type it was.
        steps.push(query(&format!(
            "SELECT c{i} /* {} */ FROM kinds ORDER BY id",
            kind.replace('\'', "")
        )));
        steps.push(prepare(
            &format!("SELECT c{i} FROM kinds WHERE id >= ? ORDER BY id"),
            json!([1]),
        ));
    }
    steps.push(query("SELECT * FROM kinds ORDER BY id"));
    steps.push(prepare("SELECT * FROM kinds ORDER BY id", json!([])));
    steps.extend(parameters());
    steps.extend(shapes());
    steps.extend(errors());
    steps.extend([
        query("CREATE TABLE numbers (id INT AUTO_INCREMENT PRIMARY KEY, n INT UNIQUE) ENGINE=InnoDB"),
        query("START TRANSACTION"),
        query("INSERT INTO numbers (n) VALUES (1), (2)"),
        query("SELECT COUNT(*) FROM numbers"),
        query("ROLLBACK"),
        query("SELECT COUNT(*) FROM numbers"),
        query("BEGIN"),
        prepare("INSERT INTO numbers (n) VALUES (?)", json!([7])),
        query("COMMIT"),
        prepare("INSERT INTO numbers (n) VALUES (?)", json!([7])),
        prepare("UPDATE numbers SET n = n + ?", json!([1])),
        query("SELECT n FROM numbers"),
        json!({ "op": "bulk", "sql": "INSERT INTO numbers (n) VALUES (?)", "rows": [[100], [101], [null], [103]] }),
        query("SELECT n FROM numbers ORDER BY n"),
        query("CREATE TABLE lines_of_a_file (a INT, b VARCHAR(200))"),
        query(&format!("LOAD DATA LOCAL INFILE '{file}' INTO TABLE lines_of_a_file")),
        query("SELECT COUNT(*), SUM(a), SUM(LENGTH(b)) FROM lines_of_a_file"),
        query("LOAD DATA LOCAL INFILE '/nowhere/at/all' INTO TABLE lines_of_a_file"),
        query("SELECT 'still here'"),
        json!({ "op": "ping" }),
        json!({ "op": "statistics" }),
        json!({ "op": "init_db", "db": "mysql" }),
        query("SELECT DATABASE()"),
        json!({ "op": "init_db", "db": base }),
        json!({ "op": "init_db", "db": "no_such_database" }),
        // What keeps a pooled connection to the end comes last.
        query("CALL several(1, @b)"),
        query("SELECT @b"),
        prepare("CALL several(?, @b)", json!([41])),
        query("SELECT @b"),
        query("SET @a = 5"),
        json!({ "op": "reset" }),
        query("SELECT @a"),
        json!({ "op": "change_user", "user": other, "password": password, "database": base }),
        query("SELECT CURRENT_USER(), DATABASE()"),
        json!({ "op": "change_user", "user": other, "password": "wrong", "database": base }),
    ]);
    steps
}

/// The last steps, on a connection of their own, since they end it.
pub fn kill() -> Vec<Value> {
    vec![query("SELECT 1"), query("KILL CONNECTION_ID()")]
}

/// Three parameters, as they are.
pub const THREE: &str = "SELECT ? AS a, ? AS b, ? AS c";

fn parameters() -> Vec<Value> {
    let all = THREE;
    vec![
        prepare(all, json!([null, 1, "text"])),
        prepare(all, json!([0, -1, 2147483647])),
        prepare(
            all,
            json!([{ "int": "9223372036854775807" }, { "int": "-9223372036854775808" }, -129]),
        ),
        prepare(all, json!([0.5, -1.25e300, 3.5e-300])),
        prepare(all, json!(["", "üñ😀'\"\\", " "])),
        prepare(
            "SELECT HEX(?), LENGTH(?)",
            json!([{ "hex": "00ff27225c0a" }, { "hex": "" }]),
        ),
        prepare(
            "SELECT CAST(? AS DECIMAL(30,10))",
            json!([{ "decimal": "12345678901234567890.0123456789" }]),
        ),
        prepare(
            "SELECT CAST(? AS DATETIME(6))",
            json!([{ "datetime": "2026-02-28T23:59:58" }]),
        ),
        prepare(
            "SELECT LENGTH(?), ?",
            json!([{ "repeat": "w", "times": 70000 }, null]),
        ),
        prepare(
            "SELECT LENGTH(?)",
            json!([{ "repeat": "v", "times": 20_000_000 }]),
        ),
    ]
}

fn shapes() -> Vec<Value> {
    let thousand: Vec<_> = (0..1000).map(|i| format!("{i} AS c{i}")).collect();
    let thousand = format!("SELECT {}", thousand.join(", "));
    vec![
        query("SELECT * FROM kinds WHERE id < 0"),
        prepare("SELECT * FROM kinds WHERE id < ?", json!([0])),
        query(&thousand),
        prepare(&thousand, json!([])),
        query("SELECT REPEAT('20', 10000000)"),
        prepare("SELECT REPEAT('20', 10000000)", json!([])),
        json!({ "op": "big", "n": 20_000_000 }),
        // With the four bytes of its length the row fills a frame, so that an empty frame has to
        // follow.
        query("SELECT REPEAT('x', 16777211)"),
        query(
            "SELECT a.id, b.id, c.id, REPEAT('r', 40) FROM kinds a, kinds b, kinds c, kinds d, kinds e, kinds f ORDER BY 1, 2, 3",
        ),
        query(
            "CREATE PROCEDURE several(IN a INT, OUT b INT) BEGIN SELECT a; SELECT 1 WHERE FALSE; SELECT 2, 'two' UNION SELECT 3, NULL; SET b = a + 1; END",
        ),
        query("SELECT 1; SELECT 2, 3; DO 1; SELECT 4"),
        query("SHOW WARNINGS"),
    ]
}

fn errors() -> Vec<Value> {
    vec![
        query("SELEKT 1"),
        query("SELECT * FROM no_such_table"),
        prepare("SELEKT ?", json!([1])),
        prepare("SELECT * FROM no_such_table WHERE a = ?", json!([1])),
        query("INSERT INTO kinds (id) VALUES (1)"),
        prepare("INSERT INTO kinds (id) VALUES (?)", json!([1])),
        query("SELECT 1; SELEKT 2; SELECT 3"),
        query(
            "CREATE PROCEDURE fails() BEGIN SELECT 1; SIGNAL SQLSTATE '45678' SET MYSQL_ERRNO = 4711, MESSAGE_TEXT = 'grüße'; END",
        ),
        query("CALL fails()"),
        prepare("CALL fails()", json!([])),
        query("SELECT 'after the errors'"),
    ]
}
