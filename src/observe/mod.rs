//! Ready-made [observers](crate::proxy::Observer): the binding to Lua uses them, and so can a Rust
//! program without Lua.
//!
//! - [`StatementMemory`]: the prepared statements of connections, and the columns of results
//! - [`WatchedCommands`]: which command got which answer, and how long that took
//! - [`CollectedRows`]: rows that are kept instead of forwarded
//! - [`Sessions`]: what is known of servers' sessions

mod answers;
mod rows;
mod sessions;
mod statements;

pub use answers::{Answer, Conditions, WatchId, WatchedCommands, Watcher};
pub use rows::{CollectedRows, RowLimits, Rows};
pub use sessions::Sessions;
pub use statements::StatementMemory;
