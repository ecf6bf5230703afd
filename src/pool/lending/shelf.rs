//! The connections to one server that nobody uses at the moment, and how many there may be.

use std::collections::BTreeMap;
use std::time::{Duration, Instant};

use crate::pool::lending::key::KeyId;
use crate::proxy::ConnId;

/// How long a connection stays with its last client although others could use it, as long as there
/// are others or new ones can be opened: a client that asks several things in a row pays for none of
/// them.
const DWELL: Duration = Duration::from_millis(2);

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
    key: KeyId,
    claim: Claim,
    /// Counts up with each connection that becomes free.
    stamp: u64,
}

#[derive(Copy, Clone, Debug)]
struct Free {
    conn: ConnId,
    since: Instant,
}

/// The free connections to one server, and the budget of all.
#[derive(Debug)]
pub struct Shelf {
    size: usize,
    /// How many there are, those included that are being opened.
    count: usize,
    /// How many are being opened, or prepared for their first client.
    opening: usize,
    free: BTreeMap<Place, Free>,
    stamps: u64,
}

impl Shelf {
    /// For as many connections.
    pub fn new(size: usize) -> Shelf {
        Shelf {
            size,
            count: 0,
            opening: 0,
            free: BTreeMap::new(),
            stamps: 0,
        }
    }

    /// How many there may be.
    pub fn size(&self) -> usize {
        self.size
    }

    /// How many there are.
    pub fn count(&self) -> usize {
        self.count
    }

    /// How many of them are free.
    pub fn free(&self) -> usize {
        self.free.len()
    }

    /// How many of them are not open yet.
    pub fn opening(&self) -> usize {
        self.opening
    }

    /// One is being opened.
    pub fn begin_opening(&mut self) {
        self.count += 1;
        self.opening += 1;
    }

    /// It is open, and ready to be used.
    pub fn opened(&mut self) {
        self.opening = self.opening.saturating_sub(1);
    }

    /// One has failed to open, or is closed; `opening`: before it was ready.
    pub fn lost(&mut self, opening: bool) {
        self.count = self.count.saturating_sub(1);
        self.opening = self.opening.saturating_sub(usize::from(opening));
    }

    /// A connection is free.
    pub fn put(&mut self, conn: ConnId, key: KeyId, claim: Claim, now: Instant) -> Place {
        self.stamps += 1;
        let place = Place {
            key,
            claim,
            stamp: self.stamps,
        };
        self.free.insert(place, Free { conn, since: now });
        place
    }

    /// A free connection is used by its last client, or is gone.
    pub fn remove(&mut self, place: Place) -> bool {
        self.free.remove(&place).is_some()
    }

    /// Takes a free connection of this key that has no last client.
    pub fn take_unclaimed(&mut self, key: KeyId) -> Option<ConnId> {
        let is_fit = |place: &&Place| place.key == key && place.claim == Claim::None;
        let place = *self.free.keys().find(is_fit)?;
        self.free.remove(&place).map(|free| free.conn)
    }

    /// Takes a free connection for somebody of this key, whom it fits. Of the first few, one that needs
    /// no change is preferred.
    pub fn take(
        &mut self,
        key: KeyId,
        now: Instant,
        fit: impl Fn(ConnId) -> Fit,
    ) -> Option<ConnId> {
        let (place, conn) = self.find(key, now, fit)?;
        self.free.remove(&place);
        Some(conn)
    }

    /// Whether one may be opened now: one at a time, as the need is looked at again after it.
    pub fn may_open(&self) -> bool {
        self.count < self.size && self.opening == 0
    }

    /// If the budget is spent and none is being opened: takes the connection that has been idle longest
    /// of those that somebody of this key can never use, which is to be closed.
    pub fn replace(&mut self, key: KeyId, fit: impl Fn(ConnId) -> Fit) -> Option<ConnId> {
        if self.count < self.size || self.opening > 0 {
            return None;
        }
        let is_useless =
            |place: &Place, free: &Free| place.key != key || fit(free.conn) == Fit::Never;
        let others = self
            .free
            .iter()
            .filter(|(place, free)| is_useless(place, free));
        let (place, free) = others.min_by_key(|(place, _)| place.stamp)?;
        let (place, conn) = (*place, free.conn);
        self.free.remove(&place);
        Some(conn)
    }

    fn find(
        &self,
        key: KeyId,
        now: Instant,
        fit: impl Fn(ConnId) -> Fit,
    ) -> Option<(Place, ConnId)> {
        /// How many are asked whether they suit.
        const LOOKED_AT: usize = 8;
        let may_open = self.count < self.size;
        let of = |claim| {
            let from = Place {
                key,
                claim,
                stamp: 0,
            };
            let to = Place {
                stamp: u64::MAX,
                ..from
            };
            self.free.range(from..=to)
        };
        let is_equal = |found: &(&Place, &Free)| fit(found.1.conn) == Fit::Equal;
        let is_of_use = |found: &(&Place, &Free)| fit(found.1.conn) != Fit::Never;
        let is_over = |free: &Free| now.saturating_duration_since(free.since) >= DWELL;
        let take = |found: (&Place, &Free)| (*found.0, found.1.conn);

        let unclaimed = || of(Claim::None);
        if let Some(found) = unclaimed().take(LOOKED_AT).find(is_equal) {
            return Some(take(found));
        }
        let light = || of(Claim::Light).filter(|(_, free)| !may_open || is_over(free));
        if let Some(found) = light().take(LOOKED_AT).find(is_equal) {
            return Some(take(found));
        }
        let found = unclaimed()
            .find(is_of_use)
            .or_else(|| light().find(is_of_use));
        let found = found.or_else(|| match may_open {
            true => None,
            false => of(Claim::Heavy).find(is_of_use),
        });
        found.map(take)
    }

    /// All free connections.
    pub fn all_free(&self) -> Vec<ConnId> {
        self.free.values().map(|free| free.conn).collect()
    }

    /// The free connections that nobody has used since then, the longest idle first.
    pub fn idle_since(&self, then: Instant) -> Vec<ConnId> {
        let idle = self.free.iter().filter(|(_, free)| free.since <= then);
        let mut idle: Vec<_> = idle.map(|(place, free)| (place.stamp, free.conn)).collect();
        idle.sort_unstable_by_key(|(stamp, _)| *stamp);
        idle.into_iter().map(|(_, conn)| conn).collect()
    }
}
