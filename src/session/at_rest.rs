//! Sessions between two commands as plain data, for whoever goes on with them in another process.

use crate::wire::{Capabilities, Status};

/// How many parameters prepared statements take, by their ids; the ones used longest ago come first.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Counted {
    /// Each statement, and its number of parameters.
    pub params: Vec<(u32, u16)>,
    /// The one that was prepared last.
    pub last: Option<u32>,
}

/// A client that has logged in, and whose commands are all answered.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct RestingClient {
    /// What was agreed on.
    pub capabilities: Capabilities,
    /// See [`ClientSession`](super::ClientSession).
    pub eofs_due: u8,
    /// Its statements, if they are counted.
    pub statements: Option<Counted>,
}

/// A server that has accepted a login, and has answered all commands.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct RestingServer {
    /// What both sides agreed on.
    pub capabilities: Capabilities,
    /// Everything that it offers.
    pub really_offered: Capabilities,
    /// Its statements, if they are counted.
    pub statements: Option<Counted>,
    /// The status in its last OK or EOF.
    pub status: Status,
}
