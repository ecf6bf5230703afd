//! What a pool's clients are told of changes of their sessions, compared with what real servers tell:
//! on one connection all trackers are on, as in a pool, and on the other as the client has them.

use dpm::pool::answers::reports::{Said, Trackers, said};
use dpm::pool::state::Snapshot;
use dpm::sql::Mode;
use dpm::wire::session_changes::{self, SessionChange};
use dpm::wire::{Capabilities, Column, Ok as OkPacket, TextRow};

use crate::support::server::{Server, mariadb, mariadb11, mysql};
use crate::support::wire::{Wire, caps, com};

const CAPABILITIES: u32 = caps::BASE | caps::MULTI | caps::DEPRECATE_EOF | caps::SESSION_TRACK;

const STATEMENTS: &[&str] = &[
    "SET NAMES latin1",
    "SET NAMES utf8mb4 COLLATE utf8mb4_bin",
    "SET collation_connection = utf8mb4_unicode_ci",
    "SET character_set_connection = latin1",
    "SET character_set_results = NULL",
    "SET foreign_key_checks = 0",
    "SET autocommit = 0",
    "SET autocommit = 1",
    "SET time_zone = '+01:00', sql_mode = ''",
    "SET @a = 1",
    "USE reports",
    "SELECT 1",
    "BEGIN",
    "SELECT * FROM t",
    "INSERT INTO t VALUES (1)",
    "COMMIT",
    "START TRANSACTION READ ONLY",
    "SELECT * FROM t",
    "ROLLBACK",
    "INSERT INTO t VALUES (2)",
    "CREATE TEMPORARY TABLE x (a INT)",
    "SET autocommit = 0",
    "INSERT INTO t VALUES (3)",
    "CREATE TABLE IF NOT EXISTS t (a INT)",
    "SET autocommit = 1",
    "START TRANSACTION WITH CONSISTENT SNAPSHOT",
    "INSERT INTO t VALUES (4)",
    "CREATE TABLE IF NOT EXISTS t (a INT)",
    "COMMIT AND CHAIN",
    "LOCK TABLES t READ",
    "UNLOCK TABLES",
    "SET SESSION TRANSACTION READ WRITE",
    "SELECT * FROM missing",
];

/// What clients set.
const WISHES: &[&str] = &[
    "SET @nothing = 1",
    "SET session_track_schema = OFF",
    "SET session_track_state_change = 1",
    "SET session_track_system_variables = 'time_zone'",
    "SET session_track_system_variables = ''",
    "SET session_track_transaction_info = 'STATE'",
    "SET session_track_transaction_info = 2, session_track_schema = FALSE",
    "SET session_track_transaction_info = CHARACTERISTICS, session_track_transaction_info = DEFAULT",
];

/// Questions whose answers are made up.
const QUESTIONS: &[&str] = &[
    "SELECT @@session_track_schema",
    "select @@Session_Track_State_Change as a, @@session.session_track_schema b",
    "SELECT @@session_track_transaction_info",
    "SELECT @@session_track_system_variables",
    "SHOW VARIABLES LIKE 'session_track%'",
    "SHOW SESSION VARIABLES LIKE 'session\\_track\\_s%'",
];

fn capabilities() -> Capabilities {
    Capabilities::from_bits_retain(u64::from(CAPABILITIES))
}

/// The last packet of an answer, if it is an OK.
fn ok(packets: &[Vec<u8>]) -> Option<OkPacket> {
    OkPacket::decode(packets.last()?, capabilities()).ok()
}

fn changes(ok: &OkPacket) -> Vec<SessionChange> {
    let mut all = session_changes::decode(ok.session_changes.as_deref().unwrap_or_default())
        .expect("changes");
    // In which order the blocks come depends on which are on.
    all.sort_by_key(|one| (one.change_type, one.name.clone()));
    all
}

fn login(server: &Server) -> Wire {
    let mut wire = Wire::login_empty(server.port, CAPABILITIES);
    wire.exchange(com::QUERY, b"SET NAMES utf8mb4");
    wire.exchange(com::INIT_DB, b"reports");
    wire
}

fn snapshot(wire: &mut Wire) -> Snapshot {
    let packets = wire.exchange(com::QUERY, Snapshot::query());
    let rows = &packets[3..packets.len() - 1];
    let rows = rows.iter().map(|row| {
        let mut values = TextRow::new(row).map(Result::unwrap);
        (values.next().unwrap().unwrap(), values.next().unwrap())
    });
    Snapshot::new(rows)
}

/// The columns and rows of an answer.
fn shown(packets: &[Vec<u8>]) -> (Vec<Column>, Vec<Vec<u8>>) {
    let count = usize::from(packets[0][0]);
    let columns = packets[1..=count].iter().map(|packet| {
        let mut column = Column::decode(packet, capabilities()).expect("a column");
        column.original = Default::default();
        // After SET NAMES, MariaDB 11.8 announces another collation of the character set.
        if column.character_set == 224 {
            column.character_set = 45;
        }
        column
    });
    (
        columns.collect(),
        packets[count + 1..packets.len() - 1].to_vec(),
    )
}

#[test]
fn clients_are_told_what_their_own_servers_would_tell() {
    for server in [Some(mariadb()), mariadb11(), mysql()]
        .into_iter()
        .flatten()
    {
        server.sql("CREATE DATABASE reports; CREATE TABLE reports.t (a INT)");
        for wish in WISHES {
            let mut pooled = login(server);
            let snapshot = snapshot(&mut pooled);
            pooled.exchange(com::QUERY, &snapshot.enable_trackers());
            let mut trackers = Trackers::of(&snapshot);
            let mut private = login(server);

            let accepted = ok(&private.exchange(com::QUERY, wish.as_bytes()));
            assert!(accepted.is_some(), "{wish}");
            if let Said::Sets { settings, rest } = said(wish.as_bytes(), Mode::default()) {
                assert_eq!(trackers.set(&settings, &snapshot), Ok(()), "{wish}");
                assert_eq!(rest, None);
            }
            for question in QUESTIONS {
                let results = match said(question.as_bytes(), Mode::default()) {
                    Said::Selects(items) => trackers.select(&items, Some(b"utf8mb4")),
                    Said::Lists(pattern) => trackers.list(&pattern, Some(b"utf8mb4")),
                    other => panic!("{question}: {other:?}"),
                };
                let results = results.expect("it is known");
                assert_eq!(
                    (results.columns, results.rows),
                    shown(&private.exchange(com::QUERY, question.as_bytes())),
                    "{:?}: {wish}; {question}",
                    server.flavour
                );
            }
            for statement in STATEMENTS {
                let got = ok(&pooled.exchange(com::QUERY, statement.as_bytes()));
                let direct = ok(&private.exchange(com::QUERY, statement.as_bytes()));
                let got = got.map(|ok| trackers.show(&ok, capabilities()).unwrap_or(ok));
                assert_eq!(
                    got.as_ref().map(|ok| (changes(ok), ok.status)),
                    direct.as_ref().map(|ok| (changes(ok), ok.status)),
                    "{:?}: {wish}; {statement}",
                    server.flavour
                );
            }
        }
    }
}
