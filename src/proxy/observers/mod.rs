//! Observers, which watch or act in addition to the hooks, in Rust.
//!
//! - `observer`: the trait; `show`: the events that each wants to see, and the order in which an
//!   event is shown
//! - `per_connection`: an observer's data about connections
//! - `list`: what each wants to see of each connection

pub(super) mod list;
pub(super) mod observer;
pub(super) mod per_connection;
pub(super) mod show;
