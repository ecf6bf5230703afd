//! `wait_timeout` of a pool's clients: each has its own, it acts on the client, and no connection ever has it.

use crate::pool::{login, pool, value};
use crate::support::wire::{Answer, Wire, caps};
use crate::support::{all, let_time_pass};

use std::time::Duration;

const INTERACTIVE: u32 = 1024;

#[track_caller]
fn done(wire: &mut Wire, sql: &str) {
    let answer = wire.query(sql);
    assert!(!matches!(answer, Answer::Err(..)), "{sql}: {answer:?}");
}

/// What a client hears that says nothing for longer than it may.
fn heard(mut wire: Wire) -> Vec<Vec<u8>> {
    done(&mut wire, "SET wait_timeout = 1");
    let mut packets = Vec::new();
    wire.seq = 0;
    wire.timeout(Duration::from_secs(20));
    while let Ok(packet) = wire.try_read() {
        packets.push(packet);
        wire.seq = 0;
    }
    packets
}

all! {
    /// As its own server would say it: MySQL does, and MariaDB says nothing.
    fn a_silent_client_is_closed_as_by_its_server(server) {
        let dpm = pool(server, 1, "");
        let own = heard(Wire::login_empty(server.port, caps::BASE));
        let here = heard(login(&dpm));
        assert_eq!(here, own);
        assert_eq!(own.is_empty(), server.sql("SELECT VERSION()").contains("MariaDB"));
        dpm.assert_no_errors();
    }
}

all! {
    fn each_client_has_its_own(server) {
        let dpm = pool(server, 1, "");
        let (mut one, mut two) = (login(&dpm), login(&dpm));
        let usual = value(&mut two, "SELECT @@wait_timeout");
        for (set, expected) in [
            ("SET wait_timeout = 100", "100"),
            ("SET SESSION wait_timeout = 101", "101"),
            ("SET NAMES utf8mb4, @@SESSION.sql_mode = 'ANSI_QUOTES', @@SESSION.wait_timeout = 102", "102"),
            ("SET wait_timeout = 51 + 52", "103"),
            ("SET wait_timeout = 105, nonsense = 1", "103"),
            ("SET @@local.wait_timeout := 104", "104"),
            ("SET wait_timeout = DEFAULT", &usual),
            ("SET wait_timeout = 106", "106"),
        ] {
            let answer = one.query(set);
            assert_eq!(matches!(answer, Answer::Err(1193, ..)), set.contains("nonsense"), "{set}: {answer:?}");
            for _ in 0..2 {
                // It needs the connection, which shows what the connection has.
                assert_eq!(value(&mut two, "SELECT @@wait_timeout"), usual, "{set}");
                for ask in ["@@wait_timeout", "@@session.wait_timeout AS w", "@@wait_timeout + 0"] {
                    assert_eq!(value(&mut one, &format!("SELECT {ask}")), expected, "{set}: {ask}");
                }
                for ask in ["LIKE 'wait_timeout'", "LIKE 'wait%t'", "WHERE Variable_name = 'wait_timeout'"] {
                    assert_eq!(one.rows(&format!("SHOW VARIABLES {ask}")), [["wait_timeout", expected]], "{set}: {ask}");
                }
            }
        }
        assert_eq!(value(&mut one, "SELECT @@sql_mode"), "ANSI_QUOTES");
        // All of them, in the server's order (but for names that it has in upper case).
        let all = |client: &mut Wire| client.rows("SHOW SESSION VARIABLES");
        let (mine, others) = (all(&mut one), all(&mut two));
        let names = |rows: &[Vec<String>]| {
            let names = rows.iter().map(|row| row[0].clone());
            names.filter(|name| !name.starts_with("wsrep_")).collect::<Vec<_>>()
        };
        assert!(mine.len() == others.len() && names(&mine) == names(&others));
        assert!(mine.contains(&vec!["wait_timeout".to_string(), "106".to_string()]));
        one.command(crate::support::wire::com::RESET_CONNECTION, b"");
        assert_eq!(one.read()[0], 0);
        assert_eq!(value(&mut one, "SELECT @@wait_timeout"), usual);
    }
}

all! {
    /// Interactive clients begin with the server's interactive_timeout, although their connections are none.
    fn interactive_clients_have_their_servers_other_value(server) {
        let usual = server.sql("SELECT @@global.interactive_timeout");
        server.sql("SET GLOBAL interactive_timeout = 7777");
        let dpm = pool(server, 1, "");
        let mut two = login(&dpm);
        done(&mut two, "SELECT 1");
        server.sql(&format!("SET GLOBAL interactive_timeout = {usual}"));
        let mut one = Wire::login_as(dpm.port(), "ann", "p", caps::BASE | INTERACTIVE);
        for _ in 0..2 {
            assert_eq!(value(&mut one, "SELECT @@wait_timeout"), "7777");
            assert_ne!(value(&mut two, "SELECT @@wait_timeout"), "7777");
        }
        done(&mut one, "SET interactive_timeout = 5, wait_timeout = 9");
        for _ in 0..2 {
            assert_eq!(value(&mut one, "SELECT @@wait_timeout"), "9");
            assert_eq!(value(&mut one, "SELECT @@interactive_timeout"), "5");
            assert_ne!(value(&mut two, "SELECT @@interactive_timeout"), "5");
        }
    }
}

all! {
    /// What it held is given back; who works, or waits for an answer, is not silent.
    fn silence_ends_transactions_and_nothing_else(server) {
        server.sql("CREATE TABLE IF NOT EXISTS test.mute (id INT PRIMARY KEY); REPLACE INTO test.mute VALUES (1)");
        let dpm = pool(server, 3, "");
        let (mut holder, mut busy, mut active) = (login(&dpm), login(&dpm), login(&dpm));
        for client in [&mut holder, &mut busy, &mut active] {
            done(client, "SET wait_timeout = 2");
        }
        done(&mut holder, "BEGIN");
        done(&mut holder, "UPDATE test.mute SET id = 2 WHERE id = 1");
        busy.command(crate::support::wire::com::QUERY, b"SELECT SLEEP(4)");
        // It waits for the lock of the one that is silent, and is active after that.
        done(&mut active, "UPDATE test.mute SET id = 3 WHERE id = 1");
        assert_eq!(value(&mut active, "SELECT COUNT(*) FROM test.mute WHERE id = 3"), "1");
        for _ in 0..3 {
            let_time_pass(Duration::from_millis(500));
            done(&mut active, "SELECT 1");
        }
        assert!(matches!(busy.answer(), Answer::Rows { .. }));
        assert_eq!(value(&mut busy, "SELECT 'still here'"), "still here");
        holder.timeout(Duration::from_secs(10));
        holder.seq = 0;
        while holder.try_read().is_ok() {
            holder.seq = 0;
        }
        // The connections are as they were.
        let mut other = login(&dpm);
        assert_ne!(value(&mut other, "SELECT @@wait_timeout"), "2");
        dpm.assert_no_errors();
    }
}
