//! The pool: many clients over few server connections. Its pure parts know no sockets and no clock.
//!
//! - [`Reason`]: why a connection is held, or a statement refused
//! - [`decide`]: whether a connection can be shared; [`Return`]: how one goes back that its client has left

mod decision;
mod reason;

pub use decision::{Decision, Ongoing, Policy, Return, decide};
pub use reason::Reason;
