//! The query multiplexer's answers: every server is in them, and every value fits its column; and fleets that are
//! replaced as a whole.

use mysql::consts::{ColumnFlags, ColumnType};
use mysql::prelude::Queryable as _;

use crate::multiplexer::{dsn, first, multiplexer, rows, wait_for_active, warnings};
use crate::support::{
    Flavour, Over, PASSWORD, Server, USER, connect, let_time_pass, mariadb, mysql as mysql_server,
    process, python,
};
use std::time::{Duration, Instant};

/// Types of columns, a value of each, and whether only one of the servers has it.
const TYPES: &[(&str, &str, Option<Flavour>)] = &[
    ("TINYINT", "-128", None),
    ("TINYINT UNSIGNED", "255", None),
    ("SMALLINT UNSIGNED", "65535", None),
    ("MEDIUMINT", "-8388608", None),
    ("INT", "-2147483648", None),
    ("INT UNSIGNED", "4294967295", None),
    ("INT(5) UNSIGNED ZEROFILL", "7", None),
    ("BIGINT", "-9223372036854775808", None),
    ("BIGINT UNSIGNED", "18446744073709551615", None),
    ("DECIMAL(5,2)", "'-999.99'", None),
    ("DECIMAL(20,10)", "'1234567890.0123456789'", None),
    ("FLOAT", "1.5", None),
    ("DOUBLE", "-2.25e100", None),
    ("BIT(1)", "1", None),
    ("BIT(20)", "0xFFFFF", None),
    ("YEAR", "2026", None),
    ("DATE", "'2026-12-01'", None),
    ("TIME(3)", "'-12:34:56.789'", None),
    ("DATETIME", "'2026-12-01 12:34:56'", None),
    ("TIMESTAMP(6) NULL", "'2026-12-01 12:34:56.789012'", None),
    (
        "VARCHAR(20) CHARACTER SET latin1",
        "_utf8mb4'\u{e9}\u{fc}'",
        None,
    ),
    (
        "VARCHAR(20) CHARACTER SET utf8mb4",
        "_utf8mb4'\u{1f600}'",
        None,
    ),
    ("CHAR(5) CHARACTER SET ascii", "'abc'", None),
    ("TEXT CHARACTER SET utf8mb4", "_utf8mb4'\u{e9}'", None),
    ("VARBINARY(20)", "x'FF00E9'", None),
    ("BINARY(3)", "x'80FF00'", None),
    ("BLOB", "x'C3'", None),
    ("ENUM('\u{e9}', 'b') CHARACTER SET latin1", "2", None),
    ("SET('a', 'b')", "'a,b'", None),
    ("JSON", "'[\"\u{e9}\"]'", None),
    ("GEOMETRY", "ST_GeomFromText('POINT(1 2)')", None),
    (
        "UUID",
        "'123e4567-e89b-12d3-a456-426655440000'",
        Some(Flavour::MariaDb),
    ),
    ("INET6", "'::1'", Some(Flavour::MariaDb)),
];

/// Whether a value, as it came, is one of its column.
fn fits(column: &mysql::Column, value: &[u8]) -> bool {
    let text = std::str::from_utf8(value);
    let is_unsigned = column.flags().contains(ColumnFlags::UNSIGNED_FLAG);
    let integer = |bits: u32| {
        let number: i128 = text
            .ok()
            .and_then(|text| text.parse().ok())
            .unwrap_or(i128::MAX);
        match is_unsigned {
            true => (0..1 << bits).contains(&number),
            false => (-(1 << (bits - 1))..1 << (bits - 1)).contains(&number),
        }
    };
    match column.column_type() {
        ColumnType::MYSQL_TYPE_TINY => integer(8),
        ColumnType::MYSQL_TYPE_SHORT => integer(16),
        ColumnType::MYSQL_TYPE_INT24 => integer(24),
        ColumnType::MYSQL_TYPE_LONG => integer(32),
        ColumnType::MYSQL_TYPE_LONGLONG => integer(64),
        ColumnType::MYSQL_TYPE_NEWDECIMAL => {
            let digits = text
                .unwrap()
                .split_once('.')
                .map_or(0, |(_, digits)| digits.len());
            digits <= usize::from(column.decimals()) && text.unwrap().parse::<f64>().is_ok()
        }
        ColumnType::MYSQL_TYPE_FLOAT | ColumnType::MYSQL_TYPE_DOUBLE => {
            text.unwrap().parse::<f64>().is_ok()
        }
        ColumnType::MYSQL_TYPE_YEAR => value.len() == 4,
        ColumnType::MYSQL_TYPE_DATE => value.len() == 10,
        ColumnType::MYSQL_TYPE_TIME => value.len() >= 8 && text.unwrap().contains(':'),
        ColumnType::MYSQL_TYPE_DATETIME | ColumnType::MYSQL_TYPE_TIMESTAMP => value.len() >= 19,
        _ => column.character_set() == 63 || text.is_ok(),
    }
}

