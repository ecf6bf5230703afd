//! Pools: many clients over few connections to servers.
//!
//! A client of a pool has a *logical session*. While it has a connection, its session is what is on
//! that; when the connection is given to another client, what differs is set there. What cannot be
//! set makes its client keep the connection, for a reason that is told.
//!
//! Pure data and functions, which know no sockets and no clock:
//!
//! - `state`: the settings of a session, and how to get from one to another
//! - `decision`, `reason`: whether a connection is shared or kept, and why
//! - `catalogue`, `catalogues`: what routines, views and triggers hide
//! - `route`, `hints`: which server a statement may go to, and which it asks for
//! - `causal`: reads on replicas that see what was written before
//! - `diagnostics`: warnings and counts of the statement before, and who has them
//! - `reports`: what clients are told of changes of their sessions
//! - `reader`, `made_up`: statements that the proxy answers by itself, and its answers
//! - `flavour`: MariaDB or MySQL
//! - `shelf`, `queue`, `key`: free connections, those who wait for one, and who can use which
//! - `errand`: the pool's own commands, whose answers nobody else gets
//! - `client`, `backend`, `servers`: what is known of each
//! - `statements`: prepared statements, which clients and connections share
//! - `contents`: all of one pool; `above`: what a pool asks of the layer above
//! - `refusals`: what was refused
//! - `options`, `counters`
//!
//! `driver` is what acts: an observer of the proxy's.

pub mod above;
pub mod backend;
pub mod catalogue;
pub mod catalogues;
pub mod causal;
pub mod client;
pub mod contents;
pub mod counters;
pub mod decision;
pub mod diagnostics;
mod driver;
pub mod errand;
pub mod flavour;
pub mod hints;
pub mod key;
pub mod made_up;
pub mod options;
pub mod queue;
mod reader;
pub mod reason;
pub mod refusals;
pub mod reports;
pub mod route;
pub mod servers;
pub mod shelf;
pub mod state;
pub mod statements;

pub use above::Above;
pub use catalogue::{Catalogue, Harmless, Hides, Reading};
pub use causal::Consistency;
pub use contents::{Pool, PoolId};
pub use decision::{Decision, Ongoing, Policy, Return, decide, refuses};
pub use driver::control::Adopted;
pub use driver::kills::{Doing, Present};
pub use driver::opening::Opened;
pub use driver::{Pools, shown};
pub use flavour::Flavour;
pub use hints::Hints;
pub use key::Key;
pub use made_up::Results;
pub use options::PoolOptions;
pub use reason::Reason;
pub use route::{Route, route};
pub use servers::{Health, Role};
pub use state::Settings;
