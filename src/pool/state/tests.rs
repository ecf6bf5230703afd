//! What follows from what: without a server.

use std::collections::BTreeMap;

use super::*;
use crate::track::{Ending, Hidden, Login, Session};
use crate::wire::session_changes::{change_type, encode};
use crate::wire::{Com, SessionChange, Status};

const MARIADB_11: &str = "11.8.9-MariaDB";
const MARIADB_10: &str = "10.11.19-MariaDB";
const MYSQL: &str = "9.7.4";

/// A few variables of a server.
fn snapshot(version: &str) -> Snapshot {
    let isolation = match version {
        MARIADB_10 => "tx_isolation",
        _ => "transaction_isolation",
    };
    let rows = [
        ("autocommit", "ON"),
        ("character_set_client", "utf8mb4"),
        ("character_set_connection", "utf8mb4"),
        ("character_set_results", ""),
        ("collation_connection", "utf8mb4_general_ci"),
        ("default_tmp_storage_engine", ""),
        ("foreign_key_checks", "ON"),
        ("init_connect", "SET @a = 1"),
        ("innodb_tmpdir", ""),
        ("last_gtid", "0-1-2"),
        ("long_query_time", "10.000000"),
        ("max_connections", "151"),
        ("max_join_size", "18446744073709551615"),
        ("session_track_schema", "ON"),
        ("sql_big_selects", "ON"),
        ("sql_mode", "STRICT_TRANS_TABLES"),
        ("statement_id", "7"),
        ("time_zone", "SYSTEM"),
        ("timestamp", "1700000000.5"),
        (isolation, "REPEATABLE-READ"),
        ("version", version),
        ("wait_timeout", "28800"),
    ];
    let gtids = (version == MYSQL).then_some(("session_track_gtids", "OFF"));
    let rows = rows.into_iter().chain(gtids);
    Snapshot::new(rows.map(|(name, value)| (name.as_bytes(), Some(value.as_bytes()))))
}

fn side(settings: &Settings) -> Side<'_> {
    Side {
        settings,
        last_insert_id: Some(0),
    }
}

fn sent(from: &Settings, to: &Settings) -> Result<Vec<String>, Obstacle> {
    let steps = differs(side(from), side(to), &snapshot(MARIADB_11))?;
    let text = |bytes: Vec<u8>| String::from_utf8(bytes).unwrap();
    Ok(steps
        .into_iter()
        .map(|step| match step {
            Step::Query(sql) => text(sql),
            Step::InitDb(name) => format!("COM_INIT_DB {}", text(name)),
        })
        .collect())
}

/// A connection whose server reports everything.
struct Talk {
    session: Session,
    snapshot: Snapshot,
}

impl Talk {
    fn new(version: &str) -> Talk {
        let login = Login {
            version: version.as_bytes(),
            ..Login::default()
        };
        let snapshot = snapshot(version);
        let mut talk = Talk {
            session: Session::new(&login, Hidden::Reported),
            snapshot,
        };
        talk.ok(Status::AUTOCOMMIT, &[]);
        talk.session.begin_reports(talk.snapshot.values().clone());
        talk
    }

    fn ok(&mut self, status: Status, changes: &[(u64, &str, &str)]) {
        let changes: Vec<_> = changes
            .iter()
            .map(|(change_type, name, value)| SessionChange {
                change_type: *change_type,
                name: (!name.is_empty()).then(|| name.as_bytes().to_vec()),
                value: value.as_bytes().to_vec(),
            })
            .collect();
        let changes = encode(&changes);
        let ending = Ending::Ok {
            status,
            insert_id: 0,
            warnings: 0,
            changes: (!changes.is_empty()).then_some(changes.as_slice()),
        };
        self.session.result(ending, true);
    }

    /// A query that succeeds, and the variables that are reported with it.
    fn query(&mut self, sql: &str, variables: &[(&str, &str)]) -> &mut Talk {
        self.session.command(Com::QUERY, sql.as_bytes());
        let variables = variables.iter();
        let changes: Vec<_> = variables
            .map(|(name, value)| (change_type::SYSTEM_VARIABLES, *name, *value))
            .collect();
        self.ok(Status::AUTOCOMMIT, &changes);
        self
    }

