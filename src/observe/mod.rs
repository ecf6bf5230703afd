//! Ready-made [observers](crate::proxy::Observer): the binding to Lua uses them, and so can a Rust
//! program without Lua.
//!
//! - [`StatementMemory`]: the prepared statements of connections, and the columns of results
//! - [`WatchedCommands`]: which command got which answer, and how long that took
//! - [`CollectedRows`]: rows that are kept instead of forwarded
//! - [`Digests`]: statistics of statements by their digests
//! - [`Traces`]: spans of queries
//! - [`Sessions`]: what is known of servers' sessions

mod digests;
mod identity;
mod rows;
mod sessions;
mod statements;
mod traces;
mod watched_commands;

pub use digests::{Apart, DigestOptions, Digests};
pub use rows::{CollectedRows, RowLimits, Rows};
pub use sessions::Sessions;
pub use statements::StatementMemory;
pub use traces::{Batch, Comments, News, Ratio, Statements, TraceOptions, Traces};
pub use watched_commands::{Answer, Conditions, WatchId, WatchedCommands, Watcher, Watchers};
