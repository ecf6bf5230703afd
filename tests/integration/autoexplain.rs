//! Auto-explain: what it explains, when, and that clients are not affected.

use std::time::{Duration, Instant};

use mysql::prelude::Queryable as _;

use crate::dpml::run;
use crate::support::wire::{Answer, MockServer, Wire, caps, com};
use crate::support::{
    Cli, Dpm, PASSWORD, Server, USER, both, connect, connect_as, eventually, let_time_pass,
    mariadb, process,
};

const PLAIN: u32 = caps::BASE | caps::MULTI;
const MODERN: u32 = caps::BASE | caps::MULTI | caps::DEPRECATE_EOF;

/// A passthrough with auto-explain, and its admin listener.
pub struct Explained {
    pub dpm: Dpm,
    pub port: u16,
    admin: u16,
}

/// The default plug-in for the clients of `listener`.
const PASSTHROUGH: &str =
    "dpml.passthrough_new_clients(listener, explain, { arg[1], tonumber(arg[2]) })";

impl Explained {
    /// The side connection is to the server itself.
    pub fn start(server: &Server, options: &str) -> Explained {
        Explained::beside(server, server.port, options)
    }

    fn beside(server: &Server, side_port: u16, options: &str) -> Explained {
        let side = format!(
            "{{ host = '127.0.0.1', port = {side_port}, user = '{USER}', pass = '{PASSWORD}' }}"
        );
        Explained::with(server, &side, options, PASSTHROUGH)
    }

    fn with(server: &Server, side: &str, options: &str, attach: &str) -> Explained {
        let dpm = Dpm::start(
            &format!(
                "local dpml = require 'dpml'
                 local explain = dpml.autoexplain {{ side = {side}, {options} }}
                 listener = dpm.listener('127.0.0.1', 0)
                 {attach}
                 admin = dpm.listener('127.0.0.1', 0)
                 explain:admin(admin, {{ users = {{ dba = {{ password = 'secret' }} }} }})
                 print('admin ' .. admin:socket_port())
                 print('port ' .. listener:socket_port())"
            ),
            server,
        );
        let port = dpm.port();
        let admin = dpm.line("admin ")["admin ".len()..].parse().unwrap();
        Explained { dpm, port, admin }
    }

    /// Runs statements with the server's own command-line client.
    #[track_caller]
    pub fn sql(&self, server: &Server, database: &str, statements: &str) -> String {
        Cli::client(server.flavour, self.port)
            .args([database, "-e", statements])
            .ok()
    }

    /// The lines of the log that are about plans, and contain this.
    pub fn lines(&self, needle: &str) -> Vec<String> {
        let lines = self.dpm.lines("").into_iter();
        lines
            .filter(|line| line.contains("autoexplain: digest=") && line.contains(needle))
            .collect()
    }

    /// The one line about this statement.
    #[track_caller]
    pub fn line(&self, query: &str) -> String {
        let query = format!("query={query:?}");
        self.dpm.line(&query);
        let lines = self.lines(&query);
        assert_eq!(lines.len(), 1, "{lines:?}");
        lines[0].clone()
    }

    fn admin(&self) -> mysql::Conn {
        connect_as(self.admin, "dba", "secret").unwrap()
    }

    /// A counter of SHOW STATUS.
    fn status(&self, name: &str) -> String {
        let rows: Vec<(String, String)> = self.admin().query("SHOW STATUS").unwrap();
        let found = rows.into_iter().find(|row| row.0 == name);
        found.expect("a counter").1
    }

    /// How often each shape was seen, by its text.
    fn seen(&self) -> Vec<(String, u64)> {
        let rows: Vec<mysql::Row> = self.admin().query("SHOW PLANS").unwrap();
        rows.iter()
            .map(|row| (row.get("Query").unwrap(), row.get("Seen").unwrap()))
            .collect()
    }
}

/// A table without an index on `b`, and a second one.
pub fn tables(server: &Server) -> String {
    let base = server.database();
    server.sql(&format!(
        "USE {base}; CREATE TABLE t (id INT PRIMARY KEY AUTO_INCREMENT, a INT, b VARCHAR(50), KEY (a));
         CREATE TABLE u (id INT PRIMARY KEY AUTO_INCREMENT, t_id INT, v VARCHAR(50));
         INSERT INTO t (a, b) VALUES (1, 'x'), (2, 'y'), (3, 'z'), (4, 'z'), (5, 'z'), (6, 'z');
         INSERT INTO u (t_id, v) SELECT id, b FROM t"
    ));
    base
}

/// Explains everything.
pub const ALL: &str = "threshold = 0";