    fn fails(&mut self, sql: &str) -> &mut Talk {
        self.session.command(Com::QUERY, sql.as_bytes());
        self.session.result(Ending::Err(1644), true);
        self
    }

    #[track_caller]
    fn settings(&self) -> Settings {
        Settings::of(&self.session, &self.snapshot).unwrap()
    }

    #[track_caller]
    fn unknown(&self) -> (Unknown, Vec<String>) {
        let unknown = Settings::of(&self.session, &self.snapshot).unwrap_err();
        let queries = unknown.queries(&self.snapshot).into_iter();
        let queries = queries.map(|sql| String::from_utf8(sql).unwrap()).collect();
        (unknown, queries)
    }
}

fn row(values: &[Option<&str>]) -> Row {
    let values = values.iter();
    values
        .map(|value| value.map(|value| value.as_bytes().to_vec()))
        .collect()
}

#[test]
fn the_trackers_list_what_is_reported_rightly() {
    let list = |version| {
        let set = String::from_utf8(snapshot(version).enable_trackers()).unwrap();
        let (rest, list) = set.split_once("session_track_system_variables='").unwrap();
        let list = list.strip_suffix('\'').unwrap();
        let list: Vec<String> = list.split(',').map(str::to_owned).collect();
        (rest.to_owned(), list)
    };
    for version in [MARIADB_10, MARIADB_11, MYSQL] {
        let (rest, list) = list(version);
        assert_eq!(
            rest.contains("session_track_gtids='OWN_GTID'"),
            version == MYSQL
        );
        assert!(rest.contains("session_track_transaction_info='CHARACTERISTICS'"));
        if version == MARIADB_10 {
            assert_eq!(list, ["*"], "SHOW VARIABLES has no room for more");
            continue;
        }
        assert_eq!(
            list[..3],
            ["last_gtid", "collation_connection", "autocommit"]
        );
        let has = |name: &str| list.iter().any(|one| one == name);
        assert!(has("session_track_schema") && has("timestamp"));
        assert!(!has("statement_id") && !has("max_connections") && !has("version"));
        // It would hide the collation.
        assert_eq!(has("character_set_connection"), version != MARIADB_11);
    }
}

#[test]
fn a_snapshot_knows_null_and_one_name_of_each() {
    let one = snapshot(MARIADB_10);
    assert_eq!(
        one.value("transaction_isolation"),
        Some(Some(&b"REPEATABLE-READ"[..]))
    );
    assert_eq!(one.value("tx_isolation"), None);
    assert_eq!(one.value("innodb_tmpdir"), Some(None));
    assert_eq!(one.value("timestamp"), None);
    assert_eq!(one.value("max_connections"), None);
    assert_eq!(one.init_connect(), b"SET @a = 1");
    assert!(one.is_mariadb() && !snapshot(MYSQL).is_mariadb());
    assert_eq!(one, snapshot(MARIADB_10));
    assert_ne!(one, snapshot(MARIADB_11));
}

#[test]
fn a_login() {
    let fresh = Settings::default();
    let client = Settings::at_login(Some(b"shop"), "latin1", "latin1_bin");
    assert_eq!(
        sent(&fresh, &client).unwrap(),
        [
            "SET NAMES latin1 COLLATE latin1_bin,\
             @@session.character_set_results=_utf8mb4'latin1',\
             @@session.collation_connection=_utf8mb4'latin1_bin'",
            "COM_INIT_DB shop"
        ]
    );
    assert_eq!(sent(&client, &fresh), Err(Obstacle::Schema));
    assert_eq!(sent(&client, &client).unwrap(), [""; 0]);
}

