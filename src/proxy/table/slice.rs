//! How much of a pass of the loop one connection gets.
//!
//! A peer may have sent any number of small packets, and each may cost a callback. So a connection's
//! turn ends after some milliseconds, whatever is left is kept, and the connection is queued behind
//! the others.

use std::time::{Duration, Instant};

/// How long the turns of all connections together may take, as long as each gets [`SHORTEST`].
const PASS: Duration = Duration::from_millis(20);

/// The longest turn of one connection, which it gets if few others wait.
const LONGEST: Duration = Duration::from_millis(5);

/// The shortest turn. Shorter ones would not pay for the switch.
const SHORTEST: Duration = Duration::from_micros(200);

/// After so many packets at most the clock is looked at.
const MOST_UNSEEN: u32 = 15;

/// The time slice of one connection's turn.
#[derive(Debug)]
pub(crate) struct Slice {
    length: Duration,
    /// When the second packet began: a turn of one packet needs no clock.
    began: Option<Instant>,
    /// How long the turn had taken when the clock was last looked at.
    seen: Duration,
    /// How many packets pass between two looks…
    batch: u32,
    /// …and before the next one.
    unseen: u32,
    spent: bool,
}

impl Slice {
    /// The slice of each of so many connections.
    pub fn of(connections: usize) -> Slice {
        let connections = u32::try_from(connections).unwrap_or(u32::MAX).max(1);
        Slice {
            length: (PASS / connections).clamp(SHORTEST, LONGEST),
            began: None,
            seen: Duration::ZERO,
            batch: 0,
            unseen: 1,
            spent: false,
        }
    }

    /// Another packet is about to be handled. Returns whether it has to wait for the next turn.
    #[inline]
    pub fn is_over(&mut self) -> bool {
        if self.unseen > 0 {
            self.unseen -= 1;
            return false;
        }
        self.look()
    }

    /// Whether a packet was made to wait.
    pub fn is_spent(&self) -> bool {
        self.spent
    }

    #[cold]
    fn look(&mut self) -> bool {
        let gone = self.began.get_or_insert_with(Instant::now).elapsed();
        if gone >= self.length {
            self.spent = true;
            return true;
        }
        // Packets that take long are looked at one by one.
        let quick = gone - self.seen < self.length / 16;
        self.batch = match quick {
            true => (2 * self.batch + 1).min(MOST_UNSEEN),
            false => 0,
        };
        self.seen = gone;
        self.unseen = self.batch;
        false
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn it_ends_soon_after_its_time_and_not_before() {
        for connections in [0, 1, 10, 1_000_000] {
            let mut slice = Slice::of(connections);
            assert!(slice.length >= SHORTEST && slice.length <= LONGEST);
            let begun = Instant::now();
            while !slice.is_over() {
                assert!(begun.elapsed() < Duration::from_secs(10));
            }
            assert!(begun.elapsed() >= slice.length);
            assert!(slice.is_over() && slice.is_spent());
        }
    }

    #[test]
    fn packets_that_take_long_are_seen_one_by_one() {
        let mut slice = Slice::of(1);
        let mut slow = 0;
        for _ in 0..1000 {
            assert!(!slice.is_over());
            if slice.seen > LONGEST / 4 {
                break;
            }
        }
        while !slice.is_over() {
            slow += 1;
            std::thread::sleep(LONGEST / 4);
        }
        assert!(slow <= MOST_UNSEEN + 5, "{slow}");
    }
}