both! {
    fn whole_statements_are_explained(server) {
        let base = tables(server);
        let explained = Explained::start(server, ALL);
        explained.sql(server, &base, "
            SELECT * FROM t WHERE b = 'sesame1';
            /* why not */ (SELECT a FROM t WHERE b = 'sesame2') UNION ALL (SELECT a FROM t WHERE a = 33);
            WITH c AS (SELECT * FROM t WHERE b = 'sesame3') SELECT c.id FROM c JOIN u ON u.v = c.b ORDER BY u.v;
            UPDATE t SET b = 'sesame4' WHERE b = 'x';
            DELETE FROM t WHERE b = 'sesame5' -- or not
            ;
            INSERT INTO u (t_id, v) SELECT id, b FROM t WHERE b = 'sesame4';
            REPLACE INTO u (t_id, v) SELECT id, b FROM t WHERE b = 'sesame4' AND a + 0 > 0;
            INSERT INTO u (t_id, v) VALUES (7, 'sesame6');
            SELECT a FROM t WHERE id = 1;
            SELECT COUNT(a) FROM t");
        let line = |query: &str| explained.line(query);
        for (query, level, flags, tables) in [
            ("SELECT * FROM t WHERE b = ?", "WARN", "full_scan,no_index", "t"),
            ("(SELECT a FROM t WHERE b = ?) UNION ALL (SELECT a FROM t WHERE a = ?)", "WARN", "full_scan,no_index", "t"),
            ("UPDATE t SET b = ? WHERE b = ?", "WARN", "full_scan,no_index", "t"),
            ("DELETE FROM t WHERE b = ?", "WARN", "full_scan,no_index", "t"),
            ("INSERT INTO u(t_id, v) SELECT id, b FROM t WHERE b = ?", "WARN", "full_scan,no_index", "t"),
            ("SELECT a FROM t WHERE id = ?", "INFO", "none", "t"),
        ] {
            let line = line(query);
            assert!(line.contains(level), "{line}");
            assert!(line.contains(&format!(" flags={flags} ")), "{line}");
            assert!(line.contains(&format!(" tables={tables} ")), "{line}");
            assert!(line.contains(&format!(" user={USER} database={base} ")), "{line}");
        }
        let cte = line("WITH c AS (SELECT * FROM t WHERE b = ?) SELECT c.id FROM c JOIN u ON u.v = c.b ORDER BY u.v");
        assert!(cte.contains("flags=full_scan,") && cte.contains("no_index"), "{cte}");
        let count = line("SELECT COUNT(a) FROM t");
        assert!(count.contains("flags=full_index_scan"), "{count}");
        let replace = explained.dpm.line("query=\"REPLACE INTO u(t_id, v) SELECT");
        assert!(replace.contains("full_scan"), "{replace}");
        // An INSERT of a row has no plan.
        assert!(explained.lines("VALUES").is_empty());
        let written = String::from_utf8_lossy(&explained.dpm.output()).into_owned();
        assert!(!written.contains("sesame"), "{written}");
        // Every statement was executed once, by the clients.
        let found = server.sql(&format!("SELECT COUNT(*) FROM {base}.u; SELECT COUNT(*) FROM {base}.t WHERE b = 'sesame4'"));
        assert_eq!(found, "9\n1\n");
        explained.dpm.assert_no_errors();
    }
}

both! {
    fn a_full_scan_is_reported_once_in_an_interval(server) {
        let base = tables(server);
        // Of the server's flag, as it takes no time.
        let explained = Explained::start(server, "threshold = 60000, interval = 6");
        let mut wire = Wire::login_empty(explained.port, MODERN);
        wire.query(&format!("USE {base}"));
        let begun = Instant::now();
        let mut rounds = 0;
        let mut scan = |wire: &mut Wire| {
            rounds += 1;
            wire.rows(&format!("SELECT id FROM t WHERE b = 'value {rounds}'"));
            wire.rows("SELECT id FROM t WHERE b = 'the same'");
            wire.rows(&format!("SELECT id FROM t WHERE id = {rounds}"));
        };
        for _ in 0..20 {
            scan(&mut wire);
        }
        explained.dpm.line("full_scan");
        scan(&mut wire);
        assert!(begun.elapsed() < Duration::from_secs(6), "too slow to tell");
        assert_eq!(explained.lines("").len(), 1, "once, and not what has an index");
        let_time_pass(Duration::from_millis(6200));
        for _ in 0..20 {
            scan(&mut wire);
        }
        eventually("it is reported again", || explained.lines("full_scan").len() == 2);
        scan(&mut wire);
        assert_eq!(explained.lines("").len(), 2);
        assert!(explained.lines("")[1].contains(" reason=server "), "{:?}", explained.lines(""));
        assert_eq!(explained.seen(), [("SELECT id FROM t WHERE b = ?".to_owned(), 84)]);
        explained.dpm.assert_no_errors();
    }
}

both! {
    fn clients_notice_nothing(server) {
        let base = tables(server);
        server.sql(&format!("CREATE TABLE {base}.w (id INT PRIMARY KEY AUTO_INCREMENT, a TINYINT)"));
        let statements = "
            SET sql_mode = '';
            SELECT SQL_CALC_FOUND_ROWS a FROM t WHERE b = 'z' LIMIT 1; SELECT FOUND_ROWS();
            INSERT INTO w (a) VALUES (1000), (2000); SHOW WARNINGS; SELECT ROW_COUNT();
            INSERT INTO w (a) SELECT a * 1000 FROM t WHERE b = 'z'; SHOW COUNT(*) WARNINGS; SELECT LAST_INSERT_ID();
            UPDATE w SET a = 1 WHERE a = 127; SELECT ROW_COUNT();
            SET @mine = 0; SELECT @mine := @mine + a FROM t WHERE b = 'y';
            CREATE TEMPORARY TABLE mine SELECT * FROM t; SELECT COUNT(*) FROM mine WHERE b = 'z';
            SELECT CAST('1x' AS SIGNED); SHOW WARNINGS;
            BEGIN; DELETE FROM w; SELECT COUNT(*) FROM w; ROLLBACK; SELECT COUNT(*) FROM w;
            TRUNCATE w";
        let ask = |port| Cli::client(server.flavour, port).args([&base, "-e", statements]).ok();
        let explained = Explained::start(server, ALL);
        assert_eq!(ask(explained.port), ask(server.port));
        // A client's temporary table cannot be explained, which is only reported.
        let line = explained.line("SELECT COUNT(*) FROM mine WHERE b = ?");
        assert!(line.contains(&format!("error=\"ERROR 1146 (42S02): Table '{base}.mine' doesn't exist\"")), "{line}");
        assert!(explained.lines("FOUND_ROWS").len() + explained.lines("ROW_COUNT").len() >= 2);
        explained.dpm.assert_no_errors();
    }
}

both! {
    fn formats(server) {
        let base = tables(server);
        for format in ["traditional", "json", "tree"] {
            let explained = Explained::start(server, &format!("{ALL}, format = '{format}',
                report = function(plan, raw) print('RAW ' .. raw:sub(1, 20):gsub('%s+', ' ') .. ' ' .. plan.kind) end"));
            explained.sql(server, &base, "
                SELECT t.id FROM t JOIN u ON u.v = t.b WHERE t.b = 'x' ORDER BY u.v;
                SELECT b, COUNT(*) FROM t GROUP BY b;
                SELECT id FROM t WHERE b <> 'x' ORDER BY b;
                SELECT a FROM t WHERE a = 3;
                DELETE FROM t WHERE b = 'nobody'");
            let join = explained.line("SELECT t.id FROM t JOIN u ON u.v = t.b WHERE t.b = ? ORDER BY u.v");
            assert!(join.contains("flags=full_scan,") && join.contains("no_index"), "{format}: {join}");
            assert!(join.contains("rows=6 "), "{format}: {join}");
            let group = explained.line("SELECT b, COUNT(*) FROM t GROUP BY b");
            assert!(group.contains("full_scan") && group.contains("temporary"), "{format}: {group}");
            let sort = explained.line("SELECT id FROM t WHERE b != ? ORDER BY b");
            assert!(sort.contains("flags=full_scan,filesort,no_index "), "{format}: {sort}");
            let key = explained.line("SELECT a FROM t WHERE a = ?");
            assert!(key.contains(" flags=none rows=1 tables=t "), "{format}: {key}");
            // Which MySQL's tree does not know.
            let delete = explained.line("DELETE FROM t WHERE b = ?");
            assert!(delete.contains("flags=full_scan,no_index"), "{format}: {delete}");
            let raw = explained.dpm.line("RAW ");
            let begins = match format {
                "json" => "RAW { \"",
                "tree" if !server.flavour.is_mariadb() => "RAW -> ",
                _ => "RAW 1 SIMPLE ",
            };
            let tried = explained.dpm.lines("RAW ");
            assert!(tried.iter().any(|line| format!("RAW {line}").starts_with(begins)), "{raw} {tried:?}");
            explained.dpm.assert_no_errors();
        }
    }
}

/// Reads plans, and prints what is made of them.
pub fn judged(kind: &str, plans: &[(&str, &str)]) -> Vec<String> {
    let mut script = String::from(
        "local plans = require 'dpml.autoexplain.plans'
         local function show(plan, problem)
           if not plan then return print('problem', problem) end
           local flags = {}
           for _, name in ipairs { 'full_scan', 'full_index_scan', 'filesort', 'temporary', 'no_index' } do
             if plan[name] then flags[#flags + 1] = name end
           end
           local steps = {}
           for i, step in ipairs(plan.steps) do steps[i] = step.table .. ':' .. step.access .. ':' .. (step.key or '') end
           print(table.concat(flags, ','), table.concat(steps, ' '), plan.rows)
         end
         local function judge(plan, problem)
           if not plan then return show(plan, problem) end
           show(plans.judge(plan, KIND))
         end\n",
    )
    .replace("KIND", &format!("'{kind}'"));
    for (format, text) in plans {
        script += &format!("judge(plans.of_{format}([==[{text}]==]))\n");
    }
    run(&script, &[])
}

#[test]
fn plans_of_servers_that_are_not_here() {
    // MySQL 8.0's JSON.
    let grouped = r#"{ "query_block": { "select_id": 1, "ordering_operation": { "using_filesort": false,
        "duplicates_removal": { "using_temporary_table": true, "using_filesort": true,
        "table": { "table_name": "d", "access_type": "ALL", "rows_examined_per_scan": 5,
          "materialized_from_subquery": { "using_temporary_table": true, "query_block": { "select_id": 2,
            "table": { "table_name": "t", "access_type": "ALL", "rows_examined_per_scan": 6000000,
              "attached_condition": "(`t`.`b` = 'it''s \" \\u00e9 \\ud83d\\ude00 {')" } } } } } } } }"#;
    let update = r#"{"query_block": {"select_id": 1, "table": {"update": true, "table_name": "t", "access_type": "index",
        "key": "PRIMARY", "rows_examined_per_scan": 6, "filtered": "100.00", "attached_condition": "(b = 'x')"}}}"#;
    let insert = r#"{"query_block": {"select_id": 1, "table": {"insert": true, "table_name": "u", "access_type": "ALL"},
        "insert_from": {"table": {"table_name": "t", "access_type": "ref", "possible_keys": ["a"], "key": "a",
        "rows_examined_per_scan": 2, "attached_condition": "x"}}}}"#;
    // MariaDB's block nested loop.
    let buffered = r#"{"query_block": {"select_id": 1, "nested_loop": [
        {"table": {"table_name": "x", "access_type": "ref", "possible_keys": ["a"], "key": "a", "rows": 6}},
        {"block-nl-join": {"table": {"table_name": "y", "access_type": "ALL", "rows": 60, "filtered": 100},
          "buffer_type": "flat", "attached_condition": "y.b = x.b"}}]}}"#;
    // MySQL 8.0's tree of a hash join, with a value that looks like another line.
    let tree = "-> Sort: u.v  (cost=1.7 rows=1)\n    -> Inner hash join (u.t_id = t.id)  (cost=1.7 rows=1)\n        \
        -> Table scan on u  (cost=0.35 rows=1.5e+6)\n        -> Hash\n            -> Filter: (t.b = 'x')  (cost=0.85 rows=1)\n                \
        -> Index lookup on t using a (a = 'secret')  (cost=0.85 rows=6)\n";
    let lines = judged(
        "SELECT",
        &[
            ("json", grouped),
            ("json", update),
            ("json", insert),
            ("json", buffered),
            ("tree", tree),
            (
                "tree",
                "-> Limit: 5 row(s)\n    -> Table scan on <temporary>\n        -> Temporary table\n            -> Index scan on t using a  (cost=1 rows=7)",
            ),
        ],
    );
    assert_eq!(
        lines,
        [
            "full_scan,filesort,temporary,no_index\tt:ALL:\t6000000",
            "full_index_scan,no_index\tt:index:PRIMARY\t6",
            "\tt:ref:a\t2",
            "full_scan,no_index\tx:ref:a y:ALL:\t60",
            "full_scan,filesort,no_index\tu:ALL: t:ref:a\t1500000",
            "full_index_scan,temporary\tt:index:a\t7",
        ]
    );
    // Through the primary key of what is written, all rows are read.
    assert_eq!(
        judged("UPDATE", &[("json", update)]),
        ["full_scan,no_index\tt:index:PRIMARY\t6"]
    );
}