#[test]
fn values_are_written_so_that_every_session_reads_them_alike() {
    let mut talk = Talk::new(MARIADB_11);
    let values: &[(&str, &str)] = &[
        ("foreign_key_checks", "OFF"),
        ("innodb_tmpdir", "5"),
        ("long_query_time", "0.500000"),
        ("max_join_size", "1000"),
        ("sql_big_selects", "ON"),
        ("sql_mode", "it's \\ \u{e9}"),
        ("transaction_isolation", "READ-COMMITTED"),
        ("wait_timeout", "5"),
    ];
    talk.query("SET foreign_key_checks = 0, sql_mode = ?", values);
    let settings = talk.settings();
    assert_eq!(
        sent(&Settings::default(), &settings).unwrap(),
        ["SET @@session.foreign_key_checks=OFF,\
          @@session.innodb_tmpdir=_utf8mb4'5',\
          @@session.long_query_time=0.500000,\
          @@session.max_join_size=1000,\
          @@session.sql_big_selects=ON,\
          @@session.sql_mode=_utf8mb4 0x69742773205c20c3a9,\
          @@session.transaction_isolation=_utf8mb4'READ-COMMITTED'"]
    );
    // The idle time is the client's, and is taken back.
    assert_eq!(settings.variable("wait_timeout"), Some(Some(&b"5"[..])));
    let mut back = sent(&settings, &Settings::default()).unwrap();
    assert!(back.remove(0).ends_with(",@@session.wait_timeout=28800"));
    // As the server calls it.
    let old = snapshot(MARIADB_10);
    let [Step::Query(set)] =
        &differs(side(&Settings::default()), side(&settings), &old).unwrap()[..]
    else {
        panic!("one SET");
    };
    assert!(String::from_utf8_lossy(set).contains("@@session.tx_isolation=_utf8mb4'READ"));
}

#[test]
fn what_a_server_does_not_have_is_an_obstacle() {
    let mut talk = Talk::new(MARIADB_11);
    talk.query("SET new_variable = 1", &[("new_variable", "1")]);
    let obstacle = Obstacle::Variable("new_variable".to_owned());
    assert_eq!(sent(&Settings::default(), &talk.settings()), Err(obstacle));
}

#[test]
fn an_id_that_is_not_known_is_set() {
    let fresh = Settings::default();
    let with = |last_insert_id| Side {
        settings: &fresh,
        last_insert_id,
    };
    let set = |from, to| differs(with(from), with(to), &snapshot(MYSQL)).unwrap();
    let five = [Step::Query(b"SET @@session.last_insert_id=5".to_vec())];
    assert_eq!(set(Some(0), Some(5)), five);
    assert_eq!(set(None, Some(5)), five);
    assert_eq!(set(Some(5), Some(5)), []);
    assert_eq!(set(Some(5), None), []);
}

/// What a server makes of the commands: its variables, schema and transaction.
#[derive(Clone, Debug, Default, PartialEq)]
struct Model {
    variables: BTreeMap<String, String>,
    schema: Vec<u8>,
    begun: Vec<String>,
}

impl Model {
    fn of(settings: &Settings, snapshot: &Snapshot) -> Model {
        let mut model = Model {
            schema: settings.schema().unwrap_or_default().to_vec(),
            begun: String::from_utf8_lossy(settings.characteristics())
                .split_terminator(';')
                .map(|statement| statement.trim().to_owned())
                .collect(),
            ..Model::default()
        };
        for name in [
            "autocommit",
            "character_set_client",
            "sql_mode",
            "time_zone",
        ] {
            let initial = snapshot.value(name).flatten();
            let value = settings.variable(name).unwrap_or(initial);
            let value = String::from_utf8_lossy(value.unwrap()).into_owned();
            model.variables.insert(name.to_owned(), value);
        }
        model
    }

    fn run(&mut self, step: &Step) {
        let sql = match step {
            Step::InitDb(name) => {
                assert!(name.is_ascii() || self.variables["character_set_client"] == "utf8mb4");
                self.schema = name.clone();
                return;
            }
            Step::Query(sql) => String::from_utf8(sql.clone()).unwrap(),
        };
        if sql == "ROLLBACK AND NO CHAIN NO RELEASE" {
            self.begun.clear();
        } else if let Some(list) = sql.strip_prefix("SET @@session.") {
            assert!(
                self.begun.is_empty(),
                "a transaction has begun before {list}"
            );
            for assignment in list.split(",@@session.") {
                let (name, value) = assignment.split_once('=').unwrap();
                let value = value.trim_start_matches("_utf8mb4").trim_matches('\'');
                self.variables.insert(name.to_owned(), value.to_owned());
            }
        } else {
            self.begun.push(sql);
        }
    }
}