/// A column of any type with a column of any other: the merged one holds the values of both.
#[test]
fn columns_of_any_two_types_are_merged() {
    for server in [Some(mariadb()), mysql_server()].into_iter().flatten() {
        let types = TYPES
            .iter()
            .filter(|it| it.2.is_none_or(|only| only == server.flavour));
        let types: Vec<_> = types.collect();
        let mut direct = connect(server.port);
        let mut members = Vec::new();
        for (n, (of, value, _)) in types.iter().enumerate() {
            let base = server.database();
            direct
                .query_drop(format!("CREATE TABLE {base}.t (c {of})"))
                .unwrap();
            direct
                .query_drop(format!("INSERT INTO {base}.t VALUES ({value})"))
                .unwrap();
            members.push(dsn(server, &format!(",name=m{n},db={base}")));
        }
        let members: Vec<&str> = members.iter().map(String::as_str).collect();
        let dpm = multiplexer(&members);
        let port = dpm.listening();
        wait_for_active(port, members.len());
        let mut conn = connect(port);
        for a in 0..types.len() {
            for b in a..types.len() {
                for nothing in [false, true] {
                    let what = if nothing { "NULL AS c" } else { "c" };
                    let mut merged = conn
                        .query_iter(format!("QUERY m{a},m{b} 5 SELECT {what} FROM t"))
                        .unwrap();
                    let column = merged.columns().as_ref()[1].clone();
                    for row in merged.by_ref() {
                        let value: mysql::Value = row.unwrap().take(1).unwrap();
                        let (a, b) = (types[a].0, types[b].0);
                        if let mysql::Value::Bytes(value) = &value {
                            assert!(
                                fits(&column, value),
                                "{a} with {b}: {value:?} in {column:?}"
                            );
                        } else {
                            assert!(nothing, "{a} with {b}: {value:?} in {column:?}");
                        }
                    }
                }
            }
        }
        // A driver that decodes what it is told of.
        let said = python(
            port,
            &format!(
                "c = connect(charset='utf8mb4')\n\
                 cursor = c.cursor()\n\
                 for a in range({count}):\n\
                 \x20   for b in range(a % 2, {count}, 2):\n\
                 \x20       cursor.execute('QUERY m%d,m%d 5 SELECT c FROM t' % (a, b))\n\
                 \x20       assert len(cursor.fetchall()) == (1 if a == b else 2)\n\
                 print('all')",
                count = types.len()
            ),
        );
        assert_eq!(said, "all\n");
    }
}

/// NULL is of no type: it takes the others'.
#[test]
fn a_null_changes_no_type() {
    let dpm = multiplexer(&[
        &dsn(mariadb(), ",name=a,db=information_schema"),
        &dsn(mariadb(), ",name=b,db=mysql"),
    ]);
    let port = dpm.listening();
    wait_for_active(port, 2);
    let mut conn = connect(port);
    for members in ["a,b", "b,a"] {
        for (one, wanted) in [
            ("1", ColumnType::MYSQL_TYPE_LONG),
            ("1.5", ColumnType::MYSQL_TYPE_NEWDECIMAL),
        ] {
            let sql =
                format!("QUERY {members} 5 SELECT IF(DATABASE() = 'mysql', NULL, {one}) AS c");
            let result = conn.query_iter(sql).unwrap();
            assert_eq!(result.columns().as_ref()[1].column_type(), wanted);
        }
    }
}

