//! The pool: many clients over few connections to servers.

use crate::support::dpm::Launch;
use crate::support::wire::{Answer, Wire, caps, com, error};
use crate::support::{Dpm, Server, all};

/// A pool of so many connections, at which "ann" logs in with the password "p".
pub fn pool(server: &Server, size: u32, options: &str) -> Dpm {
    server.sql(
        "CREATE USER IF NOT EXISTS pooled@'%' IDENTIFIED BY 'b'; GRANT ALL ON *.* TO pooled@'%'",
    );
    Launch::script(&format!(
        "local dpml = require 'dpml'
         local l = require('harness').listen(function() end)
         pool = dpml.pool(l, {{
           servers = {{ {{ host = '127.0.0.1', port = tonumber(arg[1]) }} }},
           users = {{ ann = {{ password = 'p' }} }}, backend = {{ user = 'pooled', password = 'b' }},
           size = {size}, {options} }})"
    ))
    .arg(server.port)
    .start()
}

pub fn login(dpm: &Dpm) -> Wire {
    Wire::login_as(dpm.port(), "ann", "p", caps::BASE)
}

/// The first value of the first row.
pub fn value(wire: &mut Wire, sql: &str) -> String {
    match wire.query(sql) {
        Answer::Rows { rows, .. } => match &rows[0][0] {
            Some(value) => String::from_utf8_lossy(value).into_owned(),
            None => "NULL".to_string(),
        },
        other => panic!("{sql}: {other:?}"),
    }
}

all! {
    fn clients_share_a_connection(server) {
        let dpm = pool(server, 1, "");
        let mut clients: Vec<Wire> = (0..5).map(|_| login(&dpm)).collect();
        let thread = value(&mut clients[0], "SELECT CONNECTION_ID()");
        for client in &mut clients {
            assert_eq!(value(client, "SELECT CONNECTION_ID()"), thread);
        }
    }
}

all! {
    fn each_client_has_its_own_variables(server) {
        let dpm = pool(server, 1, "");
        let (mut one, mut two) = (login(&dpm), login(&dpm));
        one.query("SET time_zone = '+01:00', sql_mode = 'ANSI_QUOTES'");
        one.query("USE test");
        two.query("SET time_zone = '+02:00'");
        for _ in 0..3 {
            assert_eq!(value(&mut one, "SELECT @@time_zone"), "+01:00");
            assert_eq!(value(&mut two, "SELECT @@time_zone"), "+02:00");
            assert_eq!(value(&mut one, "SELECT @@sql_mode"), "ANSI_QUOTES");
            assert_ne!(value(&mut two, "SELECT @@sql_mode"), "ANSI_QUOTES");
            assert_eq!(value(&mut one, "SELECT DATABASE()"), "test");
            assert_eq!(value(&mut two, "SELECT DATABASE()"), "NULL");
        }
    }
}

all! {
    /// A plug-in sees commands and results of a pooled client as of any other, and none of the pool's own.
    fn plugins_see_pooled_clients(server) {
        let plugin = "plugin = {
            new_client = function(client, server, auth) print('new ' .. auth:user() .. ' ' .. tostring(server)) end,
            new_command = function(cmd, id, client) if cmd:command() == dpm.COM_QUERY then print('command ' .. cmd:argument()) end end,
            new_row = function(row, id, client, rset) print('row ' .. rset:parse_row_array(row)[1]) end,
            finished_result = function(ok, id, client) print('finished') end,
        },";
        let dpm = pool(server, 1, plugin);
        let (mut one, mut two) = (login(&dpm), login(&dpm));
        one.query("SET time_zone = '+01:00'");
        two.query("SELECT 2");
        one.query("SELECT 1");
        dpm.line("row 1");
        dpm.settle();
        assert_eq!(dpm.lines("new "), ["ann nil", "ann nil"]);
        assert_eq!(dpm.lines("command "), ["SET time_zone = '+01:00'", "SELECT 2", "SELECT 1"]);
        assert_eq!(dpm.lines("row "), ["2", "1"]);
        assert_eq!(dpm.lines("finished").len(), 3);
    }
}

