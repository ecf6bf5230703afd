//! The names of connections.

use std::collections::HashSet;
use std::num::NonZeroU32;

use crate::workers::{MAX_WORKERS, SERIAL_BITS};

/// How many bits of a serial number count. Those above them have the number of the worker less one, so that
/// serials are unique over all workers of a program.
const COUNTER_BITS: u32 = SERIAL_BITS;

const _: () = assert!(MAX_WORKERS <= 1 << (u32::BITS - COUNTER_BITS));

/// Names a connection. It has 32 bits, as MySQL's thread ids have, so that clients are greeted with
/// it and name it in KILL. A serial number comes back only after 67 million other connections, and
/// never while the connection that has it is there.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub struct ConnId {
    pub(super) serial: NonZeroU32,
    pub(super) slot: u32,
}

impl ConnId {
    /// The number that scripts know it by.
    pub fn serial(self) -> u32 {
        self.serial.get()
    }

    #[cfg(test)]
    pub(crate) fn of(serial: u32, slot: u32) -> ConnId {
        let serial = NonZeroU32::new(serial).expect("a serial number");
        ConnId { serial, slot }
    }

    /// The index in the table of connections, which is reused.
    pub fn slot(self) -> usize {
        self.slot as usize
    }
}

/// Gives out serial numbers, from 1 up.
#[derive(Debug)]
pub(super) struct Serials {
    next: u32,
    /// What all have in common, in the bits above the counter's.
    of_worker: u32,
    /// Those that were in use when the counter last began anew. All others in use are newer than
    /// that, and so behind it.
    in_use: HashSet<u32>,
}

impl Serials {
    /// Those of the worker with this number, from 1 on, after this one.
    pub fn of_worker(number: usize, last: u32) -> Serials {
        let before = u32::try_from(number.saturating_sub(1)).unwrap_or_default();
        Serials {
            next: last.wrapping_add(1),
            of_worker: before << COUNTER_BITS,
            in_use: HashSet::new(),
        }
    }

    /// The next number. `all`: those of the connections that are there, asked for only when the
    /// counter begins anew.
    pub fn give<I: Iterator<Item = u32>>(&mut self, all: impl Fn() -> I) -> NonZeroU32 {
        loop {
            if self.next >> COUNTER_BITS != 0 {
                self.next = 1;
                self.in_use = all().collect();
            }
            let serial = self.of_worker | self.next;
            self.next += 1;
            if let Some(serial) = NonZeroU32::new(serial)
                && !self.in_use.contains(&serial.get())
            {
                return serial;
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn numbers_in_use_are_not_given_again() {
        let last = (1 << COUNTER_BITS) - 1;
        let mut serials = Serials::of_worker(1, 0);
        let none = std::iter::empty;
        let given: Vec<_> = (0..2).map(|_| serials.give(none).get()).collect();
        assert_eq!(given, [1, 2]);
        serials.next = last;
        let open = || [1, 2, 4, last].into_iter();
        let given: Vec<_> = (0..4).map(|_| serials.give(open).get()).collect();
        assert_eq!(given, [last, 3, 5, 6], "nor is 0, which means none");
        let mut others = Serials::of_worker(3, 0);
        assert_eq!(others.give(none).get(), (2 << COUNTER_BITS) + 1);
    }
}
