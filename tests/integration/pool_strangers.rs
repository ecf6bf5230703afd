//! Clients of a pool with other settings and capabilities, who take each other's connection away between any two
//! statements.

use crate::pool::{pool, value};
use crate::support::all;
use crate::support::wire::{Answer, Wire, caps};

const SETTINGS: [&str; 3] = [
    "SET sql_mode = 'ANSI_QUOTES,NO_BACKSLASH_ESCAPES', time_zone = '+03:00', character_set_results = latin1",
    "SET sql_mode = 'IGNORE_SPACE', time_zone = '-05:00', autocommit = 0, sql_select_limit = 1",
    "SET sql_mode = 'STRICT_ALL_TABLES', time_zone = '+09:30', foreign_key_checks = 0",
];

const STATEMENTS: [&str; 7] = [
    "SELECT CAST('a stranger' AS SIGNED)",
    "SELECT no_such_column",
    "SELECT 1 UNION SELECT 1",
    "BEGIN",
    "SELECT COUNT(*) * 0 FROM information_schema.SCHEMATA",
    "ROLLBACK",
    "DO 1",
];

/// What makes clients share connections, or not.
const CAPABILITIES: [u32; 2] = [caps::BASE, caps::BASE | caps::LOCAL_FILES | caps::MULTI];

all! {
    fn last_insert_ids_stay_with_their_clients(server) {
        let dpm = pool(server, 2, "queue_timeout = 20,");
        let clients = CAPABILITIES.iter().flat_map(|capabilities| SETTINGS.iter().map(move |set| (capabilities, set)));
        let mut clients: Vec<Wire> = clients.map(|(capabilities, set)| {
            let mut client = Wire::login_as(dpm.port(), "ann", "p", *capabilities);
            client.query(set);
            client.query("USE mysql");
            client
        }).collect();
        for (own, client) in clients.iter_mut().enumerate() {
            value(client, &format!("SELECT LAST_INSERT_ID({})", 4711 + own));
        }
        for turn in 0..20 {
            for (own, client) in clients.iter_mut().enumerate() {
                // Each does something else.
                client.query(STATEMENTS[(turn * (own + 1)) % STATEMENTS.len()]);
                client.query("ROLLBACK");
                let id = value(client, "SELECT LAST_INSERT_ID()");
                assert_eq!(id, (4711 + own).to_string(), "client {own} in turn {turn}");
            }
        }
    }
}

all! {
    /// Before a connection is closed for clients that cannot use it, what its last client may ask for is read.
    fn what_is_unread_is_saved_before_a_connection_is_closed_for_others(server) {
        let dpm = pool(server, 1, "");
        let [mut one, mut other] = CAPABILITIES.map(|capabilities| Wire::login_as(dpm.port(), "ann", "p", capabilities));
        let answers = [
            ("SELECT LAST_INSERT_ID(4711)", "SELECT LAST_INSERT_ID()", "4711"),
            ("SET @@time_zone = '+07:00'", "SELECT @@time_zone", "+07:00"),
            // Both at once.
            ("SELECT CAST('x' AS SIGNED), LAST_INSERT_ID(5)", "SELECT @@warning_count", "1"),
            ("SELECT 1 FROM DUAL WHERE LAST_INSERT_ID(6)", "SELECT LAST_INSERT_ID()", "6"),
        ];
        for (sets, asks, wanted) in answers {
            let answer = one.query(sets);
            assert!(!matches!(answer, Answer::Err(..)), "{sets}: {answer:?}");
            assert_eq!(value(&mut other, "SELECT 1"), "1");
            assert_eq!(value(&mut one, asks), wanted, "{sets}");
        }
    }
}