#[test]
fn what_is_no_plan_is_none() {
    let deep = "[".repeat(100_000);
    let lines = judged(
        "SELECT",
        &[
            ("json", ""),
            ("json", "{"),
            ("json", r#"{"a": 1,}"#),
            ("json", r#"{"a" 1}"#),
            ("json", r#"["a" "b"]"#),
            ("json", r#"{"a": "b}"#),
            ("json", r#"{} {}"#),
            ("json", "5"),
            ("json", &deep),
            (
                "json",
                r#"{"query_plan": {"operation": "<not executable by iterator executor>"}}"#,
            ),
            ("tree", ""),
            ("tree", "-> <not executable by iterator executor>"),
        ],
    );
    assert_eq!(lines.len(), 12, "{lines:?}");
    for line in &lines {
        assert!(
            line.starts_with("problem\t") && line.len() < 80,
            "{lines:?}"
        );
    }
    let read = run(
        r#"local value = dpm.json_decode(' { "a" : [ 1, -2.5e3, true, null, [], {} ], "b\\n\\u00e9\\ud83d\\ude00\\\\u0041" : "\\"" } ')
           print(#value.a, value.a[1], value.a[2], value.a[3], value.a[4] == dpm.NULL, next(value.a[6]))
           for name, text in pairs(value) do if name ~= 'a' then print((name:gsub('\n', 'N')), text) end end"#,
        &[],
    );
    assert_eq!(read, ["6\t1\t-2500\ttrue\ttrue\tnil", "bNé😀\\u0041\t\""]);
}

both! {
    fn prepared_statements(server) {
        let base = tables(server);
        let explained = Explained::start(server, ALL);
        let mut conn = connect(explained.port);
        conn.query_drop(format!("USE {base}")).unwrap();
        for value in ["sesame1", "sesame2", "z"] {
            let rows: Vec<i32> = conn.exec("SELECT a FROM t WHERE b = ? AND a + 0 > ?", (value, 0)).unwrap();
            assert_eq!(rows.len(), if value == "z" { 4 } else { 0 });
        }
        let line = explained.line("SELECT a FROM t WHERE b = ? AND a + ? > ?");
        assert!(line.contains("full_scan") && line.contains(&format!("database={base}")), "{line}");
        conn.exec_drop("UPDATE t SET b = ? WHERE b = ?", ("sesame3", "x")).unwrap();
        let line = explained.line("UPDATE t SET b = ? WHERE b = ?");
        assert!(line.contains("flags=full_scan"), "{line}");
        // Without parameters, and gone before it is prepared again.
        for _ in 0..3 {
            let statement = conn.prep("SELECT COUNT(*) FROM u WHERE v = 'sesame4'").unwrap();
            conn.exec_drop(&statement, ()).unwrap();
            conn.close(statement).unwrap();
        }
        assert!(explained.line("SELECT COUNT(*) FROM u WHERE v = ?").contains("full_scan"));
        assert!(conn.prep("SELEKT").is_err());
        conn.exec_drop("SELECT id FROM t WHERE id = ?", (None::<i32>,)).unwrap();
        explained.line("SELECT id FROM t WHERE id = ?");
        let seen = explained.seen();
        assert!(seen.contains(&("SELECT a FROM t WHERE b = ? AND a + ? > ?".to_owned(), 3)), "{seen:?}");
        assert!(seen.contains(&("SELECT COUNT(*) FROM u WHERE v = ?".to_owned(), 3)), "{seen:?}");
        let written = String::from_utf8_lossy(&explained.dpm.output()).into_owned();
        assert!(!written.contains("sesame"), "{written}");
        assert_eq!(server.sql(&format!("SELECT COUNT(*) FROM {base}.t WHERE b = 'sesame3'")), "1\n");
        explained.dpm.assert_no_errors();
    }
}

both! {
    fn the_database_is_followed(server) {
        let bases = [tables(server), tables(server), tables(server)];
        let explained = Explained::start(server, ALL);
        // Without session tracking, so that only the commands tell.
        let mut wire = Wire::login_empty(explained.port, PLAIN);
        let mut asked = 0;
        let mut ask = |wire: &mut Wire, database: &str| {
            asked += 1;
            wire.rows(&format!("SELECT a FROM t WHERE b = 'x' AND {asked} = {asked}"));
            let expected = format!("database={database} ");
            eventually("it is explained", || explained.lines(&expected).len() == asked);
            let lines = explained.lines(&expected);
            assert!(lines.iter().all(|line| line.contains("full_scan") && !line.contains("error=")), "{lines:?}");
            asked = 0;
        };
        wire.query(&format!("USE {}", bases[0]));
        ask(&mut wire, &bases[0]);
        wire.command(com::INIT_DB, bases[1].as_bytes());
        assert!(matches!(wire.answer(), Answer::Ok(_)));
        ask(&mut wire, &bases[1]);
        assert!(matches!(wire.query("USE nowhere"), Answer::Err(1049, ..)));
        wire.command(com::INIT_DB, b"nowhere");
        assert!(matches!(wire.answer(), Answer::Err(1049, ..)));
        assert!(matches!(wire.query(&format!("/* a comment */ use `{}`", bases[2])), Answer::Ok(_)));
        ask(&mut wire, &bases[2]);
        drop(wire);
        // By the server's session tracking, and from the login on.
        let mut conn = mysql::Conn::new(crate::support::options(explained.port).db_name(Some(bases[0].clone()))).unwrap();
        let _: Vec<i32> = conn.query("SELECT 5 + a FROM t WHERE b = 'x'").unwrap();
        let line = explained.line("SELECT ? + a FROM t WHERE b = ?");
        assert!(line.contains(&format!("database={} ", bases[0])), "{line}");
        explained.dpm.assert_no_errors();
    }
}

#[test]
fn the_user_is_followed() {
    let server = mariadb();
    let base = tables(server);
    let explained = Explained::start(server, ALL);
    let mut wire = Wire::login_empty(explained.port, MODERN);
    wire.rows(&format!("SELECT 1 FROM {base}.t"));
    assert!(
        explained
            .line(&format!("SELECT ? FROM {base}.t"))
            .contains("user=empty query=")
    );
    assert_eq!(wire.change_user(USER, PASSWORD)[0], 0);
    wire.rows(&format!("SELECT 1 + 2 FROM {base}.t"));
    assert!(
        explained
            .line(&format!("SELECT ? + ? FROM {base}.t"))
            .contains(&format!("user={USER} database=test query="))
    );
    explained.dpm.assert_no_errors();
}

both! {
    fn nothing_else_is_explained_let_alone_run(server) {
        let base = tables(server);
        let explained = Explained::start(server, ALL);
        // EXECUTE may choose another database: the server says which it is.
        let mut wire = Wire::login_empty(explained.port, MODERN | caps::SESSION_TRACK);
        wire.query(&format!("USE {base}"));
        for statement in [
            "SELECT 1 FROM t; DELETE FROM t", "DO 1", "SET @a = (SELECT MAX(a) FROM t)", "BEGIN", "COMMIT",
            "EXPLAIN SELECT 1 FROM t", "SHOW TABLES", "INSERT INTO u (t_id) VALUES (77)", "", "SELEKT", "CREATE TABLE c (a INT)",
            "ALTER TABLE c ADD b INT", "PREPARE s FROM 'DELETE FROM u'", "EXECUTE s",
        ] {
            wire.query(statement);
            if statement.contains(';') {
                wire.answer();
            }
        }
        wire.query("INSERT INTO t (a, b) VALUES (1, 'one'), (2, 'two')");
        assert_eq!(explained.lines("").len(), 0, "{:?}", explained.lines(""));
        // In the default mode this is two statements. Here it is one, with two values.
        wire.query("SET sql_mode = 'NO_BACKSLASH_ESCAPES'");
        wire.rows(r"SELECT a FROM t WHERE b = 'x\' OR b = '; DELETE FROM t; -- sesame '");
        wire.query("SET sql_mode = 'ANSI_QUOTES'");
        wire.rows(r#"SELECT a FROM t WHERE "b" = 'x' OR a = 5"#);
        wire.query("SET sql_mode = ''");
        wire.rows("SELECT a + 1 FROM t");
        explained.line("SELECT a + ? FROM t");
        assert_eq!(server.sql(&format!("SELECT COUNT(*) FROM {base}.t")), "2\n");
        let written = String::from_utf8_lossy(&explained.dpm.output()).into_owned();
        assert!(!written.contains("sesame") && !written.contains("DELETE"), "{written}");
        explained.dpm.assert_no_errors();
    }
}

#[test]
fn the_side_connection_may_fail() {
    let server = mariadb();
    let base = tables(server);
    let scan = |explained: &Explained, rounds: usize| {
        let mut wire = Wire::login_empty(explained.port, MODERN);
        let begun = Instant::now();
        for round in 0..rounds {
            let columns = vec!["a"; round + 1].join(" + ");
            assert_eq!(
                wire.rows(&format!("SELECT {columns} FROM {base}.t")).len(),
                6
            );
        }
        assert!(
            begun.elapsed() < Duration::from_secs(10),
            "the client has waited"
        );
    };

    // Nobody is there.
    let explained = Explained::beside(server, process::free_port(), ALL);
    scan(&explained, 130);
    assert!(
        explained
            .dpm
            .line("autoexplain: nothing can be explained")
            .contains("ERROR 2003 (HY000)")
    );
    assert_eq!(explained.status("waiting"), "100");
    assert_eq!(explained.status("dropped"), "30");
    assert!(
        explained
            .status("side_connection")
            .starts_with("ERROR 2003")
    );
    assert_eq!(explained.dpm.count("nothing can be explained"), 1);
    assert_eq!(explained.lines("").len(), 0);
    explained.dpm.assert_no_errors();

    // It is not let in.
    let side = format!(
        "{{ host = '127.0.0.1', port = {}, user = '{USER}', pass = 'wrong' }}",
        server.port
    );
    let explained = Explained::with(server, &side, ALL, PASSTHROUGH);
    scan(&explained, 3);
    assert!(
        explained
            .dpm
            .line("autoexplain: nothing can be explained")
            .contains("ERROR 1045 (28000)")
    );
    explained.dpm.assert_no_errors();

    // It accepts the login, and then falls silent.
    let mock = MockServer::new();
    let explained = Explained::beside(server, mock.port, &format!("{ALL}, timeout = 200"));
    std::thread::scope(|scope| {
        scope.spawn(|| {
            let mut side = mock.accept_login(PLAIN);
            assert_eq!(
                side.read_command(),
                (com::QUERY, b"SET SESSION TRANSACTION READ ONLY".to_vec())
            );
            assert!(side.closed(), "it is given up");
        });
        scan(&explained, 5);
        let line = explained.dpm.line("autoexplain: nothing can be explained");
        assert!(line.contains("ERROR 3024 (HY000)"), "{line}");
        scan(&explained, 5);
    });
    explained.dpm.assert_no_errors();
}

both! {
    fn the_side_connection_comes_back(server) {
        let base = tables(server);
        let side = format!("{{ host = '127.0.0.1', port = {}, user = '{USER}', pass = '{PASSWORD}', \
            attributes = {{ program_name = 'explains' }} }}", server.port);
        let explained = Explained::with(server, &side, ALL, PASSTHROUGH);
        let mut wire = Wire::login_empty(explained.port, MODERN);
        wire.query(&format!("USE {base}"));
        wire.rows("SELECT a FROM t");
        explained.line("SELECT a FROM t");
        // All connections except the one that asks and the client's.
        let own = wire.rows("SELECT CONNECTION_ID()")[0][0].clone();
        explained.line("SELECT CONNECTION_ID()");
        let ids = server.sql(&format!(
            "SELECT ID FROM information_schema.PROCESSLIST WHERE USER = '{USER}' AND DB = '{base}' AND ID NOT IN (CONNECTION_ID(), {own})"
        ));
        assert_eq!(ids.lines().count(), 1, "{ids}");
        server.sql(&format!("KILL {}", ids.trim()));
        wire.rows("SELECT a, b FROM t");
        assert!(!explained.line("SELECT a, b FROM t").contains("error="));
        explained.dpm.assert_no_errors();
    }
}

#[test]
fn an_explain_that_takes_too_long_is_given_up() {
    let server = mariadb();
    let base = tables(server);
    let explained = Explained::start(server, &format!("{ALL}, timeout = 300"));
    let mut wire = Wire::login_empty(explained.port, MODERN);
    wire.query(&format!("USE {base}"));
    wire.rows("SELECT a FROM u, t");
    explained.line("SELECT a FROM u, t");
    // A lock that the client has itself, and others wait for.
    wire.query("LOCK TABLES t WRITE");
    wire.rows("SELECT a + 1 FROM t");
    let line = explained.line("SELECT a + ? FROM t");
    assert!(line.contains("error=\"ERROR "), "{line}");
    wire.query("UNLOCK TABLES");
    wire.rows("SELECT a, a FROM t");
    let line = explained.line("SELECT a, a FROM t");
    assert!(line.contains("full"), "{line}");
    explained.dpm.assert_no_errors();
}

#[test]
fn shapes_are_bounded() {
    let server = mariadb();
    let base = tables(server);
    let explained = Explained::start(server, &format!("{ALL}, max_shapes = 3"));
    let mut wire = Wire::login_empty(explained.port, MODERN);
    wire.query(&format!("USE {base}"));
    wire.rows("SELECT a FROM t");
    for round in 1..=8 {
        wire.rows(&format!("SELECT a{} FROM t", ", a".repeat(round)));
        wire.rows("SELECT a FROM t");
    }
    eventually("all are explained", || explained.status("waiting") == "0");
    let seen = explained.seen();
    assert_eq!(
        seen[0],
        ("SELECT a FROM t".to_owned(), 9),
        "used all the time, never forgotten"
    );
    assert_eq!(seen.len(), 3);
    assert!(seen[1].0.contains(&", a".repeat(8)), "{seen:?}");
    assert_eq!(explained.status("shapes_forgotten"), "6");
    assert_eq!(explained.lines("query=\"SELECT a FROM t\"").len(), 1);
    // What was forgotten is new when it comes back.
    wire.rows("SELECT a, a FROM t");
    eventually("it is explained again", || {
        explained.lines("query=\"SELECT a, a FROM t\"").len() == 2
    });
    explained.dpm.assert_no_errors();
}

both! {
    fn show_plans(server) {
        let base = tables(server);
        let explained = Explained::start(server, ALL);
        explained.sql(server, &base, "SELECT * FROM t WHERE b = 'sesame'; SELECT COUNT(*) FROM u");
        explained.line("SELECT COUNT(*) FROM u");
        let ask = |sql: &str| {
            Cli::client(server.flavour, explained.admin).args(["-udba", "-psecret", "-e", sql]).run()
        };
        let said = ask("SHOW PLANS LIKE '%where b%'").out();
        let row: Vec<&str> = said.trim_end_matches('\n').split('\t').collect();
        assert_eq!(row.len(), 13, "{said}");
        assert_eq!((row[0].len(), row[1], row[2], row[3]), (32, &*base, USER, "1"));
        assert_eq!(&row[7..], ["slow", "full_scan,no_index", "6", "t", "NULL", "SELECT * FROM t WHERE b = ?"]);
        let said = ask("show full plans like '%WHERE B%';").out();
        assert!(said.ends_with("\tt: access=ALL key=- rows=6 where\n"), "{said}");
        // (Clients send some queries by themselves.)
        assert!(ask("SHOW PLANS").out().lines().count() >= 2);
        assert_eq!(ask("SHOW PLANS LIKE 'nothing'").out(), "");
        for wrong in ["SHOW PLANES", "SHOW PLANS LIKE", "SHOW FULPLANS", "DROP TABLE t", "SHOW PLANS WHERE 1"] {
            let done = ask(wrong);
            assert!(done.err().contains("ERROR 1064 (42000)") && done.err().contains("SHOW [FULL] PLANS"), "{}", done.err());
        }
        assert_eq!(ask("RESET PLANS; SHOW PLANS").out(), "");
        explained.sql(server, &base, "SELECT * FROM t WHERE b = 'sesame'");
        eventually("it is explained again", || explained.lines("query=\"SELECT * FROM t WHERE b = ?\"").len() == 2);
        let refused = connect_as(explained.admin, "dba", "wrong").unwrap_err().to_string();
        assert!(refused.contains("1045"), "{refused}");
        explained.dpm.assert_no_errors();
    }
}

both! {
    fn as_a_link_of_a_chain_before_clients_of_the_proxys_own(server) {
        let base = tables(server);
        let side = format!("{{ host = '127.0.0.1', port = {}, user = '{USER}', pass = '{PASSWORD}' }}", server.port);
        let attach = format!(
            "local counts = {{ new_row = function(row) return row end, new_command = function(cmd) print('command ' .. cmd:command()) end }}
             dpml.proxy_new_clients(listener, dpml.chain {{ counts, explain, dpml.chain {{ explain }} }}, {{
               users = {{ joe = {{ password = 'joe' }}, ann = {{ password = 'ann' }} }},
               backend = {{ host = arg[1], port = tonumber(arg[2]), user = '{USER}', pass = '{PASSWORD}' }},
             }})"
        );
        let explained = Explained::with(server, &side, ALL, &attach);
        let mut wire = Wire::login_as(explained.port, "joe", "joe", MODERN);
        wire.query(&format!("USE {base}"));
        assert_eq!(wire.rows("SELECT b FROM t WHERE b = 'x'"), [["x"]]);
        let line = explained.line("SELECT b FROM t WHERE b = ?");
        assert!(line.contains(&format!("user=joe database={base} ")), "{line}");
        // Seen by either of the two.
        assert_eq!(explained.seen()[0].1, 2);
        // Another user has another server.
        for (round, user) in ["ann", "joe", "ann"].iter().enumerate() {
            wire.change_user(user, user);
            wire.rows(&format!("SELECT a{} FROM {base}.t", " + a".repeat(round)));
            let line = explained.line(&format!("SELECT a{} FROM {base}.t", " + a".repeat(round)));
            assert!(line.contains(&format!("user={user} database=test query=")), "{line}");
        }
        assert!(explained.seen().iter().all(|shape| shape.1 == 2), "{:?}", explained.seen());
        drop(wire);
        explained.dpm.assert_no_errors();
    }
}

#[test]
fn what_is_slow_is_explained_even_if_it_fails() {
    let server = mariadb();
    let base = tables(server);
    let explained = Explained::start(server, "threshold = 150, server_flags = false");
    let mut wire = Wire::login_empty(explained.port, MODERN);
    wire.query(&format!("USE {base}"));
    wire.rows("SELECT a FROM t WHERE b = 'z'");
    wire.rows("SELECT SLEEP(0.1) FROM t WHERE id = 1");
    wire.rows("SELECT SLEEP(0.2), a FROM t WHERE id = 1");
    let line = explained.line("SELECT SLEEP(?), a FROM t WHERE id = ?");
    let duration = line
        .split("duration_ms=")
        .nth(1)
        .unwrap()
        .split(' ')
        .next()
        .unwrap();
    assert!(
        (200.0..2000.0).contains(&duration.parse::<f64>().unwrap()),
        "{line}"
    );
    let slow =
        "SET STATEMENT max_statement_time = 0.2 FOR SELECT COUNT(*) FROM t, u WHERE SLEEP(1) = 5";
    wire.query("SET max_statement_time = 0.2");
    assert!(
        matches!(
            wire.query("SELECT COUNT(*) FROM t, u WHERE SLEEP(1) = a"),
            Answer::Err(1969, ..)
        ),
        "{slow}"
    );
    explained.line("SELECT COUNT(*) FROM t, u WHERE SLEEP(?) = a");
    assert_eq!(explained.lines("").len(), 2, "{:?}", explained.lines(""));
    explained.dpm.assert_no_errors();
}

#[test]
fn a_sample_is_explained() {
    let server = mariadb();
    let base = tables(server);
    let explained = Explained::start(
        server,
        "threshold = 60000, server_flags = false, sample = 0.5",
    );
    let mut wire = Wire::login_empty(explained.port, MODERN);
    for _ in 0..200 {
        wire.rows(&format!("SELECT a FROM {base}.t WHERE id = 1"));
    }
    assert!(
        explained
            .line(&format!("SELECT a FROM {base}.t WHERE id = ?"))
            .contains("reason=sample")
    );
    let seen = explained.seen()[0].1;
    assert!((50..150).contains(&seen), "about half: {seen}");
    explained.dpm.assert_no_errors();
}

#[test]
fn a_report_function_that_fails_harms_nobody() {
    let server = mariadb();
    let base = tables(server);
    let explained = Explained::start(
        server,
        &format!("{ALL}, report = function() error('oops') end"),
    );
    let mut wire = Wire::login_empty(explained.port, MODERN);
    for round in 0..3 {
        wire.rows(&format!("SELECT a{} FROM {base}.t", ", a".repeat(round)));
    }
    eventually("each is reported", || explained.lines("").len() == 3);
    assert_eq!(explained.dpm.count("its report function has failed"), 3);
    explained.dpm.assert_no_errors();
}

#[test]
fn options() {
    let lines = run(
        "local function try(options)
           print((select(2, pcall(dpml.autoexplain, options)):gsub('^.-: ', '', 1)))
         end
         try()
         try {}
         try { side = {}, treshold = 5 }
         for name, value in pairs { threshold = -1 } do try { side = {}, [name] = value } end
         try { side = {}, sample = 2 }
         try { side = {}, interval = 0 }
         try { side = {}, format = 'xml' }
         try { side = {}, max_shapes = 0 }
         try { side = {}, report = 'x' }
         local explain = dpml.autoexplain { side = {} }
         print(#explain:shapes_seen(), explain:status().side_connection)",
        &[],
    );
    let parts = [
        "expected a table of options, got nil",
        "side: expected a table of dpml.connect's options, got nil",
        "there is no option treshold",
        "threshold: expected milliseconds, got -1",
        "sample: expected a number from 0 to 1, got 2",
        "interval: expected seconds, got 0",
        "format: expected traditional, json or tree, got xml",
        "max_shapes: expected a number from 1 on, got 0",
        "report: expected a function, got x",
        "0\tnot needed yet",
    ];
    assert_eq!(lines.len(), parts.len(), "{lines:?}");
    for (line, part) in lines.iter().zip(parts) {
        assert!(line.contains(part), "{line} {part}");
    }
}

// server:on_answer ---------------------------------------------------------------------------------

/// A passthrough with a watcher of these options, which prints what it is told.
fn told(server: &Server, options: &str) -> Dpm {
    Dpm::start(
        &format!(
            "local h = require 'harness'
             h.listen(function(client)
               local server = dpm.connect(arg[1], tonumber(arg[2]))
               h.pairs[client:id()] = {{ client, server }}
               client:register(dpm.MY_CLOSING, function(id) h.pairs[id] = nil end)
               server:on_answer(function(cmd, ending, ms, status, its_client)
                 print('TOLD', cmd and cmd:command(), cmd and h.quote(cmd:argument():sub(1, 30)),
                   ending and (ending.errnum and ending:errnum() or 'fine'), ms >= 1000, bit.band(status, 32) ~= 0, its_client == client)
               end{options})
               dpm.proxy_connect(client, server)
             end)"
        ),
        server,
    )
}

both! {
    fn answers_are_told(server) {
        let base = tables(server);
        let dpm = told(server, "");
        for shape in [PLAIN, MODERN] {
            let before = dpm.lines("TOLD\t").len();
            let mut wire = Wire::login_empty(dpm.port(), shape);
            wire.query("DO 1");
            wire.query("SELEKT");
            wire.rows(&format!("SELECT a FROM {base}.t WHERE b = 'x'; DO 2; SELECT SLEEP(1.1)"));
            wire.answer();
            wire.answer();
            wire.command(com::INIT_DB, base.as_bytes());
            wire.answer();
            wire.command(com::STATISTICS, b"");
            wire.read();
            wire.rows("SELECT 'last'");
            let long = format!("SELECT LENGTH('{}')", "x".repeat(300_000));
            assert_eq!(wire.rows(&long), [["300000"]]);
            drop(wire);
            let quoted = format!("SELECT a FROM {base}.t WHERE b = 'x'; DO 2");
            eventually("all are told", || dpm.lines("TOLD\t").len() == before + 7);
            assert_eq!(dpm.lines("TOLD\t")[before..], [
                "3\tDO 1\tfine\tfalse\tfalse\ttrue".to_owned(),
                "3\tSELEKT\t1064\tfalse\tfalse\ttrue".to_owned(),
                format!("3\t{}\tfine\ttrue\ttrue\ttrue", &quoted[..30]),
                format!("2\t{base}\tfine\tfalse\tfalse\ttrue"),
                "9\t\tfine\tfalse\tfalse\ttrue".to_owned(),
                "3\tSELECT 'last'\tfine\tfalse\tfalse\ttrue".to_owned(),
                "nil\tnil\tfine\tfalse\tfalse\ttrue".to_owned(),
            ]);
        }
        dpm.assert_no_errors();
    }
}

both! {
    fn only_answers_of_interest_are_told(server) {
        let base = tables(server);
        let dpm = told(server, ", { slower = 1000, status = dpm.SERVER_QUERY_NO_INDEX_USED }");
        for shape in [PLAIN, MODERN] {
            let before = dpm.lines("TOLD\t").len();
            let mut wire = Wire::login_empty(dpm.port(), shape);
            for _ in 0..20 {
                wire.rows(&format!("SELECT a FROM {base}.t WHERE id = 1"));
            }
            wire.rows("SELECT SLEEP(1.1)");
            wire.rows(&format!("SELECT a FROM {base}.t WHERE b = 'x'"));
            wire.query("DO 1");
            drop(wire);
            eventually("they are told", || dpm.lines("TOLD\t").len() >= before + 3);
            let lines = &dpm.lines("TOLD\t")[before..];
            assert_eq!(lines[0], "3\tSELECT SLEEP(1.1)\tfine\ttrue\tfalse\ttrue");
            assert!(lines[1].contains("\tfine\tfalse\ttrue\t"), "{lines:?}");
            assert_eq!(lines[2], "3\tDO 1\tfine\tfalse\tfalse\ttrue");
            assert_eq!(lines.len(), 3);
        }
        dpm.assert_no_errors();
    }
}

#[test]
fn a_watcher_that_fails_harms_nobody() {
    let dpm = Dpm::start(
        "local h = require 'harness'
         h.listen(function(client)
           local server = dpm.connect(arg[1], tonumber(arg[2]))
           h.pairs[client:id()] = { client, server }
           server:on_answer(function() error('oops') end)
           server:on_answer(function(cmd) print('and then ' .. cmd:argument()) end)
           print((select(2, pcall(client.on_answer, client, print))))
           print((select(2, pcall(server.on_answer, server))))
           print((select(2, pcall(server.on_answer, server, print, { faster = 1 }))))
           print((select(2, pcall(server.on_answer, server, print, { slower = 'x' }))))
           print((select(2, pcall(server.on_answer, server, print, { status = 2 ^ 20 }))))
           dpm.proxy_connect(client, server)
         end)",
        mariadb(),
    );
    let mut wire = Wire::login_empty(dpm.port(), MODERN);
    assert_eq!(wire.rows("SELECT 'fine'"), [["fine"]]);
    dpm.line("oops");
    dpm.line("and then SELECT 'fine'");
    for part in [
        "conn:on_answer: only servers answer",
        "expected a function",
        "there is no option faster, only slower, status",
        "slower: expected a number of milliseconds, got",
        "status: expected a sum of SERVER_* flags, got",
    ] {
        dpm.line(part);
    }
    let mut wire = Wire::login_empty(dpm.port(), MODERN);
    assert_eq!(wire.rows("SELECT 'still fine'"), [["still fine"]]);
}
