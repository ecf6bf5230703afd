//! Whether a worker's loop turns, as others see it.

use std::sync::OnceLock;
use std::sync::atomic::{AtomicU64, Ordering::Relaxed};
use std::time::{Duration, Instant};

/// What one worker is doing, written by it and read by the watchdog.
#[derive(Debug, Default)]
pub struct Pulse {
    /// Since when its loop has not waited, in milliseconds of the program's clock; 0 while it waits.
    busy_since: AtomicU64,
    /// Which of the script's functions it is in, as the layer above numbers them; 0 for none.
    inside: AtomicU64,
}

impl Pulse {
    /// The loop has something to do.
    pub fn begins(&self) {
        self.busy_since.store(clock(), Relaxed);
    }

    /// The loop waits.
    pub fn waits(&self) {
        self.busy_since.store(0, Relaxed);
    }

    /// A function of the script's begins, or is over; returns which one it was in before.
    pub fn enters(&self, function: u64) -> u64 {
        // Nobody else writes it.
        let before = self.inside.load(Relaxed);
        self.inside.store(function, Relaxed);
        before
    }

    /// Which function it is in.
    pub(super) fn inside(&self) -> u64 {
        self.inside.load(Relaxed)
    }

    /// How long the loop has not waited.
    pub(super) fn busy_for(&self) -> Option<Duration> {
        match self.busy_since.load(Relaxed) {
            0 => None,
            since => Some(Duration::from_millis(clock().saturating_sub(since))),
        }
    }
}

/// Milliseconds since the first call, and one.
fn clock() -> u64 {
    static START: OnceLock<Instant> = OnceLock::new();
    let elapsed = START.get_or_init(Instant::now).elapsed();
    u64::try_from(elapsed.as_millis()).map_or(u64::MAX, |ms| ms.saturating_add(1))
}

/// When the watchdog does what.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Patience {
    /// How long a loop may not turn before the log is told; zero: for ever.
    pub limit: Duration,
    /// Whether new clients then go to other workers.
    pub relieves: bool,
}

impl Default for Patience {
    fn default() -> Self {
        Patience {
            limit: Duration::from_secs(5),
            relieves: false,
        }
    }
}