/// However often servers come and go while a round runs: each of its servers is in the rows or in the warnings.
#[test]
fn no_answer_is_silently_short() {
    const MEMBERS: usize = 8;
    let server = Server::start_own(Flavour::MariaDb, &[]);
    let fleet: Vec<String> = (0..MEMBERS)
        .map(|n| dsn(&server, &format!(",name=m{n},group=g")))
        .collect();
    let fleet: Vec<&str> = fleet.iter().map(String::as_str).collect();
    let dpm = multiplexer(&fleet);
    let port = dpm.listening();
    wait_for_active(port, MEMBERS);
    let over = Over::default();
    std::thread::scope(|scope| {
        scope.spawn(|| {
            let (mut conn, mut direct) = (connect(port), connect(server.port));
            let mut turn = 0;
            while !over.is() {
                // Of two at a time, one is there again before the other goes.
                let (name, entry) = (format!("m{}", turn % MEMBERS), fleet[turn % MEMBERS]);
                match turn % 5 {
                    0..3 => {
                        conn.query_drop(format!("REMOVE DB {name}")).unwrap();
                        let_time_pass(Duration::from_millis(turn as u64 % 4));
                        conn.query_drop(format!("ADD DB {entry}")).unwrap();
                    }
                    3 => {
                        let ids = "SELECT id FROM information_schema.processlist WHERE id <> CONNECTION_ID()";
                        let ids: Vec<u64> = direct.query(ids).unwrap();
                        for id in ids.iter().take(3) {
                            let _ = direct.query_drop(format!("KILL {id}"));
                        }
                    }
                    _ => let_time_pass(Duration::from_millis(5)),
                }
                turn += 1;
            }
        });
        let _ends = over.at_end();
        let (mut conn, begun, mut round, mut partial) = (connect(port), Instant::now(), 0, 0);
        while begun.elapsed() < Duration::from_secs(4) {
            round += 1;
            let (group, timeout) = [("ALL", "1"), ("g", "0.01"), ("g,m1,ALL", "1")][round % 3];
            let sql = match round % 4 {
                0 => format!("SELECT SLEEP(0.02), {round}"),
                1 => format!("SELECT {round} FROM DUAL WHERE FALSE"),
                2 => format!("SELECT {round} FROM nowhere.t"),
                _ => format!("SELECT {round}"),
            };
            if conn
                .query_drop(format!("POLL {group} {timeout} {sql}"))
                .is_err()
            {
                continue; // m1 is not there
            }
            let asked = conn.affected_rows() as usize;
            let answers = rows(&mut conn, &format!("FETCH {group} {sql}"));
            let told = warnings(&mut conn);
            let mut named: Vec<String> =
                answers.iter().map(|row| row[0].clone().unwrap()).collect();
            named.extend(told.iter().map(|told| {
                let told = told.splitn(3, ' ').last().unwrap();
                told.split(':').next().unwrap().to_string()
            }));
            named.sort();
            let all = named.len();
            named.dedup();
            assert_eq!(
                (named.len(), all),
                (asked, asked),
                "{sql}: {answers:?} {told:?}"
            );
            partial += usize::from(!answers.is_empty() && !told.is_empty());
        }
        assert!(partial > 0 && round > 20, "{partial} of {round}");
    });
    assert!(!dpm.wrote("ERROR lua") && !dpm.wrote("ERROR dpm"));
}

#[test]
fn servers_without_rows_are_noted() {
    let dpm = multiplexer(&[
        &dsn(mariadb(), ",name=a"),
        &dsn(mariadb(), ",name=b,db=mysql"),
    ]);
    let port = dpm.listening();
    wait_for_active(port, 2);
    let mut conn = connect(port);
    assert_eq!(
        first(
            &mut conn,
            "QUERY ALL 5 SELECT 1 FROM DUAL WHERE DATABASE() = 'mysql'"
        ),
        ["b"]
    );
    assert_eq!(
        warnings(&mut conn),
        ["Note 1105 a: it has answered, without rows"]
    );
    // Which is nothing that is missing.
    conn.query_drop("POLL ALL 5 SELECT 2 FROM DUAL WHERE FALSE")
        .unwrap();
    assert!(rows(&mut conn, "FETCH ALL SELECT 2 FROM DUAL WHERE FALSE").is_empty());
    let polls: Vec<mysql::Row> = conn.query("SHOW POLLS").unwrap();
    let poll = polls
        .iter()
        .find(|poll| poll.get::<String, _>("query").unwrap().contains("SELECT 2"));
    assert_eq!(poll.unwrap().get::<u64, _>("missing"), Some(0));
}

