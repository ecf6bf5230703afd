//! What listeners, servers and users have done, each by itself.
//!
//! - `tally`: the counters of one of them
//! - `groups`: all of a kind, of which there are a bounded number
//! - `figures`: the tables that show them; `connections`: those that show each connection

pub(super) mod connections;
pub(super) mod figures;
pub(super) mod groups;
pub(super) mod tally;
