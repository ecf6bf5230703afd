//! Trackers: what is known of a connection from the packets that pass. Know no sockets and no
//! scripts.
//!
//! - [`Session`]: the state of a server's session, as far as commands and answers tell it
//! - [`Fact`]: what is known, or why it is not
//! - `variables`, `couplings`, `canonical`: system variables, which of them change together, and
//!   the values that statements set
//! - [`ClientCollation`]: what no variable shows of a client's character set
//! - `left`: what statements have left behind
//! - `commands`: the unanswered commands

mod canonical;
mod client_collation;
mod commands;
mod couplings;
mod fact;
mod left;
mod session;
mod transaction;
mod variables;

pub use client_collation::ClientCollation;
pub use couplings::{canonical_name, is_mariadb, shares_names};
pub use fact::{Doubt, Fact};
pub use session::{Ending, Hidden, Login, Session};
pub use transaction::{Begun, Transaction};
pub use variables::Values;

pub use crate::sql::effects::Traces;