all! {
    /// A transaction keeps its connection; whoever dies in one has its locks given back.
    fn a_transaction_keeps_its_connection(server) {
        server.sql("CREATE TABLE IF NOT EXISTS test.kept (id INT PRIMARY KEY); REPLACE INTO test.kept VALUES (1)");
        let dpm = pool(server, 2, "");
        let (mut one, mut two) = (login(&dpm), login(&dpm));
        one.query("BEGIN");
        let thread = value(&mut one, "SELECT CONNECTION_ID()");
        one.query("UPDATE test.kept SET id = 2 WHERE id = 1");
        for _ in 0..3 {
            assert_ne!(value(&mut two, "SELECT CONNECTION_ID()"), thread);
            assert_eq!(value(&mut one, "SELECT CONNECTION_ID()"), thread);
        }
        two.query("SET SESSION innodb_lock_wait_timeout = 2");
        drop(one);
        assert!(matches!(two.query("UPDATE test.kept SET id = 3 WHERE id = 1"), Answer::Ok(_)), "the lock is gone");
    }
}

all! {
    /// Whoever has not asked for several statements in a query cannot be tricked into them.
    fn several_statements_are_for_those_who_asked_for_them(server) {
        let dpm = pool(server, 1, "");
        let mut one = login(&dpm);
        let mut two = Wire::login_as(dpm.port(), "ann", "p", caps::BASE | caps::MULTI);
        for _ in 0..2 {
            let answer = one.query("DO 1; DO 2");
            assert!(matches!(answer, Answer::Err(1064, ..)), "{answer:?}");
            assert!(matches!(two.query("DO 1; DO 2"), Answer::Ok(_)));
            assert_eq!(two.read()[0], 0, "the OK of the second");
        }
    }
}

all! {
    /// Whoever keeps a connection and says nothing is closed as by a server, and its transaction is rolled back.
    fn silent_clients_do_not_keep_connections_for_ever(server) {
        server.sql("CREATE TABLE IF NOT EXISTS test.silent (id INT PRIMARY KEY); REPLACE INTO test.silent VALUES (1)");
        let dpm = pool(server, 2, "max_hold = 1");
        let (mut one, mut two) = (login(&dpm), login(&dpm));
        one.query("BEGIN");
        one.query("UPDATE test.silent SET id = 2 WHERE id = 1");
        one.wait_for_data();
        one.seq = 0;
        let Answer::Err(4031, state, _) = error(&one.read()) else { panic!("no error") };
        assert_eq!(state, "HY000");
        assert!(one.closed());
        assert!(matches!(two.query("UPDATE test.silent SET id = 3 WHERE id = 1"), Answer::Ok(_)));
    }
}

all! {
    /// A client without a schema gets a connection that has none, as no command leads back to that.
    fn clients_without_a_schema_have_connections_of_their_own(server) {
        let dpm = pool(server, 2, "");
        let (mut one, mut two) = (login(&dpm), login(&dpm));
        one.query("USE test");
        let (first, second) = (value(&mut one, "SELECT CONNECTION_ID()"), value(&mut two, "SELECT CONNECTION_ID()"));
        for _ in 0..3 {
            assert_eq!(value(&mut one, "SELECT CONNECTION_ID()"), first);
            assert_eq!(value(&mut two, "SELECT CONNECTION_ID()"), second);
            assert_eq!(value(&mut two, "SELECT DATABASE()"), "NULL");
        }
    }
}

all! {
    /// A session that is reset begins anew, but in its schema, as at a server.
    fn a_reset_leaves_the_schema(server) {
        let dpm = pool(server, 1, "");
        let (mut client, mut other) = (login(&dpm), login(&dpm));
        for sql in ["USE test", "SET time_zone = '+03:00', @a = 1, autocommit = 0", "CREATE TEMPORARY TABLE of_session (id INT)"] {
            assert!(matches!(client.query(sql), Answer::Ok(_)), "{sql}");
        }
        client.command(com::RESET_CONNECTION, b"");
        assert_eq!(client.read()[0], 0);
        let zone = value(&mut other, "SELECT @@time_zone");
        for (sql, expected) in [("DATABASE()", "test"), ("@@time_zone", &zone), ("@a", "NULL"), ("@@autocommit", "1"), ("LAST_INSERT_ID()", "0")] {
            assert_eq!(value(&mut client, &format!("SELECT {sql}")), expected, "{sql}");
        }
        assert!(matches!(client.query("SELECT * FROM of_session"), Answer::Err(1146, ..)));
    }
}
