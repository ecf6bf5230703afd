//! HTTP: `dpm.http_listener` and `dpm.http_request`.
//!
//! - `client`: requests to other servers
//! - `listener`: the listener's object; `options`: its options as a table
//! - `handler`: what is called for each request; `functions`: the script's function
//! - `exchange`: the object that a request is answered by; `leaving`: who is told of clients that leave
//! - `values`: requests as tables, and answers from what scripts give
//! - `dropped`: objects that were collected

pub(super) mod client;
mod dropped;
mod exchange;
mod functions;
mod handler;
mod leaving;
pub(super) mod listener;
mod options;
mod values;

pub(super) use dropped::Dropped;
