//! Which server a statement goes to.
//!
//! - `servers`: the servers of a pool, their roles and their health
//! - `route`, `hints`: which server a statement may go to, and which it asks for
//! - `causal`: reads on replicas that see what was written before

pub mod causal;
pub mod hints;
pub mod route;
pub mod servers;
