//! The spans that wait to be sent, each written once, into the batch that it will be part of.

use std::collections::VecDeque;

/// How many spans may wait, and how many are sent together.
#[derive(Debug, Clone, Copy)]
pub(super) struct Room {
    pub queue: usize,
    pub batch: usize,
}

/// Spans that are sent together: the elements of an array, as JSON.
#[derive(Debug, Default)]
pub struct Batch {
    /// The elements, with commas between them.
    pub spans: Vec<u8>,
    /// How many there are.
    pub count: usize,
}

/// See the module.
#[derive(Debug, Default)]
pub(super) struct Batches {
    waiting: VecDeque<Batch>,
    count: usize,
}

impl Batches {
    /// How many spans wait.
    pub fn count(&self) -> usize {
        self.count
    }

    /// Whether there is room for another span.
    pub fn has_room(&self, room: Room) -> bool {
        self.count < room.queue
    }

    /// Adds a span, which `write` appends.
    pub fn add(&mut self, room: Room, write: impl FnOnce(&mut Vec<u8>)) {
        let has_room = |last: &Batch| last.count < room.batch;
        if !self.waiting.back().is_some_and(has_room) {
            self.waiting.push_back(Batch::default());
        }
        let Some(last) = self.waiting.back_mut() else {
            return;
        };
        if last.count > 0 {
            last.spans.push(b',');
        }
        write(&mut last.spans);
        last.count += 1;
        self.count += 1;
    }

    /// Takes the oldest ones.
    pub fn take(&mut self) -> Option<Batch> {
        let batch = self.waiting.pop_front()?;
        self.count -= batch.count;
        Some(batch)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn batches_are_full_before_the_next_begins() {
        let room = Room { queue: 5, batch: 2 };
        let mut batches = Batches::default();
        let mut number = 0;
        while batches.has_room(room) {
            batches.add(room, |out| out.extend(format!("{number}").bytes()));
            number += 1;
        }
        assert_eq!((number, batches.count()), (5, 5));
        let mut taken = Vec::new();
        while let Some(batch) = batches.take() {
            taken.push((String::from_utf8(batch.spans).unwrap(), batch.count));
        }
        let expected = [("0,1", 2), ("2,3", 2), ("4", 1)];
        assert_eq!(
            taken,
            expected.map(|(spans, count)| (spans.to_owned(), count))
        );
        assert_eq!(batches.count(), 0);
    }
}
