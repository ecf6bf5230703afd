//! Connections as objects, and what can be done to them.

pub(super) mod conn;
pub(super) mod methods;
pub(super) mod send;
pub(super) mod tracked_session;