/// Sessions that differ in everything.
fn all_settings() -> Vec<Settings> {
    let mut all = vec![Settings::default()];
    for schema in ["a", "\u{fc}"] {
        for charset in ["utf8mb4", "gbk"] {
            for set in ["", "autocommit", "sql_mode", "time_zone"] {
                for begin in [
                    "",
                    "START TRANSACTION;",
                    "SET TRANSACTION READ ONLY; START TRANSACTION;",
                ] {
                    let mut talk = Talk::new(MYSQL);
                    let value = if set == "autocommit" { "OFF" } else { "ANSI" };
                    let variables = [("character_set_client", charset), (set, value)];
                    let set = if set.is_empty() { 1 } else { 2 };
                    talk.query("SET character_set_client = ?", &variables[..set]);
                    // As if it had been reported.
                    talk.session
                        .learn_variable("collation_connection", Some(b"gbk_bin"));
                    talk.session.command(Com::INIT_DB, schema.as_bytes());
                    let is_off = value == "OFF" && set == 2;
                    let mut status = Status::AUTOCOMMIT;
                    status.set(Status::AUTOCOMMIT, !is_off);
                    talk.ok(status, &[(change_type::SCHEMA, "", schema)]);
                    if !begin.is_empty() {
                        talk.session.command(Com::QUERY, b"BEGIN");
                        talk.ok(
                            status | Status::IN_TRANS,
                            &[
                                (change_type::TRANSACTION_STATE, "", "T_______"),
                                (change_type::TRANSACTION_CHARACTERISTICS, "", begin),
                            ],
                        );
                    }
                    all.push(talk.settings());
                }
            }
        }
    }
    all
}

#[test]
fn from_any_settings_to_any_others() {
    let snapshot = snapshot(MYSQL);
    let all = all_settings();
    for from in &all {
        for to in &all {
            let steps = differs(side(from), side(to), &snapshot);
            if to.schema().is_none() && from.schema().is_some() {
                assert_eq!(steps, Err(Obstacle::Schema));
                continue;
            }
            let steps = steps.unwrap();
            assert_eq!(steps.is_empty(), from == to, "{from:?} {to:?}");
            let mut model = Model::of(from, &snapshot);
            model
                .variables
                .insert("collation_connection".to_owned(), String::new());
            for step in &steps {
                model.run(step);
            }
            model.variables.remove("collation_connection");
            assert_eq!(model, Model::of(to, &snapshot), "{steps:?}");
        }
    }
}

#[test]
fn what_is_mentioned_again_and_what_only_differs() {
    let mut talk = Talk::new(MYSQL);
    assert_eq!(talk.settings(), Settings::default());
    // It is the initial one, and stays even where that is another.
    talk.query(
        "SET time_zone = SYSTEM, autocommit = 1",
        &[("time_zone", "SYSTEM")],
    );
    let settings = talk.settings();
    assert_eq!(settings.variable("time_zone"), Some(Some(&b"SYSTEM"[..])));
    assert!(settings.autocommit(&talk.snapshot));
    assert_eq!(settings.variables().count(), 2);
    assert_eq!(sent(&Settings::default(), &settings).unwrap(), [""; 0]);
    // What another client had is no more mentioned.
    Settings::default().were_put_on(&mut talk.session);
    assert_eq!(talk.settings(), Settings::default());
    // A client of another has what nobody else can have.
    talk.query("SET timestamp = 1, insert_id = 2", &[("timestamp", "1")]);
    assert_eq!(talk.settings(), Settings::default());
}

#[test]
fn what_is_unknown_is_read_and_learnt() {
    let mut talk = Talk::new(MYSQL);
    talk.query(
        "SET NAMES latin1",
        &[("character_set_connection", "latin1")],
    );
    talk.query("SET foreign_key_checks = @a", &[]);
    let (unknown, queries) = talk.unknown();
    assert_eq!(
        queries,
        [
            "SELECT CAST(CONVERT(LAST_INSERT_ID() USING utf8mb4) AS BINARY),\
          CAST(CONVERT(DATABASE() USING utf8mb4) AS BINARY),\
          CAST(CONVERT(@@session.collation_connection USING utf8mb4) AS BINARY),\
          CAST(CONVERT(@@session.foreign_key_checks USING utf8mb4) AS BINARY) LIMIT 1"
        ]
    );
    let left = Settings::left_behind(&talk.session, &talk.snapshot).unwrap();
    let steps = sent(&left, &Settings::default()).unwrap();
    assert!(steps[0].contains("collation_connection=_utf8mb4'utf8mb4_general_ci'"));
    assert!(steps[0].contains("foreign_key_checks=ON"));
    let answer = row(&[Some("9"), None, Some("latin1_bin"), Some("0")]);
    unknown.learn(&mut talk.session, &talk.snapshot, &[vec![answer]]);
    let settings = talk.settings();
    assert_eq!(
        settings.variable("collation_connection"),
        Some(Some(&b"latin1_bin"[..]))
    );
    assert_eq!(
        settings.variable("foreign_key_checks"),
        Some(Some(&b"OFF"[..]))
    );
    assert_eq!(talk.session.last_insert_id().known(), Some(&9));
    // What nobody has answered is not learnt.
    talk.query("CALL p()", &[]);
    let (unknown, _) = talk.unknown();
    for answers in [
        &[][..],
        &[vec![]],
        &[vec![row(&[])]],
        &[vec![row(&[None, None])]],
    ] {
        unknown.learn(&mut talk.session, &talk.snapshot, answers);
        assert!(Settings::of(&talk.session, &talk.snapshot).is_err());
    }
}

