//! Pools: many clients over few connections to servers.
//!
//! A client of a pool has a *logical session*. While it has a connection, its session is what is on
//! that; when the connection is given to another client, what differs is set there. What cannot be
//! set makes its client keep the connection, for a reason that is told.
//!
//! Pure data and functions, which know no sockets and no clock:
//!
//! - `state`: the settings of a session, and how to get from one to another
//! - `judging`: whether a connection is shared or kept, and why; what routines, views and triggers hide
//! - `routing`: which server a statement goes to; roles, hints, reads that see what was written before
//! - `lending`: free connections, those who wait for one, and who can use which
//! - `statements`: prepared statements, which clients and connections share
//! - `answers`: what clients are told without a server: diagnostics, reports, refusals, answers made up
//! - `flavour`: MariaDB or MySQL
//! - `session`: a logical session as data, written down and read back; `record`: how
//! - `errand`: the pool's own commands, whose answers nobody else gets
//! - `client`, `backend`: what is known of each
//! - `contents`: all of one pool; `above`: what a pool asks of the layer above
//! - `options`, `counters`
//!
//! `driver` is what acts: an observer of the proxy's.

pub mod above;
pub mod answers;
pub mod backend;
pub mod client;
pub mod contents;
pub mod counters;
mod driver;
pub mod errand;
pub mod flavour;
pub mod judging;
pub mod lending;
mod names;
pub mod options;
pub mod routing;
pub mod session;
pub mod state;
pub mod statements;

pub use above::{Above, Overrule, Policies};
pub use answers::made_up::Results;
pub use contents::{Pool, PoolId};
pub use driver::control::Adopted;
pub use driver::kills::{Doing, Present};
pub use driver::moving::{NoSession, NotAdopted};
pub use driver::opening::Opened;
pub use driver::{Pools, shown};
pub use flavour::Flavour;
pub use judging::catalogue::{Catalogue, Harmless, Hides, Reading};
pub use judging::decision::{Decision, Ongoing, Policy, Return, decide, refuses};
pub use judging::reason::Reason;
pub use lending::bells::Bell;
pub use lending::common::Common;
pub use lending::key::Key;
pub use options::PoolOptions;
pub use routing::causal::Consistency;
pub use routing::hints::Hints;
pub use routing::route::{Route, route};
pub use routing::servers::{Access, Health, Role};
pub use session::LogicalSession;
pub use state::Settings;
