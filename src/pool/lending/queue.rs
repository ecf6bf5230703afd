//! Who waits for a connection: the order is kept in each line, and the lines take turns.

use std::collections::{BTreeMap, VecDeque};
use std::time::Instant;

use crate::pool::lending::key::KeyId;
use crate::proxy::ConnId;

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

/// Those who wait for the same.
#[derive(Copy, Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Line {
    /// What makes connections interchangeable for them.
    pub key: KeyId,
    /// The servers that will do.
    pub want: Want,
}

/// How long all commands that wait may be together.
const MAX_BYTES: usize = 64 << 20;

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

/// Those who wait for connections of one pool.
#[derive(Debug, Default)]
pub struct Queue {
    lines: BTreeMap<Line, VecDeque<Waiter>>,
    count: usize,
    /// The length of all commands.
    bytes: usize,
    /// The line whose turn was last.
    last: Option<Line>,
}

impl Queue {
    /// How many wait.
    pub fn len(&self) -> usize {
        self.count
    }

    /// Whether nobody waits.
    pub fn is_empty(&self) -> bool {
        self.count == 0
    }

    /// Whether a command of this length can be kept, beside those of the others that wait. A single one
    /// always can: the connection's own limit has let it in.
    pub fn has_room(&self, bytes: usize) -> bool {
        self.bytes == 0 || self.bytes + bytes <= MAX_BYTES
    }

    /// Whether somebody waits in this line.
    pub fn has(&self, line: Line) -> bool {
        self.lines.contains_key(&line)
    }

    /// A client waits from now on, behind all others of its line.
    pub fn push(&mut self, line: Line, waiter: Waiter) {
        self.lines.entry(line).or_default().push_back(waiter);
        self.count += 1;
        self.bytes += waiter.bytes;
    }

    /// A client that has waited before has the first place again.
    pub fn push_front(&mut self, line: Line, waiter: Waiter) {
        self.lines.entry(line).or_default().push_front(waiter);
        self.count += 1;
        self.bytes += waiter.bytes;
    }

    /// A client does not wait any more.
    pub fn remove(&mut self, line: Line, client: ConnId) {
        let Some(waiters) = self.lines.get_mut(&line) else {
            return;
        };
        let found = waiters.iter().position(|waiter| waiter.client == client);
        if let Some(waiter) = found.and_then(|at| waiters.remove(at)) {
            self.count -= 1;
            self.bytes -= waiter.bytes;
        }
        if waiters.is_empty() {
            self.lines.remove(&line);
        }
    }

    /// The first waiter of each line, beginning with the line after the one whose turn was last.
    pub fn fronts(&self) -> Vec<(Line, Waiter)> {
        let front = |(line, waiters): (&Line, &VecDeque<Waiter>)| {
            waiters.front().map(|waiter| (*line, *waiter))
        };
        let after = self
            .lines
            .iter()
            .filter(|(line, _)| Some(**line) > self.last);
        let before = self
            .lines
            .iter()
            .filter(|(line, _)| Some(**line) <= self.last);
        after.chain(before).filter_map(front).collect()
    }

    /// The first waiter of this line gets a connection.
    pub fn pop(&mut self, line: Line) -> Option<Waiter> {
        let waiters = self.lines.get_mut(&line)?;
        let waiter = waiters.pop_front();
        if waiters.is_empty() {
            self.lines.remove(&line);
        }
        if let Some(waiter) = &waiter {
            self.count -= 1;
            self.bytes -= waiter.bytes;
        }
        self.last = Some(line);
        waiter
    }

    /// The lines in which somebody waits.
    pub fn lines(&self) -> Vec<Line> {
        self.lines.keys().copied().collect()
    }

    /// All clients of this key do not wait any more.
    pub fn take(&mut self, key: KeyId) -> Vec<ConnId> {
        let mut taken = Vec::new();
        let mut bytes = 0;
        self.lines.retain(|line, waiters| {
            if line.key == key {
                taken.extend(waiters.iter().map(|waiter| waiter.client));
                bytes += waiters.iter().map(|waiter| waiter.bytes).sum::<usize>();
            }
            line.key != key
        });
        self.count -= taken.len();
        self.bytes -= bytes;
        taken
    }

    /// The clients of a line that have waited since then or longer.
    pub fn waiting_since(&self, line: Line, then: Instant) -> impl Iterator<Item = ConnId> {
        // In the order of their coming, but for those that have come back to the front.
        let waiters = self.lines.get(&line).into_iter().flatten();
        waiters
            .take_while(move |waiter| waiter.since <= then)
            .map(|waiter| waiter.client)
    }

    /// Since when the first of all has waited.
    pub fn oldest(&self) -> Option<Instant> {
        let fronts = self.lines.values().filter_map(VecDeque::front);
        fronts.map(|waiter| waiter.since).min()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn long_commands_are_bounded_together() {
        let line = Line {
            key: KeyId(0),
            want: Want::Primary,
        };
        let client = ConnId::of(1, 1);
        let waiter = |bytes| Waiter {
            client,
            since: Instant::now(),
            bytes,
        };
        let mut queue = Queue::default();
        assert!(queue.has_room(2 * MAX_BYTES));
        queue.push(line, waiter(MAX_BYTES));
        assert!(!queue.has_room(1));
        queue.remove(line, client);
        queue.push_front(line, waiter(10));
        assert!(queue.has_room(MAX_BYTES - 10) && !queue.has_room(MAX_BYTES - 9));
        assert_eq!(queue.pop(line).map(|waiter| waiter.bytes), Some(10));
        queue.push(line, waiter(MAX_BYTES));
        assert_eq!(queue.take(KeyId(0)).len(), 1);
        assert!(queue.is_empty() && queue.has_room(MAX_BYTES));
    }
}
