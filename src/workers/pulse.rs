//! Whether a worker's loop turns, as others see it.

use std::sync::OnceLock;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering::Relaxed};
use std::time::{Duration, Instant};

/// What one worker is doing, written by it and read by the watchdog.
#[derive(Debug, Default)]
pub struct Pulse {
    /// Since when its loop has not waited, in milliseconds of the program's clock; 0 while it waits.
    busy_since: AtomicU64,
    /// It is in one of the script's functions.
    inside: AtomicBool,
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

    /// A function of the script's begins, or is over; returns whether it was in one before.
    pub fn enters(&self, is_inside: bool) -> bool {
        // Nobody else writes it.
        let before = self.inside.load(Relaxed);
        self.inside.store(is_inside, Relaxed);
        before
    }

    /// Whether it is in a function of the script's.
    pub(super) fn is_inside(&self) -> bool {
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
    /// Whether new clients then go to other workers, of which another is started.
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
