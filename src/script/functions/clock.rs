//! The time, for scripts.

use std::sync::OnceLock;
use std::time::{Instant, SystemTime, UNIX_EPOCH};

/// Seconds and microseconds since 1970.
pub fn time_of_day() -> (u64, u32) {
    let now = SystemTime::now()
        .duration_since(UNIX_EPOCH)
        .unwrap_or_default();
    (now.as_secs(), now.subsec_micros())
}

/// Milliseconds since 1970.
pub fn milliseconds() -> f64 {
    let (seconds, micros) = time_of_day();
    seconds as f64 * 1000.0 + f64::from(micros / 1000)
}

/// Milliseconds of a monotonic clock, with fractions.
pub fn monotonic() -> f64 {
    static START: OnceLock<Instant> = OnceLock::new();
    START.get_or_init(Instant::now).elapsed().as_secs_f64() * 1000.0
}
