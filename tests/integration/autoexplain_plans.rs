//! Auto-explain: what it makes of statements of all kinds, in every format, whatever their session is like.

use std::time::{Duration, Instant};

use mysql::prelude::Queryable as _;

use crate::autoexplain::{ALL, Explained, judged, tables};
use crate::support::wire::{Answer, Wire, caps, com};
use crate::support::{both, connect, eventually};

const FORMATS: [&str; 3] = ["traditional", "json", "tree"];

both! {
    /// Wherever a subquery stands, what it reads is found.
    fn subqueries_are_found_in_every_format(server) {
        let base = tables(server);
        for format in FORMATS {
            let explained = Explained::start(server, &format!("{ALL}, format = '{format}'"));
            for sql in [
                "SELECT a, (SELECT MAX(v) FROM u WHERE u.v = t.b) FROM t",
                "SELECT a FROM t ORDER BY (SELECT MAX(v) FROM u WHERE u.v = t.b)",
                "SELECT COUNT(*) FROM t GROUP BY (SELECT MAX(v) FROM u WHERE u.v = t.b)",
                "SELECT a FROM t WHERE b = (SELECT MAX(v) FROM u WHERE v > t.b)",
                "SELECT a, b IN (SELECT v FROM u) FROM t",
                "SELECT a, COUNT(*) FROM t GROUP BY a HAVING COUNT(*) > (SELECT COUNT(v) FROM u WHERE v > ANY_VALUE(t.b))",
                "SELECT a FROM t UNION ALL SELECT (SELECT MAX(v) FROM u) FROM t",
                "SELECT * FROM (SELECT (SELECT MAX(v) FROM u WHERE u.v = t.b) x FROM t) d ORDER BY x",
            ] {
                if sql.contains("ANY_VALUE") && server.flavour.is_mariadb() {
                    continue;
                }
                explained.sql(server, &base, sql);
                let line = explained.line(sql);
                assert!(line.contains("flags=full_scan"), "{format}: {line}");
                assert!(line.contains(" tables=t,u ") || line.contains(" tables=u,t "), "{format}: {line}");
            }
        }
    }
}

both! {
    /// Also those that are evaluated once, or not at all. (A tree shows what is executed.)
    fn subqueries_without_a_reference_are_found(server) {
        let base = tables(server);
        for format in ["traditional", "json"] {
            let explained = Explained::start(server, &format!("{ALL}, format = '{format}'"));
            for (sql, wanted) in [
                ("SELECT a FROM t ORDER BY (SELECT MAX(v) FROM u)", "t,u"),
                ("SELECT a FROM t WHERE id = ? ORDER BY (SELECT MAX(v) FROM u)", "t,u"),
                ("SELECT a, (SELECT MAX(v) FROM u) FROM t WHERE id = ?", "t,u"),
                ("UPDATE t SET a = (SELECT MAX(t_id) FROM u) WHERE a = ?", "t,u"),
            ] {
                explained.sql(server, &base, &sql.replace('?', "1"));
                let line = explained.line(sql);
                let mut found: Vec<&str> = line
                    .split(" tables=")
                    .nth(1)
                    .and_then(|rest| rest.split(' ').next())
                    .unwrap_or_default()
                    .split(',')
                    .collect();
                found.sort_unstable();
                assert_eq!(found.join(","), wanted, "{format}: {line}");
                assert!(line.contains("full_scan"), "{format}: {line}");
            }
        }
    }
}

