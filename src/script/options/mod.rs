//! Options of connections, as scripts write them.
//!
//! - `connection`: all of them, and who may have which; `leg_options`, `tls_options`: what they are made of

pub(super) mod connection;
pub(super) mod leg_options;
pub(super) mod tls_options;
