//! Whether a connection is shared or kept, and why.
//!
//! - `decision`: the one function that says so; `reason`: the reasons, by their stable names
//! - `catalogue`: what routines, views and triggers hide, of one server; `catalogues`: of all of a pool

pub mod catalogue;
pub mod catalogues;
pub mod decision;
pub mod reason;