both! {
    /// What a recursive CTE reads of itself is no table.
    fn recursive_ctes_read_no_tables_of_their_own(server) {
        let base = tables(server);
        for format in FORMATS {
            let explained = Explained::start(server, &format!("{ALL}, format = '{format}'"));
            for (sql, tables) in [
                ("WITH RECURSIVE r AS (SELECT ? AS n UNION ALL SELECT n + ? FROM r WHERE n < ?) SELECT * FROM r", None),
                ("WITH RECURSIVE r AS (SELECT ? AS n UNION ALL SELECT n + ? FROM r AS s WHERE n < ?) SELECT * FROM r AS o", None),
                ("WITH RECURSIVE r AS (SELECT id AS n FROM t WHERE b = ? UNION ALL SELECT u.id + ? FROM r AS q JOIN u ON u.t_id = q.n WHERE n < ?) SELECT n FROM r ORDER BY n", Some("t,u")),
            ] {
                explained.sql(server, &base, &sql.replace("b = ?", "b = 'x'").replace('?', "3"));
                let line = explained.line(sql);
                match tables {
                    None => {
                        assert!(!line.contains(" tables="), "{format}: {line}");
                        assert!(!line.contains("full_scan") && !line.contains("full_index_scan"), "{format}: {line}");
                    }
                    Some(tables) => assert!(line.contains(&format!(" tables={tables} ")), "{format}: {line}"),
                }
            }
        }
    }
}

both! {
    /// The side connection only reads, and waits for nobody's lock.
    fn locking_reads_are_explained_too(server) {
        let base = tables(server);
        for format in FORMATS {
            let explained = Explained::start(server, &format!("{ALL}, format = '{format}'"));
            // Somebody else has the rows.
            let mut holder = connect(server.port);
            holder.query_drop(format!("USE {base}")).unwrap();
            holder.query_drop("BEGIN").unwrap();
            holder.query_drop("UPDATE t SET a = a").unwrap();
            let mut asks = connect(explained.port);
            asks.query_drop(format!("USE {base}")).unwrap();
            asks.query_drop("SET innodb_lock_wait_timeout = 1").unwrap();
            let mut all = vec!["SELECT a FROM t WHERE b = 'x' FOR UPDATE", "SELECT a FROM t WHERE id > 0 AND b = 'x' LOCK IN SHARE MODE",
                "SELECT b, 'for update' FROM t WHERE b = 'x' /* a */ FOR /* b */ update"];
            if server.flavour.is_mariadb() {
                all.push("SELECT id, b FROM t WHERE b = 'x' FOR UPDATE WAIT 0");
                all.push("SELECT id, a FROM t WHERE b = 'x' FOR UPDATE SKIP LOCKED");
            } else {
                all.push("SELECT id, b FROM t WHERE b = 'x' FOR SHARE OF t NOWAIT");
                all.push("SELECT t.id, a FROM t JOIN u ON u.t_id = t.id WHERE b = 'x' FOR UPDATE OF t, u SKIP LOCKED");
                all.push("SELECT t.id FROM t JOIN u ON u.t_id = t.id WHERE b = 'x' FOR UPDATE OF t FOR SHARE OF u NOWAIT");
            }
            for sql in &all {
                let begun = Instant::now();
                let before = explained.lines("").len();
                // Some of them time out, which is slow enough.
                let _ = asks.query_drop(sql);
                eventually("it is explained", || explained.lines("").len() > before);
                let line = explained.lines("").pop().unwrap();
                assert!(!line.contains("error="), "{format} {sql}: {line}");
                assert!(line.contains(" tables=t") || line.contains(" tables=u,t"), "{format} {sql}: {line}");
                assert!(begun.elapsed() < Duration::from_secs(15));
            }
            holder.query_drop("ROLLBACK").unwrap();
        }
    }
}

