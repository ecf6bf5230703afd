//! What clients ask about the statement before, once another client has had their connection: what prepared statements ask,
//! and for how long a connection waits for what it has learnt to expect.

use super::pool::{login, pool, value};
use crate::support::all;
use crate::support::outcome::Outcome;
use crate::support::wire::{Answer, Wire, com};

/// Prepares a statement without parameters.
fn prepare(client: &mut Wire, sql: &str) -> u32 {
    match client.outcomes(com::STMT_PREPARE, sql.as_bytes()).remove(0) {
        Outcome::Prepared { statement, .. } => statement,
        other => panic!("{sql}: {other:?}"),
    }
}

/// Executes it.
fn execute(client: &mut Wire, statement: u32) -> Outcome {
    let mut argument = statement.to_le_bytes().to_vec();
    argument.push(0);
    argument.extend_from_slice(&1u32.to_le_bytes());
    client.outcomes(com::STMT_EXECUTE, &argument).remove(0)
}

/// A row of the binary protocol with one number.
fn number(row: &[u8]) -> i64 {
    i64::from_le_bytes(row[2..].try_into().expect("eight bytes"))
}

all! {
    fn prepared_statements_never_ask_about_what_a_stranger_did(server) {
        let schema = server.database();
        server.sql(&format!("CREATE TABLE {schema}.t (a INT); INSERT INTO {schema}.t VALUES (1), (2), (3)"));
        let dpm = pool(server, 1, "");
        let (mut one, mut two) = (login(&dpm), login(&dpm));
        let deletes = prepare(&mut one, &format!("DELETE FROM {schema}.t LIMIT 1"));
        let asks = prepare(&mut one, "SELECT ROW_COUNT()");
        execute(&mut one, deletes);
        value(&mut two, "SELECT 2");
        let Outcome::Err(1105, _, text) = execute(&mut one, asks) else {
            panic!("another client has had the connection");
        };
        assert!(text.starts_with("diagnostics-wanted:"), "{text}");
        // It was learnt: the stranger waits.
        execute(&mut one, deletes);
        two.command(com::QUERY, b"SELECT 2");
        let Outcome::Rows { rows, .. } = execute(&mut one, asks) else {
            panic!("its connection was kept");
        };
        assert_eq!(number(&rows[0]), 1);
        assert!(matches!(two.answer(), Answer::Rows { .. }));
    }
}

all! {
    fn what_is_expected_and_does_not_come_ends_by_itself(server) {
        let dpm = pool(server, 1, "queue_timeout = 20");
        let (mut one, mut two) = (login(&dpm), login(&dpm));
        value(&mut one, "SELECT 1");
        value(&mut two, "SELECT 2");
        let refused = one.query("SELECT FOUND_ROWS() + 1");
        assert!(matches!(refused, Answer::Err(1105, ..)), "{refused:?}");
        // Both are statements about which somebody has asked, and nobody asks this time.
        for _ in 0..2 {
            assert_eq!(value(&mut one, "SELECT 1"), "1");
            assert_eq!(value(&mut two, "SELECT 2"), "2");
        }
    }
}

all! {
    fn trackers_are_not_prepared(server) {
        let dpm = pool(server, 1, "");
        let mut client = login(&dpm);
        for sql in ["SET session_track_schema = 0", "SELECT @@session_track_state_change"] {
            let outcomes = client.outcomes(com::STMT_PREPARE, sql.as_bytes());
            let Outcome::Err(1105, _, text) = &outcomes[0] else {
                panic!("{sql}: {outcomes:?}");
            };
            assert!(text.starts_with("session-track: "), "{text}");
        }
        prepare(&mut client, "SELECT 1");
    }
}
