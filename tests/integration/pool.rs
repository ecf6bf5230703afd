//! The pool: many clients over few connections to servers.

use crate::support::dpm::Launch;
use crate::support::wire::{Answer, Wire, caps};
use crate::support::{Dpm, Server, all};

/// A pool of so many connections, at which "ann" logs in with the password "p".
fn pool(server: &Server, size: u32, options: &str) -> Dpm {
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

fn login(dpm: &Dpm) -> Wire {
    Wire::login_as(dpm.port(), "ann", "p", caps::BASE)
}

/// The first value of the first row.
fn value(wire: &mut Wire, sql: &str) -> String {
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
