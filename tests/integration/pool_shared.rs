//! What holds no connection of a pool, although it looks as if it might.

use super::pool::{login, pool, value};
use crate::support::wire::{Answer, Wire, caps, com};
use crate::support::{Dpm, Server, all, eventually};

/// A client that may send several statements at once.
fn login_multi(dpm: &Dpm) -> Wire {
    Wire::login_as(dpm.port(), "ann", "p", caps::BASE | caps::MULTI)
}

/// Whether another client gets the only connection.
fn is_shared(other: &mut Wire) -> bool {
    matches!(other.query("DO 0"), Answer::Ok(_))
}

/// A schema with procedures.
fn schema(server: &Server) -> String {
    let schema = server.database();
    server.sql(&format!(
        "USE {schema}; CREATE PROCEDURE shows() SELECT 1; CREATE PROCEDURE adds() DO 1"
    ));
    schema
}

all! {
    fn procedures_with_results_hold_nothing(server) {
        let schema = schema(server);
        let dpm = pool(server, 1, "");
        let (mut one, mut two) = (login_multi(&dpm), login(&dpm));
        for sql in [
            format!("CALL {schema}.shows()"),
            format!("SELECT 1; CALL {schema}.shows(); CALL {schema}.adds(); SELECT 2"),
        ] {
            one.outcomes(com::QUERY, sql.as_bytes());
            assert!(is_shared(&mut two), "{sql}");
        }
    }
}

all! {
    fn what_servers_do_not_understand_holds_nothing(server) {
        let dpm = pool(server, 1, "");
        let (mut one, mut two) = (login_multi(&dpm), login(&dpm));
        for sql in ["nonsense", "SELECT 'x", "SELECT 1 /* x", "SIGNAL SQLSTATE '45000'", "DO 1; nonsense; DO 2", "CALL test.missing()", "SELECT test.missing(1)"] {
            one.outcomes(com::QUERY, sql.as_bytes());
            assert!(is_shared(&mut two), "{sql}");
        }
    }
}

all! {
    /// The answer is one packet, and the client has it before all is known about it.
    fn preparing_what_has_no_values_holds_nothing(server) {
        let dpm = pool(server, 1, "");
        let (mut one, mut two) = (login(&dpm), login(&dpm));
        one.outcomes(com::STMT_PREPARE, b"DO 1");
        assert!(is_shared(&mut two));
    }
}

all! {
    fn other_values_for_a_statement_hold_nothing(server) {
        if !server.flavour.is_mariadb() {
            return;
        }
        let dpm = pool(server, 1, "");
        let (mut one, mut two) = (login(&dpm), login(&dpm));
        let before = value(&mut one, "SELECT @@sort_buffer_size");
        let changed = value(&mut one, "SET STATEMENT sort_buffer_size = 65536 FOR SELECT @@sort_buffer_size");
        assert_eq!(changed, "65536");
        assert!(is_shared(&mut two));
        for sql in ["SET STATEMENT time_zone='-11:30', sql_mode='no such mode' FOR SELECT 1", "SET STATEMENT time_zone='+01:00' FOR nonsense"] {
            assert!(matches!(one.query(sql), Answer::Err(..)), "{sql}");
            assert!(is_shared(&mut two), "{sql}");
            let zone = value(&mut two, "SELECT @@time_zone");
            assert_eq!(value(&mut one, "SELECT @@time_zone"), zone, "{sql}");
        }
        assert_eq!(value(&mut one, "SELECT @@sort_buffer_size"), before);
        assert!(is_shared(&mut two));
    }
}

