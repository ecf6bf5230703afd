//! Connections that a server ends, at random points of a run: what clients may notice of that is the end of their own
//! connection, or an error that says that the outcome of a statement is unknown.

use std::collections::HashSet;

use rand::RngExt;
use rand::rngs::StdRng;

use crate::support::Server;
use crate::support::wire::{Wire, caps, com};

/// How many operations there are between two deaths, on average.
const EVERY: u32 = 25;

/// The name that a refusal begins with if a connection has died under a statement.
pub const UNKNOWN: &str = "outcome-unknown";

/// Ends connections.
pub struct Deaths {
    admin: Wire,
    /// How many there were.
    pub count: usize,
    /// The operation before which the last one was.
    last: Option<usize>,
    /// The last operation of each client.
    seen: Vec<usize>,
}

impl Deaths {
    pub fn new(server: &Server, clients: usize) -> Deaths {
        Deaths {
            admin: Wire::login_empty(server.port, caps::BASE),
            count: 0,
            last: None,
            seen: vec![0; clients],
        }
    }

    /// Ends one connection now and then, but none of these.
    pub fn before(&mut self, operation: usize, spared: &HashSet<u32>, dice: &mut StdRng) {
        if !dice.random_ratio(1, EVERY) {
            return;
        }
        let own: u32 = self.admin.rows("SELECT CONNECTION_ID()")[0][0]
            .parse()
            .expect("a number");
        let all = self.admin.rows("SHOW PROCESSLIST");
        let pooled = all.iter().filter(|row| row[1] == "empty");
        let pooled = pooled.filter_map(|row| row[0].parse().ok());
        let pooled: Vec<u32> = pooled
            .filter(|id| *id != own && !spared.contains(id))
            .collect();
        if pooled.is_empty() {
            return;
        }
        let id = pooled[dice.random_range(0..pooled.len())];
        // It may be gone already.
        self.admin
            .outcomes(com::QUERY, format!("KILL {id}").as_bytes());
        (self.last, self.count) = (Some(operation), self.count + 1);
    }

    /// Whether a death may be the reason for how this operation of a client ends.
    pub fn explain(&self, client: usize) -> bool {
        self.last.is_some_and(|last| last >= self.seen[client])
    }

    /// A client has done something, and knows of all deaths before.
    pub fn saw(&mut self, client: usize, operation: usize) {
        self.seen[client] = operation + 1;
    }
}
