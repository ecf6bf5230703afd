//! Those who watch or act beside the hooks, in Rust.
//!
//! - `observer`: the trait; `show`: what each wants to see, and in which order an event is shown
//! - `per_connection`: what an observer keeps of connections

pub(super) mod observer;
pub(super) mod per_connection;
pub(super) mod show;
