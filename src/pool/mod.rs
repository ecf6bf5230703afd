//! The pool: many clients over few connections to servers. Its pure parts know no sockets and no clock.
//!
//! - [`state`]: the settings of a session, and how one session's become another's
//! - [`Reason`]: why a connection is held, or a statement refused
//! - [`decide`]: whether a connection can be shared; [`Return`]: how one goes back that its client has left

mod decision;
mod reason;
pub mod state;

pub use decision::{Decision, Ongoing, Policy, Return, decide};
pub use reason::Reason;
