//! One worker's connections to one server: which of them are free, and its part in the [places](super::places) that all
//! workers have.

use std::collections::BTreeMap;
use std::time::Instant;

use crate::pool::lending::budget::{Budget, Claim, DWELL, Fit, Place, Stage, Yielded};
use crate::pool::lending::key::KeyId;
use crate::pool::lending::places::{Promise, Share};
use crate::proxy::ConnId;

#[derive(Copy, Clone, Debug)]
struct Free {
    conn: ConnId,
    since: Instant,
}

/// The free connections to one server, and how many there are.
#[derive(Debug)]
pub struct Shelf {
    share: Share,
    /// How many there are, those included that are being opened.
    count: usize,
    /// How many are being opened, or prepared for their first client.
    opening: usize,
    free: BTreeMap<Place, Free>,
    stamps: u64,
}

impl Shelf {
    /// Without connections; there may be as many as this share allows.
    pub fn new(share: Share) -> Shelf {
        Shelf {
            share,
            count: 0,
            opening: 0,
            free: BTreeMap::new(),
            stamps: 0,
        }
    }

    fn find(
        &self,
        key: KeyId,
        now: Instant,
        fit: &dyn Fn(ConnId) -> Fit,
    ) -> Option<(Place, ConnId)> {
        /// How many are asked whether they suit.
        const LOOKED_AT: usize = 8;
        let may_open = self.total() < self.size();
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
}

impl Budget for Shelf {
    fn size(&self) -> usize {
        self.share.size()
    }

    fn total(&self) -> usize {
        self.share.taken()
    }

    fn count(&self) -> usize {
        self.count
    }

    fn free(&self) -> usize {
        self.free.len()
    }

    fn opening(&self) -> usize {
        self.opening
    }

    fn begin_opening(&mut self, now: Instant) -> bool {
        let may_open = self.opening == 0 && self.share.take(now);
        if may_open {
            self.count += 1;
            self.opening += 1;
        }
        may_open
    }

    fn opened(&mut self, now: Instant) {
        self.share.opened(now);
        self.opening = self.opening.saturating_sub(1);
    }

    fn lost(&mut self, stage: Stage) {
        self.count = self.count.saturating_sub(1);
        self.share.give_back();
        if stage == Stage::Opening {
            self.opening = self.opening.saturating_sub(1);
        }
    }

    fn put(&mut self, conn: ConnId, key: KeyId, claim: Claim, now: Instant) -> Place {
        self.stamps += 1;
        let place = Place {
            key,
            claim,
            stamp: self.stamps,
        };
        self.free.insert(place, Free { conn, since: now });
        place
    }

    fn remove(&mut self, place: Place) -> bool {
        self.free.remove(&place).is_some()
    }

    fn take_unclaimed(&mut self, key: KeyId) -> Option<ConnId> {
        let is_fit = |place: &&Place| place.key == key && place.claim == Claim::None;
        let place = *self.free.keys().find(is_fit)?;
        self.free.remove(&place).map(|free| free.conn)
    }

    fn take(&mut self, key: KeyId, now: Instant, fit: &dyn Fn(ConnId) -> Fit) -> Option<ConnId> {
        let (place, conn) = self.find(key, now, fit)?;
        self.free.remove(&place);
        Some(conn)
    }

    fn replace(&mut self, key: KeyId, fit: &dyn Fn(ConnId) -> Fit) -> Option<ConnId> {
        if self.total() < self.size() || self.opening > 0 {
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

    fn free_keys(&self) -> Vec<KeyId> {
        let mut keys = Vec::new();
        let mut next = self.free.keys().next();
        while let Some(Place { key, .. }) = next {
            keys.push(*key);
            let others = Place {
                key: KeyId(key.0.saturating_add(1)),
                claim: Claim::None,
                stamp: 0,
            };
            next = self.free.range(others..).next().map(|(place, _)| place);
        }
        keys
    }

    fn all_free(&self) -> Vec<ConnId> {
        self.free.values().map(|free| free.conn).collect()
    }

    fn idle_since(&self, then: Instant) -> Vec<ConnId> {
        let idle = self.free.iter().filter(|(_, free)| free.since <= then);
        let mut idle: Vec<_> = idle.map(|(place, free)| (place.stamp, free.conn)).collect();
        idle.sort_unstable_by_key(|(stamp, _)| *stamp);
        idle.into_iter().map(|(_, conn)| conn).collect()
    }

    fn need(&mut self, since: Option<Instant>, now: Instant) {
        self.share.need(since, now);
    }

    fn is_asked(&self) -> bool {
        self.share.is_asked()
    }

    fn give_up(&mut self, own: Option<Instant>, now: Instant) -> Yielded {
        if !self.is_asked() {
            return Yielded::None;
        }
        let longest = self.free.iter().min_by_key(|(place, _)| place.stamp);
        let Some((place, free)) = longest.map(|(place, free)| (*place, *free)) else {
            return Yielded::None;
        };
        match self.share.promise(own, free.since, now) {
            Promise::Kept => Yielded::None,
            Promise::KeptUntil(until) => Yielded::NotBefore(until),
            Promise::Made => {
                self.free.remove(&place);
                Yielded::Conn(free.conn)
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::pool::lending::bells::Bell;
    use crate::pool::lending::budget::obeys_the_laws;
    use crate::pool::lending::common::Common;

    #[test]
    fn a_shelf_obeys_the_laws_of_budgets() {
        let common = Common::default();
        obeys_the_laws(|size| Shelf::new(common.share("db", size, &Bell::new(|| {}))));
    }
}