/// All of a file, or nothing.
#[test]
fn a_rejected_file_is_not_applied_at_all() {
    let file = process::folder("fleet").join("fleet.lua");
    let entry = |name: &str, more: &str| {
        format!(
            "{{ host = '127.0.0.1', port = {}, user = '{USER}', password = '{PASSWORD}', name = '{name}', {more} }},",
            mariadb().port
        )
    };
    let write = |entries: &str| std::fs::write(&file, format!("return {{ {entries} }}")).unwrap();
    let before = ["a", "b", "c"]
        .map(|name| entry(name, "group = 'g'"))
        .concat();
    write(&before);
    let dpm = multiplexer(&[&file.display().to_string()]);
    let port = dpm.listening();
    wait_for_active(port, 3);
    let mut conn = connect(port);
    conn.query_drop(format!(
        "ADD DB {}",
        dsn(mariadb(), ",name=by_hand,group=hands")
    ))
    .unwrap();
    conn.query_drop("ADD GROUP further a,by_hand").unwrap();
    wait_for_active(port, 4);
    let state = |conn: &mut mysql::Conn| {
        let ids = rows(conn, "QUERY ALL 5 SELECT CONNECTION_ID()");
        let groups = rows(conn, "SHOW GROUPS");
        (ids, groups)
    };
    let as_it_was = state(&mut conn);
    let new = entry("new", "");
    for (file, why) in [
        // Only `c` stays; of the rest some is wrong.
        (
            entry("c", "group = 'g'") + &new + &entry("new", ""),
            "there is a server 'new' already",
        ),
        (
            new.clone() + &entry("by_hand", ""),
            "there is a server 'by_hand' already",
        ),
        (
            new.clone() + &entry("hands", ""),
            "'hands' is the name of a group",
        ),
        (
            new.clone() + &entry("x", "group = 'by_hand'"),
            "'by_hand' is no name for a group",
        ),
        (
            new.clone() + &entry("x", "group = 'new'"),
            "'new' is no name for a group",
        ),
        (
            new.clone() + &entry("x", "group = 'all'"),
            "'all' is no name for a group",
        ),
        (
            new.clone() + &entry("further", ""),
            "'further' is the name of a group",
        ),
        (
            new.clone() + "{ host = 'x', prot = 1 }",
            "there is no key 'prot'",
        ),
        (
            new.clone() + "{ host = 7 }",
            "host: expected a string, got number",
        ),
        (
            new.clone() + "{ host = 'x', port = 'y' }",
            "port: expected a number",
        ),
        (
            new.clone() + "{ host = 'x', group = 7 }",
            "group: expected a name",
        ),
        (
            new.clone() + "{ host = 'x', group = { 7 } }",
            "group: expected names",
        ),
        (
            new.clone() + "'x'",
            "server 2 of 2: expected a table, got string",
        ),
        // A hole: a variable that there is not.
        (
            new.clone() + "nowhere, " + &entry("x", ""),
            "server 2 of 3: expected a table, got nil",
        ),
        (
            new.clone() + "user = {}",
            "there is no key 'user' in a fleet",
        ),
        (
            new.clone() + "users = 'me'",
            "users: expected a table, got string",
        ),
        (new.clone() + "}", "expected near '}'"),
        ("} error('on purpose') return {".into(), "expected near"),
    ] {
        write(&file);
        dpm.signal("HUP");
        let line = dpm.line(why);
        assert!(line.contains("the fleet stays as it is"), "{line}");
        assert_eq!(state(&mut conn), as_it_was, "{why}");
    }
    // A name that has become free can be taken in the same file.
    write(&(entry("c", "group = 'g'") + &entry("new", "group = 'a'")));
    dpm.signal("HUP");
    dpm.line("fleet.lua: 3 servers");
    wait_for_active(port, 3);
    assert_eq!(first(&mut conn, "SHOW DB STATUS"), ["c", "by_hand", "new"]);
    assert_eq!(first(&mut conn, "QUERY a 5 SELECT 1"), ["new"]);
}
