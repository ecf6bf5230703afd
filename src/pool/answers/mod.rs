//! What clients are told without a server.
//!
//! - `diagnostics`: warnings and counts of the statement before, and who has them
//! - `reports`: what clients are told of changes of their sessions
//! - `idle`: `wait_timeout`, which each client has for itself
//! - `reader`, `made_up`: statements that the proxy answers by itself, and its answers
//! - `refusals`: what was refused

pub mod diagnostics;
pub mod idle;
pub mod made_up;
pub(super) mod reader;
pub mod refusals;
pub mod reports;
