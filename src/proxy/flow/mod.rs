//! How packets pass.
//!
//! - `run`: the loop; `pump`: reading a connection, and processing what was read
//! - `advance`: the hot path, for packets without hooks; `streaming`: packets that are forwarded
//!   before they are complete; `watched_rows`: rows that a hook looks at
//! - `packet`: any other packet that hooks look at: its session is stepped (`receive`), and it is
//!   forwarded to the peer (`forward`)
//! - `again`: commands that were held back for a while
//! - `send`: packets that hooks send; `own_errors`: the proxy's own ERR packets
//! - `deliver`: the only way out, for every packet
//! - `guarded`: what a panic ends; `due`: time limits that are over; `flaws`: commands that no server can execute
//! - `service`: what the service manager is told; `waking`: what makes the loop turn although nothing has come
//! - `upgrade`: another process takes the place of this one
//! - `outcome`: what comes of the bytes at the front of what was read

pub(super) mod advance;
pub(super) mod again;
pub(super) mod deliver;
pub(super) mod due;
pub(super) mod flaws;
pub(super) mod forward;
pub(super) mod guarded;
mod guests;
pub(super) mod outcome;
pub(super) mod own_errors;
pub(super) mod packet;
pub(super) mod pump;
pub(super) mod receive;
pub(super) mod run;
pub(super) mod send;
pub(super) mod service;
pub(super) mod streaming;
mod upgrade;
mod waking;
pub(super) mod watched_rows;
