//! A server with the clients' databases, and the program before it.

use std::collections::BTreeSet;
use std::sync::OnceLock;

use crate::support::dpm::Launch;
use crate::support::wire::{Answer, Wire, caps};
use crate::support::{Dpm, Flavour, Server};
use crate::twin::database;

/// What each client's database has.
const DATABASE: &str = include_str!("database.sql");

/// What all have.
const SHARED: &[&str] = &[
    "CREATE ROLE pool_role",
    "GRANT pool_role TO 'empty'@'%'",
    "CREATE DATABASE bank",
    "CREATE TABLE bank.accounts (id INT PRIMARY KEY, n INT NOT NULL) ENGINE=InnoDB",
    "INSERT INTO bank.accounts VALUES (1, 1000), (2, 1000), (3, 1000), (4, 1000), (5, 1000), (6, 1000)",
];

/// What is before the server.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Before {
    /// A listener that has a server connection for each client: what the generator itself is tried with.
    Passthrough,
    /// A pool of so many connections.
    Pool { size: usize },
}

/// The servers, one of each kind for the whole run.
pub fn server(flavour: Flavour) -> Option<&'static Server> {
    static SERVERS: [OnceLock<Server>; 3] = [const { OnceLock::new() }; 3];
    if !flavour.available() {
        return None;
    }
    Some(SERVERS[flavour as usize].get_or_init(|| {
        let server = Server::start_own(
            flavour,
            &[
                "--log-bin-trust-function-creators=1",
                // A table stays open, whichever connection uses it: each time MySQL opens one anew, it takes rows into
                // account for its next number that were ignored as duplicates.
                "--table-definition-cache=4000",
                "--table-open-cache=4000",
                "--table-open-cache-instances=1",
            ],
        );
        let mut admin = Wire::login_empty(server.port, caps::BASE);
        for sql in SHARED {
            done(&mut admin, sql);
        }
        server
    }))
}

/// Starts the program.
pub fn dpm(before: Before, server: &Server) -> Dpm {
    let script = match before {
        Before::Passthrough => "require('harness').passthrough()".to_owned(),
        Before::Pool { size } => format!(
            "local dpml = require 'dpml'
             local listener = require('harness').listen(function() end)
             local pool = dpml.pool(listener, {{
               servers = {{ {{ host = arg[1], port = tonumber(arg[2]) }} }},
               users = {{ empty = {{ password = '' }} }},
               size = {size}, min_idle = 0, queue_timeout = 10,
             }})
             local admin = dpm.listener('127.0.0.1', 0)
             pool:admin(admin, {{ users = {{ empty = {{ password = '' }} }}, literals = true }})
             print('admin port ' .. admin:socket_port())"
        ),
    };
    let mut launch = Launch::script(&script).quiet().server(server);
    if let Ok(level) = std::env::var("DPM_POOL_LOG") {
        launch = launch.env("RUST_LOG", &level);
    }
    launch.start()
}

/// Asks the pool about itself; nothing without a pool.
pub fn admin(before: Before, dpm: &Dpm) -> Option<Wire> {
    if before == Before::Passthrough {
        return None;
    }
    let line = dpm.line("admin port ");
    let port = line.rsplit(' ').next()?.parse().expect("a port");
    Some(Wire::login_empty(port, caps::BASE))
}

/// Makes the databases of these clients, and of their twins, as they were at the beginning.
pub fn fill(server: &Server, clients: &BTreeSet<usize>) {
    let mut admin = Wire::login_empty(server.port, caps::BASE);
    for (client, side) in clients.iter().flat_map(|n| [(*n, 'p'), (*n, 'd')]) {
        let name = database(client, side);
        done(&mut admin, &format!("DROP DATABASE IF EXISTS {name}"));
        done(&mut admin, &format!("DROP DATABASE IF EXISTS {name}x"));
        for sql in DATABASE.lines() {
            done(&mut admin, sql.replace("{db}", &name).trim_end_matches(';'));
        }
        if server.flavour.is_mariadb() {
            done(&mut admin, "CREATE SEQUENCE s");
        }
    }
}

#[track_caller]
fn done(admin: &mut Wire, sql: &str) {
    let answer = admin.query(sql);
    assert!(matches!(answer, Answer::Ok(_)), "{sql}: {answer:?}");
}