both! {
    /// What a text means depends on its session: the side connection reads it in the same way.
    fn the_sessions_modes_and_character_set(server) {
        let base = tables(server);
        // Of a session that nothing is known of, by the option.
        let explained = Explained::start(server, &format!("{ALL}, ansi_quotes = true"));
        let other = Explained::start(server, ALL);
        explained.sql(server, &base, "SET SESSION sql_mode = 'ANSI_QUOTES'; SELECT \"b\" FROM \"t\" WHERE \"b\" = 'x'");
        let line = explained.line("SELECT b FROM t WHERE b = ?");
        assert!(line.contains("flags=full_scan,no_index") && !line.contains("error="), "{line}");
        // Known, and other than the option says; and the next one's again.
        let modes = "SET SESSION session_track_system_variables = '*'; SET SESSION sql_mode =";
        other.sql(server, &base, &format!("{modes} 'ANSI_QUOTES,PIPES_AS_CONCAT'; SELECT \"a\" FROM t WHERE \"b\" = 'x' || 'y'"));
        let line = other.line("SELECT a FROM t WHERE b = ? || ?");
        assert!(line.contains("flags=full_scan,no_index") && !line.contains("error="), "{line}");
        other.sql(server, &base, "SELECT id FROM t WHERE b = \"x\"");
        let line = other.line("SELECT id FROM t WHERE b = ?");
        assert!(line.contains("flags=full_scan,no_index") && !line.contains("error="), "{line}");
        other.sql(server, &base, &format!("{modes} 'NO_BACKSLASH_ESCAPES'; SELECT b, id FROM t WHERE b = '\\\\'"));
        let line = other.line("SELECT b, id FROM t WHERE b = ?");
        assert!(line.contains("flags=full_scan,no_index") && !line.contains("error="), "{line}");
        // Half a character in any other character set.
        let mut wire = Wire::login_empty(other.port, caps::BASE | caps::SESSION_TRACK | caps::DEPRECATE_EOF);
        for sql in [&format!("USE {base}"), "SET SESSION session_track_system_variables = '*'", "SET NAMES latin1"] {
            assert!(matches!(wire.query(sql), Answer::Ok(_)));
        }
        wire.exchange(com::QUERY, b"SELECT a, b FROM t WHERE b = 'caf\xE9'");
        let line = other.line("SELECT a, b FROM t WHERE b = ?");
        assert!(line.contains("flags=full_scan,no_index") && !line.contains("error="), "{line}");
    }
}

/// MySQL's first JSON, which 8.0 has, of a recursive CTE and of a subquery in the select list.
#[test]
fn the_first_json_of_mysql() {
    let recursive = r#"{"query_block": {"select_id": 1, "table": {"table_name": "o", "access_type": "ALL",
        "rows_examined_per_scan": 53, "materialized_from_subquery": {"using_temporary_table": true, "query_block":
        {"union_result": {"using_temporary_table": false, "query_specifications": [
          {"query_block": {"select_id": 2, "table": {"table_name": "t", "access_type": "index", "key": "PRIMARY",
            "rows_examined_per_scan": 3}}},
          {"query_block": {"select_id": 3, "recursive": true, "cost_info": {"query_cost": "53.59"}, "nested_loop": [
            {"table": {"table_name": "c", "access_type": "const", "key": "PRIMARY", "rows_examined_per_scan": 1}},
            {"table": {"table_name": "r", "access_type": "ALL", "rows_examined_per_scan": 3,
              "attached_condition": "(`r`.`n` < 5)"}},
            {"table": {"table_name": "u", "access_type": "ref", "possible_keys": ["a"], "key": "a",
              "rows_examined_per_scan": 7}}]}}]}}}}}}"#;
    let listed = r#"{"query_block": {"select_id": 1, "table": {"table_name": "t", "access_type": "ref",
        "possible_keys": ["a"], "key": "a", "rows_examined_per_scan": 1}, "select_list_subqueries": [{"dependent": true,
        "query_block": {"select_id": 2, "table": {"table_name": "u", "access_type": "ALL",
        "rows_examined_per_scan": 6, "attached_condition": "x"}}}]}}"#;
    assert_eq!(
        judged("SELECT", &[("json", recursive), ("json", listed)]),
        [
            "full_index_scan,temporary\tt:index:PRIMARY c:const:PRIMARY u:ref:a\t7",
            "full_scan,no_index\tu:ALL: t:ref:a\t6",
        ]
    );
}
