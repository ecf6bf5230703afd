use super::*;

const PLAIN: Mode = Mode {
    no_backslash_escapes: Some(false),
    ansi_quotes: Some(false),
    plain_charset: true,
};

/// A server's catalogue as its rows tell it.
struct Server {
    reading: Reading,
    exact: Vec<(&'static str, Option<&'static str>)>,
    routines: Vec<[Option<&'static str>; 6]>,
    views: Vec<[Option<&'static str>; 3]>,
    triggers: Vec<[Option<&'static str>; 6]>,
    loadable: Vec<[Option<&'static str>; 1]>,
    privileges: Vec<[Option<&'static str>; 1]>,
    defaults: Vec<[Option<&'static str>; 2]>,
}

impl Server {
    fn new(harmless: &[&str]) -> Server {
        Server {
            reading: Reading::new(true, Harmless::new(harmless.iter().copied())),
            exact: Vec::new(),
            routines: Vec::new(),
            views: Vec::new(),
            triggers: Vec::new(),
            loadable: Vec::new(),
            privileges: vec![[None]],
            defaults: Vec::new(),
        }
    }

    fn function(mut self, name: &'static str, body: &'static str) -> Server {
        let row = [
            Some("shop"),
            Some(name),
            Some("FUNCTION"),
            Some("SQL"),
            Some(body),
            Some(""),
        ];
        self.routines.push(row);
        self
    }

    fn procedure(mut self, name: &'static str, body: Option<&'static str>) -> Server {
        let row = [
            Some("shop"),
            Some(name),
            Some("PROCEDURE"),
            Some("SQL"),
            body,
            Some(""),
        ];
        self.routines.push(row);
        self
    }

    fn view(mut self, schema: &'static str, name: &'static str, query: &'static str) -> Server {
        self.views.push([Some(schema), Some(name), Some(query)]);
        self
    }

    fn trigger(mut self, table: &'static str, body: &'static str) -> Server {
        let row = [
            Some("shop"),
            Some("r"),
            Some("shop"),
            Some(table),
            Some(body),
            Some(""),
        ];
        self.triggers.push(row);
        self
    }

    fn read(mut self) -> Catalogue {
        fn all<const N: usize>(reading: &mut Reading, rows: &[[Option<&str>; N]]) {
            for row in rows {
                reading.row(&row.map(|value| value.map(str::as_bytes)));
            }
        }
        let reading = &mut self.reading;
        loop {
            let queries = reading.queries();
            if queries.is_empty() {
                break;
            }
            for query in queries {
                let query = String::from_utf8(query).unwrap();
                match query.split(" FROM ").nth(1).unwrap_or(&query) {
                    from if from.contains("ROUTINES") => all(reading, &self.routines),
                    from if from.contains("VIEWS") => all(reading, &self.views),
                    from if from.contains("TRIGGERS") => all(reading, &self.triggers),
                    from if from.contains("mysql.func") => all(reading, &self.loadable),
                    from if from.contains("PRIVILEGES") => all(reading, &self.privileges),
                    from if from.contains("COLUMNS") => all(reading, &self.defaults),
                    show => {
                        let found = self.exact.iter().find(|(of, _)| *of == show);
                        let Some((_, text)) = found else {
                            reading.failed();
                            continue;
                        };
                        all(reading, &[[Some("x"), Some(""), *text, None]]);
                    }
                }
                reading.done();
            }
        }
        self.reading.finish()
    }
}

fn in_shop(catalogue: &Catalogue, sql: &str) -> Hides {
    catalogue.hides(sql.as_bytes(), PLAIN, Some(b"shop"))
}

#[test]
fn what_nothing_hides() {
    let catalogue = Server::new(&[])
        .function("f", "RETURN a + 1")
        .view("shop", "v", "select `shop`.`t`.`a` AS `a` from `shop`.`t`")
        .trigger("t", "SET NEW.a = 1")
        .read();
    for sql in [
        "SELECT * FROM t, v WHERE a = 1",
        "INSERT INTO t (a) VALUES (1)",
        "INSERT INTO v VALUES (1)",
        "UPDATE t SET a = COUNT(*)",
        "SET NAMES utf8mb4",
        "",
        // It is executed later.
        "CREATE VIEW w AS SELECT g(a) FROM t",
        "CREATE FUNCTION g() RETURNS INT RETURN h(1)",
        "DROP FUNCTION g",
        "GRANT EXECUTE ON FUNCTION shop.g TO u",
    ] {
        assert_eq!(in_shop(&catalogue, sql), Hides::NOTHING, "{sql}");
    }
    assert!(!catalogue.is_blind());
    // It may read what a replica does not have yet.
    let called = in_shop(&catalogue, "SELECT f(1)");
    let calls = Hides {
        calls: true,
        ..Hides::NOTHING
    };
    assert_eq!(called, calls);
}

#[test]
fn what_is_hidden_by_others() {
    let catalogue = Server::new(&[])
        .function("locks", "RETURN GET_LOCK(a, 1)")
        .function(
            "by_way",
            "BEGIN IF a THEN RETURN locks(1); END IF; RETURN 2; END",
        )
        .procedure(
            "p",
            Some("BEGIN CREATE TEMPORARY TABLE x SELECT 1; CALL q(); END"),
        )
        .procedure("q", Some("BEGIN SET @a = 1; CALL p(); END"))
        .view(
            "shop",
            "v",
            "select `by_way`(`shop`.`t`.`a`) AS `a` from `shop`.`t`",
        )
        .view(
            "shop",
            "over",
            "select `shop`.`v`.`a` AS `a` from `shop`.`v`",
        )
        .view(
            "shop",
            "plain",
            "select `shop`.`logged`.`a` AS `a` from `shop`.`logged`",
        )
        .trigger("logged", "SET @last = NEW.a")
        .read();
    let locks = Traces::NAMED_LOCKS;
    for (sql, traces) in [
        ("SELECT locks(1)", locks),
        ("SELECT SHOP.Locks(1)", locks),
        ("SELECT by_way(1)", locks),
        ("SELECT * FROM v", locks),
        ("SELECT * FROM `V`", locks),
        ("SELECT a FROM shop.over WHERE a IN (SELECT 1)", locks),
        ("DELETE FROM t WHERE a IN (SELECT a FROM over)", locks),
        ("SELECT 1; SELECT * FROM v", locks),
        ("CREATE TABLE x SELECT * FROM v", locks),
        ("DO by_way(1)", locks),
        ("SET @x = by_way(1)", locks),
        (
            "CALL p()",
            Traces::TEMPORARY_TABLES | Traces::USER_VARIABLES,
        ),
        (
            "CALL shop.q()",
            Traces::TEMPORARY_TABLES | Traces::USER_VARIABLES,
        ),
        ("INSERT INTO logged VALUES (1)", Traces::USER_VARIABLES),
        (
            "REPLACE shop.logged SELECT * FROM t",
            Traces::USER_VARIABLES,
        ),
        ("UPDATE plain SET a = 1", Traces::USER_VARIABLES),
        (
            "LOAD DATA LOCAL INFILE 'x' INTO TABLE logged",
            Traces::USER_VARIABLES,
        ),
    ] {
        let hides = in_shop(&catalogue, sql);
        assert_eq!(hides.traces, traces, "{sql}");
        assert_eq!(hides.opaque, None, "{sql}");
    }
    for sql in [
        // Triggers do not run for what is read, and these are other names.
        "SELECT * FROM logged, plain",
        "SELECT v, over.x FROM t AS over",
        "SELECT * FROM other.v",
        "SELECT 'v', `t`.`v` FROM t",
        "SHOW CREATE VIEW v",
        "DROP VIEW v",
    ] {
        assert_eq!(in_shop(&catalogue, sql), Hides::NOTHING, "{sql}");
    }
    // If the schema is not known, it may be any.
    let hides = catalogue.hides(b"SELECT * FROM v", PLAIN, None);
    assert_eq!(hides.traces, locks);
    // In another one the function is not there.
    let hides = catalogue.hides(b"SELECT locks(1)", PLAIN, Some(b"other"));
    assert_eq!(hides.opaque, Some(Doubt::Loadable));
    // A string may be a name.
    let hides = catalogue.hides(b"SELECT * FROM \"v\"", Mode::default(), Some(b"shop"));
    assert_ne!(hides, Hides::NOTHING);
}

#[test]
fn what_is_opaque() {
    let mut server = Server::new(&[])
        .procedure("secret", None)
        .procedure("dynamic", Some("EXECUTE IMMEDIATE a"))
        .procedure("by_way", Some("CALL dynamic()"))
        .function("uses_loadable", "RETURN crc64(1)")
        .view("shop", "hidden", "")
        .view(
            "shop",
            "w",
            "select `shop`.`hidden`.`a` AS `a` from `shop`.`hidden`",
        )
        .trigger("t", "")
        .view("shop", "odd", "what is this");
    server.loadable.push([Some("Sum2")]);
    server.routines.push([
        Some("shop"),
        Some("sum2"),
        Some("FUNCTION"),
        Some("SQL"),
        Some("RETURN 1"),
        Some(""),
    ]);
    server.routines.push([
        Some("shop"),
        Some("js"),
        Some("FUNCTION"),
        Some("EXTERNAL"),
        Some("RETURN 1"),
        Some(""),
    ]);
    server.routines.push([
        Some("shop"),
        Some("plsql"),
        Some("FUNCTION"),
        Some("SQL"),
        Some("RETURN 1"),
        Some("PIPES_AS_CONCAT,ORACLE"),
    ]);
    let catalogue = server.read();
    for (sql, why) in [
        ("CALL secret()", Doubt::Routine),
        ("CALL dynamic()", Doubt::Routine),
        ("CALL by_way()", Doubt::Routine),
        ("CALL no_such_procedure()", Doubt::Loadable),
        ("CALL shop.no_such_procedure()", Doubt::Missing),
        ("SELECT js()", Doubt::Routine),
        ("SELECT plsql()", Doubt::Routine),
        ("SELECT crc64('x')", Doubt::Loadable),
        ("SELECT uses_loadable()", Doubt::Loadable),
        // It hides the stored one.
        ("SELECT sum2(1)", Doubt::Loadable),
        ("SELECT * FROM hidden", Doubt::Hidden),
        ("SELECT * FROM w", Doubt::Hidden),
        ("SELECT * FROM odd", Doubt::Hidden),
        ("INSERT INTO t VALUES (1)", Doubt::Hidden),
    ] {
        assert_eq!(in_shop(&catalogue, sql).opaque, Some(why), "{sql}");
    }
    assert_eq!(in_shop(&catalogue, "SELECT shop.sum2(1)").opaque, None);
    assert_eq!(in_shop(&catalogue, "SELECT * FROM t"), Hides::NOTHING);
}

#[test]
fn what_is_declared_harmless_is_not_looked_at() {
    let catalogue = Server::new(&["shop.secret", "shop.hidden", "shop.r", "crc64", "tools.*"])
        .procedure("secret", None)
        .function("uses", "RETURN crc64(1) + tools.f(2)")
        .view("shop", "hidden", "")
        .trigger("t", "")
        .read();
    for sql in [
        "CALL secret()",
        "SELECT crc64('x'), tools.g()",
        "SELECT * FROM hidden",
        "INSERT INTO t VALUES (1)",
    ] {
        assert_eq!(in_shop(&catalogue, sql), Hides::NOTHING, "{sql}");
    }
    let uses = in_shop(&catalogue, "SELECT uses()");
    assert_eq!((uses.opaque, uses.calls), (None, true));
}

#[test]
fn what_has_quotes_is_read_exactly() {
    // As MySQL shows a body that says '''; SET @a = 1; SELECT '''.
    let shown = "BEGIN SELECT '''; SET @a = 1; SELECT '''; END";
    let mut server = Server::new(&[])
        .procedure("tricky", Some(shown))
        .procedure("gone", Some("SELECT 'x'"))
        .procedure("refused", Some("SELECT 'x'"))
        .trigger("t", "SET NEW.a = 'x'");
    server.exact = vec![
        (
            "SHOW CREATE PROCEDURE `shop`.`tricky`",
            Some("CREATE PROCEDURE `tricky`()\nBEGIN SELECT ''''; SET @a = 1; SELECT ''''; END"),
        ),
        ("SHOW CREATE PROCEDURE `shop`.`refused`", None),
        (
            "SHOW CREATE TRIGGER `shop`.`r`",
            Some("CREATE TRIGGER r BEFORE INSERT ON t FOR EACH ROW SET NEW.a = 'x'"),
        ),
    ];
    let catalogue = server.read();
    let tricky = in_shop(&catalogue, "CALL tricky()");
    assert_eq!(tricky.traces, Traces::USER_VARIABLES);
    for sql in ["CALL gone()", "CALL refused()"] {
        assert_eq!(
            in_shop(&catalogue, sql).opaque,
            Some(Doubt::Routine),
            "{sql}"
        );
    }
    assert_eq!(
        in_shop(&catalogue, "INSERT INTO t VALUES (1)"),
        Hides::NOTHING
    );
}

#[test]
fn triggers_that_cannot_be_seen() {
    let mut server = Server::new(&["shop.log"]);
    server.privileges = vec![[Some("sh\\_p")], [Some("s%p")]];
    let catalogue = server.read();
    assert!(catalogue.is_blind());
    assert_eq!(
        in_shop(&catalogue, "INSERT INTO t VALUES (1)"),
        Hides::NOTHING
    );
    let elsewhere = |sql: &str| catalogue.hides(sql.as_bytes(), PLAIN, Some(b"other"));
    for sql in [
        "INSERT INTO t VALUES (1)",
        "DELETE FROM shop.t, b.u USING shop.t, b.u",
    ] {
        assert_eq!(elsewhere(sql).opaque, Some(Doubt::Hidden), "{sql}");
    }
    for sql in [
        "SELECT * FROM t",
        "INSERT INTO shop.t VALUES (1)",
        "INSERT INTO shop.log VALUES (1)",
    ] {
        assert_eq!(elsewhere(sql), Hides::NOTHING, "{sql}");
    }
}

#[test]
fn sequences_and_packages() {
    let mut server = Server::new(&[]);
    server.defaults.push([Some("shop"), Some("counted")]);
    server.routines.push([
        Some("shop"),
        Some("pkg"),
        Some("PACKAGE BODY"),
        Some("SQL"),
        Some("x INT := 1; PROCEDURE p AS BEGIN x := 2; END;"),
        Some("ORACLE"),
    ]);
    let catalogue = server.read();
    let hides = in_shop(&catalogue, "INSERT INTO counted () VALUES ()");
    assert_eq!((hides.traces, hides.opaque), (Traces::SEQUENCES, None));
    let hides = in_shop(&catalogue, "CALL pkg.p()");
    assert_eq!(hides.traces, Traces::PACKAGE_VARIABLES);
    assert_eq!(hides.opaque, Some(Doubt::Routine));
}

#[test]
fn what_is_in_sys_is_opaque() {
    let catalogue = Server::new(&["sys.version"]).read();
    for (sql, schema, why) in [
        ("SELECT version FROM t", "shop", None),
        ("SELECT * FROM sys.session", "shop", Some(Doubt::Hidden)),
        ("SELECT * FROM session", "sys", Some(Doubt::Hidden)),
        ("SELECT sys.format_bytes(1)", "shop", Some(Doubt::Routine)),
        ("SELECT * FROM sys.version", "shop", None),
    ] {
        let hides = catalogue.hides(sql.as_bytes(), PLAIN, Some(schema.as_bytes()));
        assert_eq!(hides.opaque, why, "{sql}");
    }
}

#[test]
fn what_could_not_be_read_is_opaque() {
    for catalogue in [Catalogue::unread(), {
        let mut reading = Reading::new(false, Harmless::default());
        while !reading.queries().is_empty() {
            reading.failed();
        }
        reading.finish()
    }] {
        let why = in_shop(&catalogue, "SELECT * FROM t").opaque;
        assert_eq!(why, Some(Doubt::Hidden));
        assert!(in_shop(&catalogue, "SELECT f()").opaque.is_some());
        assert_eq!(in_shop(&catalogue, "SELECT 1"), Hides::NOTHING);
        assert_eq!(in_shop(&catalogue, "BEGIN"), Hides::NOTHING);
    }
    // It has been given up too early.
    let reading = Reading::new(true, Harmless::default());
    assert!(
        in_shop(&reading.finish(), "SELECT * FROM t")
            .opaque
            .is_some()
    );
}

#[test]
fn definitions_that_pass_by() {
    let mut catalogue = Server::new(&[]).read();
    for sql in [
        "CREATE TABLE t (a INT)",
        "CREATE TEMPORARY TABLE t SELECT 1",
        "ALTER TABLE t ADD b INT",
        "DROP TABLE t",
        "INSERT INTO view VALUES (1)",
        "SELECT 'CREATE VIEW'",
        "CREATE INDEX i ON t (a)",
        "USE a; SELECT DATABASE(); USE b",
    ] {
        assert!(!catalogue.passed(sql.as_bytes(), PLAIN), "{sql}");
    }
    assert_eq!(in_shop(&catalogue, "SELECT * FROM v"), Hides::NOTHING);
    for sql in [
        "CREATE OR REPLACE VIEW V AS SELECT 1",
        "CREATE DEFINER = u TRIGGER x BEFORE INSERT ON `T` FOR EACH ROW SET @a = 1",
        "CREATE FUNCTION f() RETURNS INT RETURN 1",
        "CREATE FUNCTION lib RETURNS STRING SONAME 'x.so'",
        "ALTER TABLE a RENAME TO b",
        "RENAME TABLE c TO d",
        "DROP DATABASE shop",
        "SELECT 1; DROP VIEW v",
    ] {
        assert!(catalogue.passed(sql.as_bytes(), PLAIN), "{sql}");
    }
    for sql in [
        "SELECT * FROM v",
        "INSERT INTO t VALUES (1)",
        "SELECT f()",
        "SELECT * FROM b",
    ] {
        assert!(in_shop(&catalogue, sql).opaque.is_some(), "{sql}");
    }
    let many = format!("CREATE VIEW v AS SELECT {}", "a, ".repeat(100_000));
    assert!(catalogue.passed(many.as_bytes(), PLAIN));
    assert!(catalogue.suspects.len() <= MAX_SUSPECTS);
}

#[test]
fn long_chains_and_circles_are_judged_in_linear_time() {
    let mut reading = Reading::new(true, Harmless::default());
    const ALL: usize = 20_000;
    for n in 0..ALL {
        let body = match n {
            0 => "RETURN GET_LOCK(a, 1)".to_string(),
            n => format!("RETURN f{}(1) + f{}(2)", n - 1, (n + 1) % ALL),
        };
        reading.row(&[
            Some(b"shop"),
            Some(format!("f{n}").as_bytes()),
            Some(b"FUNCTION"),
            Some(b"SQL"),
            Some(body.as_bytes()),
            Some(b""),
        ]);
    }
    while !reading.queries().is_empty() {
        reading.done();
    }
    let catalogue = reading.finish();
    let hides = in_shop(&catalogue, &format!("SELECT f{}(1)", ALL / 2));
    assert_eq!(hides.traces, Traces::NAMED_LOCKS);
    assert_eq!(hides.opaque, None);
}

#[test]
fn patterns_of_privileges() {
    for (text, pattern, wanted) in [
        ("shop", "shop", true),
        ("shop", "sh_p", true),
        ("shop", "sh\\_p", false),
        ("sh_p", "sh\\_p", true),
        ("shop", "s%", true),
        ("shop", "%p%", true),
        ("shop", "s%x", false),
        ("shop", "", false),
        ("", "%", true),
        ("aaaaaaaaaaaaaaaaaaaaaaaaaaaab", "%a%a%a%a%a%a%a%a%c", false),
    ] {
        let found = is_like(text.as_bytes(), pattern.as_bytes());
        assert_eq!(found, wanted, "{text} LIKE {pattern}");
    }
}
