//! Deadlines in order.

use std::collections::BTreeMap;
use std::time::Instant;

/// Identifies one timer as long as it is scheduled. Never reused.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct TimerId {
    // The deadline is part of the identity, so that removal finds its entry without a second map.
    deadline: Instant,
    serial: u64,
}

impl TimerId {
    /// When it is due.
    pub fn deadline(self) -> Instant {
        self.deadline
    }
}

/// A set of one-shot deadlines, each with a key that says what is due.
///
/// A tree rather than a heap, because most timers of a proxy (handshake, connect, drain) are
/// removed before they fire, and a heap finds those only by searching.
#[derive(Debug)]
pub struct Timers<K> {
    // Equal deadlines stay in the order in which they were inserted, thanks to the serial.
    queue: BTreeMap<TimerId, K>,
    next_serial: u64,
}

impl<K> Timers<K> {
    /// An empty set.
    pub fn new() -> Self {
        Timers {
            queue: BTreeMap::new(),
            next_serial: 0,
        }
    }

    /// Schedules `key` for `deadline`.
    pub fn insert(&mut self, deadline: Instant, key: K) -> TimerId {
        let id = TimerId {
            deadline,
            serial: self.next_serial,
        };
        self.next_serial += 1;
        self.queue.insert(id, key);
        id
    }

    /// Takes a timer out. False if it is not there any more: it has fired, or was removed before.
    pub fn remove(&mut self, id: TimerId) -> bool {
        self.queue.remove(&id).is_some()
    }

    /// When the first timer is due. In the past if it is late.
    pub fn next_deadline(&self) -> Option<Instant> {
        self.queue.first_key_value().map(|(id, _)| id.deadline)
    }

    /// Takes the first timer out if it is due at `now`.
    ///
    /// Callers loop with one and the same `now`: then a timer that is scheduled into the future
    /// from inside the loop cannot keep the loop going.
    pub fn pop_due(&mut self, now: Instant) -> Option<(TimerId, K)> {
        if self.next_deadline()? > now {
            return None;
        }
        self.queue.pop_first()
    }

    /// How many timers are scheduled.
    pub fn len(&self) -> usize {
        self.queue.len()
    }

    /// Whether no timer is scheduled.
    pub fn is_empty(&self) -> bool {
        self.queue.is_empty()
    }
}

impl<K> Default for Timers<K> {
    fn default() -> Self {
        Timers::new()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::time::Duration;

    #[test]
    fn fires_in_order_of_deadline_then_of_insertion() {
        let start = Instant::now();
        let at = |ms| start + Duration::from_millis(ms);
        let mut timers = Timers::new();
        timers.insert(at(20), 'c');
        timers.insert(at(10), 'a');
        timers.insert(at(10), 'b');
        timers.insert(at(30), 'd');

        assert_eq!(timers.next_deadline(), Some(at(10)));
        assert!(timers.pop_due(at(9)).is_none());
        let due: String = std::iter::from_fn(|| timers.pop_due(at(20)))
            .map(|(_, key)| key)
            .collect();
        assert_eq!(due, "abc");
        assert_eq!(timers.next_deadline(), Some(at(30)));
        assert_eq!(timers.len(), 1);
    }

    #[test]
    fn removes_once_and_only_what_it_names() {
        let now = Instant::now();
        let mut timers = Timers::new();
        let first = timers.insert(now, 1);
        let second = timers.insert(now, 2);
        assert!(timers.remove(first));
        assert!(!timers.remove(first));
        assert_eq!(timers.pop_due(now), Some((second, 2)));
        assert!(!timers.remove(second));
        assert!(timers.is_empty());
        assert_eq!(timers.next_deadline(), None);
        assert!(timers.pop_due(now).is_none());
    }

    #[test]
    fn an_id_is_not_reused() {
        let now = Instant::now();
        let mut timers = Timers::new();
        let old = timers.insert(now, ());
        timers.pop_due(now);
        let new = timers.insert(now, ());
        assert_ne!(old, new);
        assert!(!timers.remove(old));
        assert_eq!(timers.len(), 1);
    }
}
