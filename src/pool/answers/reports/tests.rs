use super::*;
use crate::pool::Results;
use crate::pool::state::Snapshot;
use crate::sql::Mode;
use crate::sql::effects::Value;
use crate::wire::TextRow;

const LIST: &[u8] = b"autocommit,character_set_client,character_set_connection,\
    character_set_results,time_zone";

fn snapshot(version: &'static str) -> Snapshot {
    let mut rows = vec![
        (&b"version"[..], Some(version.as_bytes())),
        (b"autocommit", Some(b"ON")),
        (b"time_zone", Some(b"SYSTEM")),
        (b"character_set_connection", Some(b"utf8mb4")),
        (b"collation_connection", Some(b"utf8mb4_general_ci")),
        (b"session_track_schema", Some(b"ON")),
        (b"session_track_state_change", Some(b"OFF")),
        (b"session_track_transaction_info", Some(b"OFF")),
        (b"session_track_system_variables", Some(LIST)),
    ];
    if !version.contains("MariaDB") {
        rows.push((b"session_track_gtids", Some(b"OFF")));
    }
    Snapshot::new(rows)
}

fn read(sql: &str) -> Said<'_> {
    said(sql.as_bytes(), Mode::default())
}

fn settings(sql: &str) -> (Vec<(Tracker, String)>, Option<String>) {
    let Said::Sets { settings, rest } = read(sql) else {
        panic!("{sql}: {:?}", read(sql));
    };
    let text = |value: Value| match value {
        Value::Literal(text) => String::from_utf8(text).unwrap(),
        other => format!("{other:?}"),
    };
    let settings = settings
        .into_iter()
        .map(|one| (one.tracker, text(one.value)))
        .collect();
    (settings, rest.map(|rest| String::from_utf8(rest).unwrap()))
}

#[test]
fn settings_are_taken_out_of_their_statement() {
    let one = |tracker, value: &str| vec![(tracker, value.to_string())];
    let rest = |text: &str| Some(text.to_string());
    for (sql, set, left) in [
        (
            "SET session_track_schema=0",
            one(Tracker::Schema, "0"),
            None,
        ),
        (
            "set @@session.session_track_schema := ON ;",
            one(Tracker::Schema, "ON"),
            None,
        ),
        (
            "SET LOCAL `session_track_gtids` = 'OWN_GTID'",
            one(Tracker::Gtids, "OWN_GTID"),
            None,
        ),
        (
            "SET sql_mode='', @@session_track_state_change=DEFAULT, @a = f(1, 2)",
            one(Tracker::StateChange, "Default"),
            rest("SET sql_mode='', @a = f(1, 2)"),
        ),
        (
            "SET SESSION session_track_system_variables='*', time_zone = '+01:00'",
            one(Tracker::SystemVariables, "*"),
            rest("SET time_zone = '+01:00'"),
        ),
        (
            "SET session_track_transaction_info=concat('O', 'FF')",
            one(Tracker::TransactionInfo, "Expression"),
            None,
        ),
        (
            "SET session_track_schema=-1",
            one(Tracker::Schema, "-1"),
            None,
        ),
        (
            "SET GLOBAL max_connections=1, SESSION session_track_schema=1",
            one(Tracker::Schema, "1"),
            rest("SET GLOBAL max_connections=1"),
        ),
    ] {
        assert_eq!(settings(sql), (set, left), "{sql}");
    }
}

#[test]
fn every_other_use_is_told_apart() {
    for sql in [
        "SET @a = @@session_track_schema",
        "SET session_track_schema = 1, @a = @@session_track_schema",
        "SELECT @@session_track_schema + 1",
        "SELECT @@session . session_track_schema",
        "SELECT 1, @@session_track_schema",
        "DO @@session.session_track_schema",
        "INSERT INTO t VALUES (@@session_track_schema)",
    ] {
        assert_eq!(read(sql), Said::Otherwise, "{sql}");
    }
    for sql in [
        "SELECT 'session_track_schema'",
        "SELECT session_track_schema FROM t -- @@session_track_schema",
        "SET GLOBAL session_track_schema = 1",
        "SET @a = 'session_track_schema'",
        "SHOW VARIABLES LIKE '%session_track_schema'",
        "SHOW GLOBAL VARIABLES LIKE 'session_track%'",
        "CREATE PROCEDURE p() SET session_track_schema = 1",
        "SELECT 1",
    ] {
        assert_eq!(read(sql), Said::Nothing, "{sql}");
    }
    assert_eq!(
        read("SELECT @@session_track_schema AS a, @@local.Session_Track_Gtids"),
        Said::Selects(vec![
            (Tracker::Schema, b"a"),
            (Tracker::Gtids, b"@@local.Session_Track_Gtids"),
        ])
    );
    assert_eq!(
        read("SHOW SESSION VARIABLES LIKE 'session\\_track%'"),
        Said::Lists(b"session\\_track%".to_vec())
    );
}

