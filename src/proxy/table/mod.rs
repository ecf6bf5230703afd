//! The connections, and what is known of each.
//!
//! - `core`: the table itself, with timers and what is due at the end of a tick
//! - `conn`: one connection; `sides`: its two directions; `channel`: what is between it and its socket,
//!   nothing or compression; `login`: what it needs until its login is over
//! - `link`, `close`: what connections mean to each other, and the end of one

pub(super) mod channel;
pub(super) mod close;
pub(super) mod conn;
pub(super) mod core;
pub(super) mod link;
pub(super) mod login;
pub(super) mod sides;