all! {
    /// The pool's own settings show in no list of variables.
    fn lists_of_variables_are_the_clients(server) {
        let dpm = pool(server, 1, "");
        let mut direct = Wire::login_empty(server.port, caps::BASE);
        let mut pooled = login(&dpm);
        let trackers = |wire: &mut Wire, sql: &str| {
            let mut rows = wire.rows(sql);
            rows.retain(|row| row[0].starts_with("session_track"));
            (rows, wire.rows("SHOW WARNINGS"))
        };
        for sql in ["SHOW VARIABLES", "show session variables where variable_name like 'session%'"] {
            assert_eq!(trackers(&mut pooled, sql), trackers(&mut direct, sql), "{sql}");
        }
        for wire in [&mut pooled, &mut direct] {
            wire.query("SET session_track_schema = OFF, character_set_results = utf16");
        }
        let [got, wanted] = [&mut pooled, &mut direct].map(|wire| wire.exchange(com::QUERY, b"SHOW VARIABLES LIKE 'session%'"));
        let rows = |packets: Vec<Vec<u8>>| packets.into_iter().filter(|packet| packet[0] != 0xFE).collect::<Vec<_>>();
        for (got, wanted) in rows(got).iter().zip(&rows(wanted)) {
            assert_eq!(got.escape_ascii().to_string(), wanted.escape_ascii().to_string());
        }
    }
}

all! {
    /// What the proxy answers has all flags that the server's answers have.
    fn answers_of_the_proxys_own_tell_of_quotes(server) {
        if !server.flavour.is_mariadb() {
            return;
        }
        let dpm = pool(server, 1, "");
        let (mut one, mut two) = (login(&dpm), login(&dpm));
        one.query("SET sql_mode = 'ANSI_QUOTES'");
        let Answer::Rows { status: direct, .. } = one.query("SELECT 1") else { panic!("no rows") };
        assert!(is_shared(&mut two));
        let Answer::Rows { status, .. } = one.query("SHOW WARNINGS") else { panic!("no rows") };
        assert_eq!(status, direct);
    }
}

all! {
    /// A transaction that was begun and not used lets its connection go; its status stays.
    fn answers_of_the_proxys_own_tell_of_transactions(server) {
        let dpm = pool(server, 1, "");
        let (mut one, mut two) = (login(&dpm), login(&dpm));
        for sql in ["START TRANSACTION", "START TRANSACTION READ ONLY"] {
            one.query(sql);
            let Answer::Rows { status: direct, .. } = one.query("SELECT 1") else { panic!("no rows") };
            assert!(is_shared(&mut two), "{sql}");
            let Answer::Rows { status, .. } = one.query("SELECT @@warning_count") else { panic!("no rows") };
            assert_eq!(status, direct, "{sql}");
            one.query("ROLLBACK");
        }
    }
}

all! {
    /// MariaDB reports nothing of `SET @@x` in a routine.
    fn variables_that_routines_set_silently_are_their_clients(server) {
        let schema = server.database();
        server.sql(&format!(
            "USE {schema};
             CREATE PROCEDURE sets(n INT) SET SESSION div_precision_increment = n;
             CREATE PROCEDURE sets_silently(n INT) SET @@div_precision_increment = n"
        ));
        let dpm = pool(server, 1, "");
        let (mut one, mut two) = (login(&dpm), login(&dpm));
        one.query(&format!("CALL {schema}.sets(12)"));
        one.query(&format!("CALL {schema}.sets_silently(2)"));
        assert_eq!(value(&mut two, "SELECT @@div_precision_increment"), "4");
        assert_eq!(value(&mut one, "SELECT @@div_precision_increment"), "2");
    }
}

all! {
    /// MariaDB does not report `SET @@x`, so the connection is asked for it before others get it. If the connection dies
    /// before that, its client is not shown what it has not set.
    fn a_session_that_is_lost_unread_is_not_made_up(server) {
        let dpm = pool(server, 1, "");
        let mut client = login(&dpm);
        let thread = value(&mut client, "SELECT CONNECTION_ID()");
        client.query("SET @@sql_mode = 'ANSI_QUOTES'");
        server.sql(&format!("KILL {thread}"));
        eventually("the connection is gone", || {
            server.sql(&format!("SELECT COUNT(*) FROM information_schema.processlist WHERE id = {thread}")).trim() == "0"
        });
        dpm.settle();
        match server.flavour.is_mariadb() {
            true => assert!(client.closed(), "nobody knows what it has set"),
            false => assert_eq!(value(&mut client, "SELECT @@sql_mode"), "ANSI_QUOTES"),
        }
        assert_ne!(value(&mut login(&dpm), "SELECT CONNECTION_ID()"), thread);
    }
}