fn values(results: Results) -> Vec<Vec<Option<String>>> {
    let text = |value: &[u8]| String::from_utf8(value.to_vec()).unwrap();
    results
        .rows
        .iter()
        .map(|row| {
            TextRow::new(row)
                .map(|value| value.unwrap().map(text))
                .collect()
        })
        .collect()
}

#[test]
fn what_is_set_is_shown() {
    let snapshot = snapshot("9.7.4");
    let mut trackers = Trackers::of(&snapshot);
    let mut set = |sql: &str| {
        let Said::Sets { settings, .. } = read(sql) else {
            panic!("{sql}");
        };
        let result = trackers.set(&settings, &snapshot);
        (result.map_err(|err| err.errnum), trackers.clone())
    };
    assert_eq!(
        set("SET session_track_schema=0, session_track_gtids=1").0,
        Ok(())
    );
    assert_eq!(
        set("SET session_track_system_variables='time_zone'").0,
        Ok(())
    );
    assert_eq!(set("SET session_track_transaction_info='state'").0, Ok(()));
    for (sql, errnum) in [
        ("SET session_track_schema=2", 1231),
        ("SET session_track_schema='1'", 1231),
        ("SET session_track_transaction_info=x", 1231),
        ("SET session_track_system_variables=1", 1232),
        ("SET session_track_system_variables='nope'", 1105),
        ("SET session_track_gtids=ALL_GTIDS", 1105),
        (
            "SET session_track_state_change=1, session_track_schema=9",
            1231,
        ),
    ] {
        assert_eq!(set(sql).0, Err(errnum), "{sql}");
    }
    let (_, trackers) = set("SET session_track_schema=0");
    let shown = values(
        trackers
            .list(b"session\\_track%", Some(b"utf8mb4"))
            .unwrap(),
    );
    let shown: Vec<_> = shown
        .iter()
        .map(|row| row[1].as_deref().unwrap_or_default())
        .collect();
    assert_eq!(shown, ["OWN_GTID", "OFF", "OFF", "time_zone", "STATE"]);
    let fewer = trackers.list(b"%a_k\\_s%", None).unwrap();
    assert_eq!(fewer.rows.len(), 3);
    let (_, trackers) = set("SET session_track_system_variables=DEFAULT");
    let one = trackers
        .select(&[(Tracker::SystemVariables, b"x")], Some(b"latin1"))
        .unwrap();
    assert_eq!(
        values(one)[0][0].as_deref(),
        Some(std::str::from_utf8(LIST).unwrap())
    );
}

#[test]
fn reports_are_filtered() {
    let change = |change_type, name: Option<&str>, value: &str| SessionChange {
        change_type,
        name: name.map(Into::into),
        value: value.into(),
    };
    let variable = |name, value| change(change_type::SYSTEM_VARIABLES, Some(name), value);
    let ok = |changes: &[SessionChange]| OkPacket {
        status: Status::AUTOCOMMIT | Status::SESSION_STATE_CHANGED,
        session_changes: Some(session_changes::encode(changes)),
        ..OkPacket::default()
    };
    let all = Capabilities::SESSION_TRACK;
    let shown = |trackers: &mut Trackers, changes: &[SessionChange]| {
        let ok = ok(changes);
        let shown = trackers.show(&ok, all).unwrap_or(ok);
        let is_flagged = shown.status.contains(Status::SESSION_STATE_CHANGED);
        let changes = session_changes::decode(shown.session_changes.as_deref().unwrap_or(b""));
        let changes = changes.unwrap();
        assert_eq!(is_flagged, !changes.is_empty());
        changes
    };
    let reported = [
        variable("time_zone", "+01:00"),
        variable("sql_mode", ""),
        variable("last_gtid", "0-1-2"),
        change(change_type::STATE_CHANGE, None, "1"),
        change(change_type::SCHEMA, None, "test"),
        change(change_type::GTIDS, None, "x:1"),
        change(change_type::TRANSACTION_STATE, None, "I_R_____"),
        change(change_type::TRANSACTION_CHARACTERISTICS, None, ""),
    ];
    let mut of = Trackers::of(&snapshot("11.8.9-MariaDB"));
    assert_eq!(
        shown(&mut of, &reported),
        [reported[0].clone(), reported[4].clone()]
    );
    assert_eq!(shown(&mut of, &reported[1..4]), []);
    assert_eq!(
        shown(&mut of, &[variable("collation_connection", "latin1_bin")]),
        [variable("character_set_connection", "latin1")]
    );
    // Nothing to change.
    assert_eq!(of.show(&ok(&reported[..1]), all), None);
    assert_eq!(of.show(&OkPacket::default(), all), None);
    // A client that has not agreed on reports.
    let bare = of.show(&ok(&reported), Capabilities::empty()).unwrap();
    assert_eq!(
        (bare.status, bare.session_changes),
        (Status::AUTOCOMMIT, None)
    );
    // What cannot be decoded is not shown.
    let broken = OkPacket {
        session_changes: Some(b"\0\xFF".to_vec()),
        ..ok(&[])
    };
    assert_eq!(of.show(&broken, all).unwrap().session_changes, None);
}