#[test]
fn after_an_error_reports_are_due() {
    for (version, first) in [
        (MYSQL, "SELECT"),
        (MARIADB_11, "SET session_track_schema=1"),
    ] {
        let mut talk = Talk::new(version);
        talk.query("SET time_zone = '+01:00'", &[("time_zone", "+01:00")]);
        talk.fails("CALL p()");
        let (unknown, queries) = talk.unknown();
        assert!(queries[0].starts_with(first) && !unknown.is_unreadable());
        assert_eq!(Settings::left_behind(&talk.session, &talk.snapshot), None);
        talk.query(
            &queries[0],
            &[("sql_mode", "ANSI"), ("lc_time_names", "de_DE")],
        );
        let ids = vec![row(&[Some("0"), None])];
        let answers = match version {
            MYSQL => vec![ids],
            _ => vec![Vec::new(), ids],
        };
        unknown.learn(&mut talk.session, &talk.snapshot, &answers);
        let settings = talk.settings();
        assert_eq!(settings.variable("sql_mode"), Some(Some(&b"ANSI"[..])));
        assert_eq!(settings.variable("time_zone"), Some(Some(&b"+01:00"[..])));
    }
}

#[test]
fn too_much_to_remember_is_read_again() {
    let mut talk = Talk::new(MYSQL);
    let long = "x".repeat(20_000);
    talk.query("SET time_zone = ?", &[("time_zone", "+01:00")]);
    talk.query("SET sql_mode = ?", &[("sql_mode", &long)]);
    let (unknown, queries) = talk.unknown();
    // No SHOW VARIABLES, whose rows sql_select_limit cuts.
    assert_eq!(queries.len(), 1);
    assert!(queries[0].contains("@@session.time_zone") && queries[0].ends_with(" LIMIT 1"));
    let all = talk.snapshot.values().iter().map(|(name, value)| {
        let value = value.as_ref().map(|value| match name.as_str() {
            "time_zone" => "+01:00",
            "autocommit" => "1",
            "long_query_time" => "10",
            _ => std::str::from_utf8(value).unwrap(),
        });
        value.map(|value| value.as_bytes().to_vec())
    });
    let all = row(&[Some("0"), None]).into_iter().chain(all);
    unknown.learn(&mut talk.session, &talk.snapshot, &[vec![all.collect()]]);
    let settings = talk.settings();
    assert_eq!(
        settings.variables().collect::<Vec<_>>(),
        [("time_zone", Some(&b"+01:00"[..]))]
    );
}

#[test]
fn the_mode_is_that_of_the_settings() {
    let mut talk = Talk::new(MYSQL);
    let mode = talk.settings().mode(&talk.snapshot);
    assert_eq!(
        (mode.ansi_quotes, mode.no_backslash_escapes),
        (Some(false), Some(false))
    );
    assert!(mode.plain_charset);
    talk.query(
        "SET sql_mode = ?",
        &[("sql_mode", "ANSI_QUOTES,NO_BACKSLASH_ESCAPES")],
    );
    talk.query(
        "SET character_set_client = ?",
        &[("character_set_client", "sjis")],
    );
    let mode = talk.settings().mode(&talk.snapshot);
    assert_eq!(
        (mode.ansi_quotes, mode.no_backslash_escapes),
        (Some(true), Some(true))
    );
    assert!(!mode.plain_charset);
}
