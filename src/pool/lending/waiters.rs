//! Who waits for a connection of a pool: the order is kept in each line, and the lines take turns.
//!
//! The driver knows [`Waiters`] alone, which [`Queue`](crate::pool::lending::queue::Queue) implements.

#[cfg(test)]
mod laws;

use std::collections::BTreeSet;
use std::fmt::Debug;
use std::time::Instant;

use crate::pool::lending::key::KeyId;
use crate::pool::lending::users::UserId;
use crate::proxy::ConnId;

#[cfg(test)]
pub(super) use laws::obey_the_laws;

/// How long all commands that wait may be together.
pub const MAX_BYTES: usize = 64 << 20;

/// Which of a pool's servers somebody needs.
#[derive(Copy, Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Want {
    /// One that takes writes.
    Primary,
    /// One that answers reads: a replica, or the primary if there is none.
    Replica,
    /// This one, by its place in the pool's list.
    Server(usize),
}

/// Those who wait for the same. Lines are ordered by the servers that will do for them, and then by their keys, of
/// which there may be thousands.
#[derive(Copy, Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Line {
    /// The servers that will do.
    pub want: Want,
    /// What makes connections interchangeable for them.
    pub key: KeyId,
    /// Whose limit counts beside the pool's: a user who is at it holds up nobody else.
    pub user: Option<UserId>,
}

impl Line {
    /// What connections have to be to be of use.
    pub fn needs(&self) -> (Want, KeyId) {
        (self.want, self.key)
    }
}

/// A client that waits.
#[derive(Copy, Clone, Debug, PartialEq, Eq)]
pub struct Waiter {
    /// The client.
    pub client: ConnId,
    /// Since when.
    pub since: Instant,
    /// How long its command is, which is kept for it.
    pub bytes: usize,
}

/// There is no room for another that waits.
#[derive(Copy, Clone, Debug, PartialEq, Eq)]
pub struct Full;

/// Those who wait for connections of one pool. Each function is one step that nobody else sees half of.
pub trait Waiters: Debug {
    /// How many wait.
    fn len(&self) -> usize;

    /// Whether nobody waits.
    fn is_empty(&self) -> bool {
        self.len() == 0
    }

    /// Whether somebody waits for the same as this line, and is not kept from it by a limit: `may` tells of whose.
    fn is_before(&self, line: Line, may: &dyn Fn(Option<UserId>) -> bool) -> bool;

    /// A client waits from now on, behind all others of its line.
    ///
    /// # Errors
    /// So many wait already (of a user with a limit: of that user, or else of all others), or their commands are [so long](MAX_BYTES). A single one always may: its
    /// connection's own limit has let its command in.
    fn push(&mut self, line: Line, waiter: Waiter) -> Result<(), Full>;

    /// A client that has waited before has the first place again. There is always room for it.
    fn push_front(&mut self, line: Line, waiter: Waiter);

    /// A client does not wait any more.
    fn remove(&mut self, line: Line, client: ConnId);

    /// The first waiter of each line of these keys, beginning with the lines after the one whose turn was last. Lines
    /// for the same come in the order in which their first waiters have come. It takes as long as there are lines, or
    /// keys, whichever are fewer.
    fn fronts(&self, keys: &BTreeSet<KeyId>) -> Vec<(Line, Waiter)>;

    /// The servers that somebody waits for, beginning with those whose turn is next.
    fn wants(&self) -> Vec<Want>;

    /// The first waiters of the lines whose turn is next of those that wait for such a server, or whose turn is next
    /// after that of this key; all of them need the same. None after the last.
    fn next(&self, want: Want, after: Option<KeyId>) -> Vec<(Line, Waiter)>;

    /// This client, the first of its line, gets a connection. False if it is not the first any more.
    fn serve(&mut self, line: Line, client: ConnId) -> bool;

    /// The lines in which somebody waits.
    fn lines(&self) -> Vec<Line>;

    /// All clients of this key do not wait any more.
    fn take(&mut self, key: KeyId) -> Vec<ConnId>;

    /// The clients of a line that have waited since then or longer.
    fn waiting_since(&self, line: Line, then: Instant) -> Vec<ConnId>;

    /// Since when the first of all has waited.
    fn oldest(&self) -> Option<Instant>;
}
