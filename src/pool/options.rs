//! How a pool behaves.

use std::time::Duration;

use crate::pool::routing::causal::Consistency;

/// The options of a pool. The times are those of `doc/POOLING.md`.
#[derive(Debug, Clone)]
pub struct PoolOptions {
    /// How many connections there may be to each server.
    pub size: usize,
    /// How many are kept open to each server although nobody uses them.
    pub min_idle: usize,
    /// How many prepared statements a connection keeps.
    pub max_prepared: usize,
    /// How many clients may wait.
    pub max_waiting: usize,
    /// How long a client waits for a connection.
    pub queue_timeout: Duration,
    /// How long a connection is kept that nobody uses.
    pub idle_timeout: Duration,
    /// How old a connection may become.
    pub max_lifetime: Duration,
    /// How long a client may be idle while it keeps a connection; zero: for ever.
    pub max_hold: Duration,
    /// How long a statement may take before it is ended at the server; zero: for ever.
    pub statement_timeout: Duration,
    /// How long a command waits while no server is usable.
    pub failover_timeout: Duration,
    /// How long the pool's own commands may take.
    pub errand_timeout: Duration,
    /// Whether reads go to replicas.
    pub split: bool,
    /// Whose writes a read on a replica has to see.
    pub consistency: Consistency,
    /// How long it waits for them before it goes to the primary.
    pub consistency_timeout: Duration,
    /// Whether reads whose connection has died are executed again.
    pub retry_reads: bool,
    /// Whether the layer above is told which client has which connection.
    pub tells_links: bool,
    /// Whether user variables are read when a connection is given to another client, and set again.
    pub restore_user_variables: bool,
    /// Whether what cannot be judged holds its connection.
    pub hold_opaque: bool,
    /// Routines, views and triggers that are known to change no session, as `schema.name` or `schema.*`; and
    /// loadable functions.
    pub harmless: Vec<String>,
    /// Whether clients may ask for `LASTVAL()`: then whoever uses a sequence keeps the connection.
    pub lastval: bool,
}

impl Default for PoolOptions {
    fn default() -> Self {
        PoolOptions {
            size: 20,
            min_idle: 2,
            max_prepared: 256,
            max_waiting: 1000,
            queue_timeout: Duration::from_secs(5),
            idle_timeout: Duration::from_secs(600),
            max_lifetime: Duration::from_secs(3600),
            max_hold: Duration::ZERO,
            statement_timeout: Duration::ZERO,
            failover_timeout: Duration::from_secs(10),
            errand_timeout: Duration::from_secs(5),
            split: false,
            consistency: Consistency::None,
            consistency_timeout: Duration::from_secs(1),
            retry_reads: true,
            tells_links: false,
            restore_user_variables: false,
            hold_opaque: true,
            harmless: Vec::new(),
            lastval: true,
        }
    }
}
