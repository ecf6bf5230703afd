//! A pool's servers.

use std::rc::Rc;

use super::shelf::Shelf;

/// What a server is for.
#[derive(Copy, Clone, Debug, PartialEq, Eq)]
pub enum Role {
    /// It takes writes.
    Primary,
    /// It only answers reads.
    Replica,
}

/// Whether clients get connections to a server.
#[derive(Copy, Clone, Debug, PartialEq, Eq)]
pub enum Health {
    /// They do.
    Up,
    /// It does not answer, or not as it should.
    Down,
    /// It is not in the list any more.
    Removed,
}

/// A server.
#[derive(Debug)]
pub struct Server {
    /// Its name, under which the layer above knows its address.
    pub name: Rc<str>,
    /// What it is for.
    pub role: Role,
    /// Its share of the reads, compared with others.
    pub weight: u32,
    /// Whether clients get connections to it.
    pub health: Health,
    /// Whether the administrator wants it to be left alone: what is in use is not disturbed.
    pub is_drained: bool,
    /// Its connections.
    pub shelf: Shelf,
}

impl Server {
    /// Whether clients may be given connections to it.
    pub fn is_usable(&self) -> bool {
        self.health == Health::Up && !self.is_drained
    }
}
