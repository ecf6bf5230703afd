//! Who waits for a connection, where there is one thread.

use std::collections::{BTreeMap, VecDeque};
use std::time::Instant;

use crate::pool::lending::key::KeyId;
use crate::pool::lending::waiters::{Full, Line, MAX_BYTES, Waiter, Waiters};
use crate::proxy::ConnId;

/// Those who wait for connections of one pool.
#[derive(Debug)]
pub struct Queue {
    /// How many may wait.
    max: usize,
    lines: BTreeMap<Line, VecDeque<Waiter>>,
    count: usize,
    /// The length of all commands.
    bytes: usize,
    /// The line whose turn was last.
    last: Option<Line>,
}

impl Queue {
    /// For at most so many.
    pub fn new(max: usize) -> Queue {
        Queue {
            max,
            lines: BTreeMap::new(),
            count: 0,
            bytes: 0,
            last: None,
        }
    }

    fn has_room(&self, bytes: usize) -> bool {
        self.bytes == 0 || self.bytes + bytes <= MAX_BYTES
    }
}

impl Waiters for Queue {
    fn len(&self) -> usize {
        self.count
    }

    fn has(&self, line: Line) -> bool {
        self.lines.contains_key(&line)
    }

    fn push(&mut self, line: Line, waiter: Waiter) -> Result<(), Full> {
        if self.count >= self.max || !self.has_room(waiter.bytes) {
            return Err(Full);
        }
        self.lines.entry(line).or_default().push_back(waiter);
        self.count += 1;
        self.bytes += waiter.bytes;
        Ok(())
    }

    fn push_front(&mut self, line: Line, waiter: Waiter) {
        self.lines.entry(line).or_default().push_front(waiter);
        self.count += 1;
        self.bytes += waiter.bytes;
    }

    fn remove(&mut self, line: Line, client: ConnId) {
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

    fn fronts(&self) -> Vec<(Line, Waiter)> {
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

    fn serve(&mut self, line: Line, client: ConnId) -> bool {
        let first = self.lines.get(&line).and_then(VecDeque::front);
        if first.is_none_or(|waiter| waiter.client != client) {
            return false;
        }
        self.remove(line, client);
        self.last = Some(line);
        true
    }

    fn lines(&self) -> Vec<Line> {
        self.lines.keys().copied().collect()
    }

    fn take(&mut self, key: KeyId) -> Vec<ConnId> {
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

    fn waiting_since(&self, line: Line, then: Instant) -> Vec<ConnId> {
        // In the order of their coming, but for those that have come back to the front.
        let waiters = self.lines.get(&line).into_iter().flatten();
        waiters
            .take_while(|waiter| waiter.since <= then)
            .map(|waiter| waiter.client)
            .collect()
    }

    fn oldest(&self) -> Option<Instant> {
        let fronts = self.lines.values().filter_map(VecDeque::front);
        fronts.map(|waiter| waiter.since).min()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::pool::lending::waiters::obey_the_laws;

    #[test]
    fn a_queue_obeys_the_laws_of_waiters() {
        obey_the_laws(Queue::new);
    }
}
