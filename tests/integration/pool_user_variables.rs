//! `restore_user_variables`: a client's user variables go with it from connection to connection, or hold the one they are on.

use std::time::Duration;

use crate::pool::{login, pool, value};
use crate::support::wire::{Answer, Wire, com};
use crate::support::{Flavour, Server, let_time_pass, mariadb, server};

/// The same test on each kind of server that lists user variables.
macro_rules! everywhere {
    ($(#[$about:meta])* fn $name:ident($server:ident) $body:block) => {
        $(#[$about])*
        mod $name {
            use super::*;

            fn check($server: &Server) $body

            #[test]
            fn mariadb() {
                check(super::mariadb());
            }

            #[test]
            fn mariadb11() {
                if let Some(server) = server::mariadb11() {
                    check(server);
                }
            }

            #[test]
            fn mysql() {
                if let Some(server) = listing_mysql() {
                    check(server);
                }
            }
        }
    };
}

/// A MySQL that knows its sessions.
fn listing_mysql() -> Option<&'static Server> {
    static SERVER: std::sync::OnceLock<Server> = std::sync::OnceLock::new();
    Flavour::MySql.available().then(|| {
        SERVER.get_or_init(|| Server::start_own(Flavour::MySql, &["--performance-schema=ON"]))
    })
}

const RESTORED: &str = "restore_user_variables = true, queue_timeout = 2,";

#[track_caller]
fn done(wire: &mut Wire, sql: &str) {
    let answer = wire.query(sql);
    assert!(!matches!(answer, Answer::Err(..)), "{sql}: {answer:?}");
}

/// Values of all kinds.
const VALUES: &[&str] = &[
    "1",
    "-5",
    "18446744073709551615",
    "-9223372036854775808",
    "CAST(5 AS UNSIGNED)",
    "1.50",
    "-0.000000000000000000000000000001",
    "CAST('9' AS DECIMAL)",
    "1.5e0",
    "-1e300",
    "1/3e0",
    "'text'",
    "''",
    "_latin1 X'E9'",
    "_utf8mb4 X'F09F9880' COLLATE utf8mb4_bin",
    "X'00FF'",
    "_binary 'x'",
    "NULL",
    "REPEAT('x', 5000)",
    "'it''s \\\\ \"quoted\"'",
];

everywhere! {
    /// Their types, character sets and collations, too.
    fn each_client_has_its_own(server) {
        let dpm = pool(server, 1, RESTORED);
        let (mut one, mut two) = (login(&dpm), login(&dpm));
        // The type of a NULL is not kept.
        let ask = "SELECT @v, HEX(@v), IF(@v IS NULL, 'NULL', COLLATION(@v)), @v IS NULL";
        for of in VALUES {
            done(&mut one, &format!("SET @v = {of}"));
            let before = one.query(ask);
            assert_eq!(value(&mut two, "SELECT IFNULL(@v, 'mine')"), "mine", "{of}");
            done(&mut two, "SET @v = 'mine', @w = 2");
            for _ in 0..2 {
                let Answer::Rows { columns, rows, .. } = one.query(ask) else { panic!("{of}") };
                let Answer::Rows { columns: expected_columns, rows: expected, .. } = &before else { panic!("{of}") };
                assert_eq!(&rows, expected, "{of}");
                assert_eq!(value(&mut one, "SELECT @w IS NULL"), "1", "{of}");
                // Nor how wide a decimal may be.
                if !["NULL", "1.50", "-0.000000000000000000000000000001", "CAST('9' AS DECIMAL)"].contains(of) {
                    assert_eq!(&columns, expected_columns, "{of}");
                }
                assert_eq!(value(&mut two, "SELECT CONCAT(@v, @w)"), "mine2");
            }
        }
        dpm.assert_no_errors();
    }
}

everywhere! {
    /// Also where the text alone tells, and no report does; with them go settings, and names that have to be quoted.
    fn however_they_are_set(server) {
        let schema = server.database();
        server.sql(&format!("USE {schema}; CREATE PROCEDURE p(OUT a INT) SET a = 7, @inside = 8"));
        let dpm = pool(server, 1, RESTORED);
        let (mut one, mut two) = (login(&dpm), login(&dpm));
        done(&mut two, &format!("USE {schema}"));
        done(&mut one, &format!("USE {schema}"));
        done(&mut one, "SET NAMES latin1, time_zone = '+03:00'");
        for (sql, ask, expected) in [
            ("SELECT 1, 2 INTO @a, @b", "CONCAT(@a, @b)", "12"),
            ("SELECT @c := 3", "@c", "3"),
            ("CALL p(@out)", "CONCAT(@out, @inside)", "78"),
            ("SET @`odd ``name` = 5", "@`odd ``name`", "5"),
            ("SET @A = 9", "@a", "9"),
        ] {
            done(&mut one, sql);
            for _ in 0..2 {
                assert_eq!(value(&mut two, &format!("SELECT {ask} IS NULL")), "1", "{sql}");
                assert_eq!(value(&mut one, &format!("SELECT {ask}")), expected, "{sql}");
            }
        }
        assert_eq!(value(&mut one, "SELECT CONCAT(@a, @b, @c, @out, @inside, @@time_zone)"), "92378+03:00");
        // A session that begins anew has none.
        one.command(com::RESET_CONNECTION, b"");
        assert_eq!(one.read()[0], 0);
        assert_eq!(value(&mut one, "SELECT CONCAT_WS(',', @a, @b, @c)"), "");
        // Nor does anybody get those of a client that has left.
        done(&mut one, "SET @left = 1");
        drop(one);
        assert_eq!(value(&mut two, "SELECT @left IS NULL"), "1");
        dpm.assert_no_errors();
    }
}

everywhere! {
    /// What cannot be restored holds the connection.
    fn what_is_too_long_is_kept(server) {
        let dpm = pool(server, 1, RESTORED);
        let (mut one, mut two) = (login(&dpm), login(&dpm));
        done(&mut one, "SET @long = REPEAT('x', 1500000)");
        assert!(matches!(two.query("SELECT 1"), Answer::Err(1040, ..)));
        assert_eq!(value(&mut one, "SELECT LENGTH(@long)"), "1500000");
        drop(one);
        assert_eq!(value(&mut two, "SELECT @long IS NULL"), "1");
        dpm.assert_no_errors();
    }
}

everywhere! {
    /// A connection that is replaced or dies takes only with it what was on it alone: then its client is told.
    fn connections_come_and_go(server) {
        let dpm = pool(server, 1, "restore_user_variables = true, max_lifetime = 1,");
        let (mut one, mut two) = (login(&dpm), login(&dpm));
        done(&mut one, "SET @kept = 5");
        let thread = value(&mut one, "SELECT CONNECTION_ID()");
        let_time_pass(Duration::from_millis(2000));
        assert_ne!(value(&mut one, "SELECT CONNECTION_ID()"), thread);
        assert_eq!(value(&mut one, "SELECT @kept"), "5");
        // It is known, and the connection of the other one dies.
        let thread = value(&mut two, "SELECT CONNECTION_ID()");
        // It may have been replaced already.
        let _ = server.try_sql(&format!("KILL {thread}"));
        assert_eq!(value(&mut one, "SELECT @kept"), "5");
        let dpm = pool(server, 1, RESTORED);
        let mut one = login(&dpm);
        done(&mut one, "SET @kept = 6");
        let thread = value(&mut one, "SELECT CONNECTION_ID()");
        server.sql(&format!("KILL {thread}"));
        assert!(one.closed(), "nobody knows the value");
    }
}

/// Where the account may not list them, or the server has no list, they hold the connection.
fn unlisted(server: &Server, account: &str) {
    let dpm = crate::support::dpm::Launch::script(&format!(
        "local dpml = require 'dpml'
         local l = require('harness').listen(function() end)
         pool = dpml.pool(l, {{
           servers = {{ {{ host = '127.0.0.1', port = tonumber(arg[1]) }} }},
           users = {{ ann = {{ password = 'p' }} }}, {account}, size = 1, {RESTORED} }})"
    ))
    .arg(server.port)
    .start();
    let (mut one, mut two) = (login(&dpm), login(&dpm));
    done(&mut one, "SET @kept = 5");
    for _ in 0..2 {
        assert!(matches!(two.query("SELECT 1"), Answer::Err(1040, ..)));
        assert_eq!(value(&mut one, "SELECT @kept"), "5");
    }
}

#[test]
fn an_account_that_may_not_list_them() {
    let Some(server) = listing_mysql() else {
        return;
    };
    server.sql("CREATE USER unlisting@'%' IDENTIFIED BY 'b'");
    unlisted(
        server,
        "backend = { user = 'unlisting', password = 'b' }, hold_opaque = false",
    );
}

#[test]
fn a_server_that_has_no_list() {
    if let Some(server) = server::mysql() {
        unlisted(server, "backend = { user = 'empty' }");
    }
}

everywhere! {
    /// Reading what a client has set can be the first use of a transaction that was only begun: the transaction's client
    /// stays with its connection then, and is served.
    fn a_transaction_that_reading_begins_stays_with_its_client(server) {
        let dpm = pool(server, 1, "restore_user_variables = true, queue_timeout = 10,");
        let (mut one, mut two) = (login(&dpm), login(&dpm));
        done(&mut one, "BEGIN");
        done(&mut one, "SET @a = 4711");
        two.command(com::QUERY, b"SELECT @a IS NULL");
        assert_eq!(two.silent(Duration::from_millis(500)), !server.flavour.is_mariadb());
        assert_eq!(value(&mut one, "SELECT @a"), "4711");
        done(&mut one, "COMMIT");
        let Answer::Rows { rows, .. } = two.answer() else { panic!("no rows") };
        assert_eq!(rows, [[Some("1".into())]]);
        assert_eq!(value(&mut one, "SELECT @a"), "4711");
    }
}
