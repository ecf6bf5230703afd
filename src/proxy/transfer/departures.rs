//! Which pairs are to leave this loop, and which are on their way.

use std::collections::{HashMap, HashSet, VecDeque};

use crate::proxy::id::ConnId;
use crate::proxy::table::channel::Channel;

/// The pairs that leave this loop.
#[derive(Debug, Default)]
pub(crate) struct Departures {
    pub is_open: bool,
    /// How many more may be on their way.
    pub room: usize,
    /// Clients to be looked at.
    pub queue: VecDeque<ConnId>,
    /// Those that never can, and those that the other process does not take.
    pub settled: HashSet<ConnId>,
    /// By the clients' numbers.
    pub on_their_way: HashMap<u32, Waiting>,
}

/// A pair of which it is not known yet who has it.
#[derive(Debug)]
pub(crate) struct Waiting {
    pub client: ConnId,
    /// The connections without their sockets, and these.
    pub channels: Vec<(ConnId, Channel)>,
}

impl Departures {
    /// Whether the loop is to go on without waiting.
    pub fn have_work(&self) -> bool {
        self.is_open && self.room > 0 && !self.queue.is_empty()
    }
}
