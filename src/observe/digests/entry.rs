//! What is known of one digest.

use std::time::Duration;

use hdrhistogram::Histogram;

use crate::metrics::{Row, Value};

/// Longer times count as this, in microseconds: an hour.
const LONGEST: u64 = 3_600_000_000;

/// The limits of the histogram that is shown, in microseconds.
const LIMITS: [u64; 16] = [
    100, 250, 500, 1_000, 2_500, 5_000, 10_000, 25_000, 50_000, 100_000, 250_000, 500_000,
    1_000_000, 2_500_000, 5_000_000, 10_000_000,
];

/// What came of a statement.
#[derive(Debug, Clone, Copy, Default)]
pub(super) struct Outcome {
    pub failed: bool,
    pub rows: u64,
    pub affected: u64,
    pub bytes: u64,
}

/// The sums of all statements with a digest.
#[derive(Debug)]
pub(super) struct Entry {
    pub calls: u64,
    pub errors: u64,
    pub rows: u64,
    pub affected: u64,
    pub bytes: u64,
    pub total_us: u64,
    pub min_us: u64,
    pub max_us: u64,
    /// Its steps are a sixteenth wide at most. It begins with some bytes, and grows to less than two kilobytes with the
    /// longest time.
    times: Option<Histogram<u32>>,
}

impl Entry {
    pub fn new() -> Entry {
        let mut times = Histogram::new(1).ok();
        if let Some(times) = &mut times {
            times.auto(true);
        }
        Entry {
            calls: 0,
            errors: 0,
            rows: 0,
            affected: 0,
            bytes: 0,
            total_us: 0,
            min_us: u64::MAX,
            max_us: 0,
            times,
        }
    }

    pub fn add(&mut self, took: Duration, outcome: Outcome) {
        let us = u64::try_from(took.as_micros()).unwrap_or(LONGEST);
        let us = us.min(LONGEST);
        self.calls += 1;
        self.errors += u64::from(outcome.failed);
        self.rows = self.rows.saturating_add(outcome.rows);
        self.affected = self.affected.saturating_add(outcome.affected);
        self.bytes = self.bytes.saturating_add(outcome.bytes);
        self.total_us = self.total_us.saturating_add(us);
        self.min_us = self.min_us.min(us);
        self.max_us = self.max_us.max(us);
        if let Some(times) = &mut self.times {
            // It fails only for values beyond what it has been made for.
            let _ = times.record(us);
        }
    }

    /// The time that this share of the statements has not exceeded, in microseconds.
    pub fn quantile(&self, share: f64) -> u64 {
        let times = self.times.as_ref();
        let value = times.map_or(0, |times| times.value_at_quantile(share));
        value.min(self.max_us)
    }

    fn mean_us(&self) -> u64 {
        self.total_us.checked_div(self.calls).unwrap_or_default()
    }

    /// How many took at most so many microseconds.
    fn histogram(&self) -> Value {
        let Some(times) = &self.times else {
            return Value::Null;
        };
        let mut recorded = times.iter_recorded().peekable();
        let (mut steps, mut below) = (Vec::with_capacity(LIMITS.len() + 1), 0);
        for limit in LIMITS {
            while let Some(step) = recorded.next_if(|step| step.value_iterated_to() <= limit) {
                below += step.count_since_last_iteration();
            }
            steps.push((limit as f64, below));
        }
        steps.push((f64::INFINITY, self.calls));
        Value::Histogram(steps, self.total_us as f64)
    }

    /// The values of the columns of [`numbers`](super::figures::numbers).
    pub fn row(&self) -> Row {
        let min = if self.calls == 0 { 0 } else { self.min_us };
        vec![
            self.calls.into(),
            self.errors.into(),
            self.rows.into(),
            self.affected.into(),
            self.bytes.into(),
            self.total_us.into(),
            min.into(),
            self.mean_us().into(),
            self.max_us.into(),
            self.quantile(0.5).into(),
            self.quantile(0.95).into(),
            self.quantile(0.99).into(),
            self.histogram(),
        ]
    }

    /// One of these values, by the column's name.
    pub fn number(&self, column: &str) -> Option<u64> {
        Some(match column {
            "calls" => self.calls,
            "errors" => self.errors,
            "rows_sent" => self.rows,
            "rows_affected" => self.affected,
            "bytes" => self.bytes,
            "total_us" => self.total_us,
            "min_us" => self.min_us,
            "mean_us" => self.mean_us(),
            "max_us" => self.max_us,
            "p50_us" => self.quantile(0.5),
            "p95_us" => self.quantile(0.95),
            "p99_us" => self.quantile(0.99),
            _ => return None,
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn times_are_distributed() {
        let mut entry = Entry::new();
        for ms in 1..=100 {
            entry.add(Duration::from_millis(ms), Outcome::default());
        }
        entry.add(
            Duration::from_secs(100_000),
            Outcome {
                failed: true,
                rows: 2,
                affected: 3,
                bytes: 4,
            },
        );
        assert_eq!((entry.calls, entry.errors), (101, 1));
        assert_eq!((entry.min_us, entry.max_us), (1000, LONGEST));
        let median = entry.quantile(0.5);
        assert!((50_000..=55_000).contains(&median), "{median}");
        assert_eq!(entry.quantile(1.0), LONGEST);
        let Value::Histogram(steps, _) = entry.histogram() else {
            panic!("a histogram");
        };
        let below = |limit: f64| steps.iter().find(|step| step.0 == limit).unwrap().1;
        assert!((9..=10).contains(&below(10_000.0)), "{steps:?}");
        assert!((94..=101).contains(&below(100_000.0)), "{steps:?}");
        assert_eq!(below(f64::INFINITY), 101);
    }
}
