//! The connections to one server: how many there may be over the whole program, and which of this worker's nobody
//! uses at the moment.
//!
//! The driver knows [`Budget`] alone, which [`Shelf`](crate::pool::lending::shelf::Shelf) implements.

#[cfg(test)]
mod laws;

use std::fmt::Debug;
use std::time::{Duration, Instant};

use crate::pool::lending::key::KeyId;
use crate::proxy::ConnId;

#[cfg(test)]
pub(super) use laws::obeys_the_laws;

/// How long a connection stays with its last client although others could use it, as long as there
/// are others or new ones can be opened: a client that asks several things in a row pays for none of
/// them.
pub const DWELL: Duration = Duration::from_millis(2);

/// What a free connection costs its last client if it is given to another. In the order in which
/// connections are taken.
#[derive(Copy, Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Claim {
    /// It has no last client.
    None,
    /// Nothing has to be carried.
    Light,
    /// Something has to be read before, or is lost.
    Heavy,
}

/// How a connection fits somebody who needs one.
#[derive(Copy, Clone, Debug, PartialEq, Eq)]
pub enum Fit {
    /// Nothing has to be changed.
    Equal,
    /// Its session can be changed.
    Changeable,
    /// It can never be used.
    Never,
}

/// Where a free connection lies. The order is that in which connections of a key are taken.
#[derive(Copy, Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct Place {
    /// What makes it interchangeable.
    pub key: KeyId,
    /// What it costs its last client.
    pub claim: Claim,
    /// Counts up with each connection that becomes free.
    pub stamp: u64,
}

/// How far a connection was when it was lost.
#[derive(Copy, Clone, Debug, PartialEq, Eq)]
pub enum Stage {
    /// It was being opened, or prepared for its first client.
    Opening,
    /// It was ready.
    Open,
}

/// A free connection that other workers' clients may need more.
#[derive(Copy, Clone, Debug, PartialEq, Eq)]
pub enum Yielded {
    /// None is to be given up.
    None,
    /// None is yet: to be looked at again then.
    NotBefore(Instant),
    /// This one is to be closed, so that another worker can open one.
    Conn(ConnId),
}

/// One worker's connections to one server. Each function is one step that nobody else sees half of, so that what
/// was asked before need not be true any more: what is taken or opened is granted by the answer alone.
pub trait Budget: Debug {
    /// How many there may be, over all workers.
    fn size(&self) -> usize;

    /// How many all workers have.
    fn total(&self) -> usize;

    /// How many this worker has, those included that are being opened.
    fn count(&self) -> usize;

    /// How many of them are free.
    fn free(&self) -> usize;

    /// How many of them are being opened, or prepared for their first client.
    fn opening(&self) -> usize;

    /// One is being opened. False if none may be opened now: there are as many as there may be (or fewer, for
    /// which others have waited for longer), or one is being opened already, after which the need is looked at again.
    fn begin_opening(&mut self, now: Instant) -> bool;

    /// It is open, and ready to be used.
    fn opened(&mut self, now: Instant);

    /// One has failed to open, or is closed. If it was free, it has been [removed](Budget::remove).
    fn lost(&mut self, stage: Stage);

    /// A connection is free.
    fn put(&mut self, conn: ConnId, key: KeyId, claim: Claim, now: Instant) -> Place;

    /// A free connection is used by its last client, or is gone. False if it was not free any more.
    fn remove(&mut self, place: Place) -> bool;

    /// Takes a free connection of this key that has no last client.
    fn take_unclaimed(&mut self, key: KeyId) -> Option<ConnId>;

    /// Takes a free connection for somebody of this key, whom it fits: what nobody claims before what has a
    /// last client, and that only once it has been idle for [`DWELL`] or no other may be opened. Of the
    /// first few, one that needs no change is preferred.
    fn take(&mut self, key: KeyId, now: Instant, fit: &dyn Fn(ConnId) -> Fit) -> Option<ConnId>;

    /// If there are as many as there may be, and none is being opened: takes the connection that has been
    /// idle longest of those that somebody of this key can never use, which is to be closed.
    fn replace(&mut self, key: KeyId, fit: &dyn Fn(ConnId) -> Fit) -> Option<ConnId>;

    /// The keys of which connections are free, each once.
    fn free_keys(&self) -> Vec<KeyId>;

    /// All free connections.
    fn all_free(&self) -> Vec<ConnId>;

    /// The free connections that nobody has used since then, the longest idle first.
    fn idle_since(&self, then: Instant) -> Vec<ConnId>;

    /// The first of this worker's clients that needs one and gets none waits since then; or nobody does.
    fn need(&mut self, since: Option<Instant>, now: Instant);

    /// Whether clients of other workers need one.
    fn is_asked(&self) -> bool;

    /// Takes the connection that has been free for longest, if it is the turn of other workers' clients. The first of this
    /// worker's own that waits has come at `own`.
    fn give_up(&mut self, own: Option<Instant>, now: Instant) -> Yielded;
}
