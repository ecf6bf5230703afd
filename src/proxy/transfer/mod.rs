//! Connections that go from one process to another.

/// The version of how connections are written down. It changes only when something must not be skipped by a process that
/// does not know it.
pub const TRANSFER_FORMAT: u8 = 1;
