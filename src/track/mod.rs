//! What passes by on a connection, made into what is known of it: no sockets, no scripts.
//!
//! - [`Session`]: the state of a server's session, as far as it can be known from commands and answers
//! - [`Fact`]: what is known, or why it is not
//! - `variables`, `couplings`, `canonical`: system variables, which of them change together, and what a
//!   text that sets them makes of them
//! - `commands`: those that are not yet answered

mod canonical;
mod commands;
mod couplings;
mod fact;
mod session;
mod transaction;
mod variables;

pub use fact::{Doubt, Fact};
pub use session::{Ending, Hidden, Login, Session};
pub use transaction::{Begun, Transaction};

pub use crate::sql::effects::Traces;
