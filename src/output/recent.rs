//! The last lines of the log, for those who cannot see where it is written to.

use std::collections::VecDeque;
use std::sync::{Mutex, PoisonError};
use std::time::SystemTime;

use log::Level;

/// How many lines are kept, and how many bytes of all their messages.
const LINES: usize = 1000;
const BYTES: usize = 1 << 20;

/// A line of the log.
#[derive(Debug, Clone)]
pub struct Line {
    /// Its number, from 1 on.
    pub number: u64,
    /// When it was written.
    pub time: SystemTime,
    /// Its level.
    pub level: Level,
    /// The part of the program that has written it.
    pub target: Box<str>,
    /// What it says.
    pub message: Box<str>,
}

#[derive(Debug)]
struct Recent {
    lines: VecDeque<Line>,
    bytes: usize,
    last: u64,
}

static RECENT: Mutex<Recent> = Mutex::new(Recent {
    lines: VecDeque::new(),
    bytes: 0,
    last: 0,
});

impl Recent {
    fn add(&mut self, level: Level, target: &str, message: &str) {
        self.last += 1;
        self.bytes += message.len();
        self.lines.push_back(Line {
            number: self.last,
            time: SystemTime::now(),
            level,
            target: target.into(),
            message: message.into(),
        });
        while self.lines.len() > LINES || self.bytes > BYTES {
            let gone = self.lines.pop_front();
            self.bytes -= gone.map_or(self.bytes, |line| line.message.len());
        }
    }
}

/// Keeps a line that is logged.
pub fn keep_line(level: Level, target: &str, message: &str) {
    let mut recent = RECENT.lock().unwrap_or_else(PoisonError::into_inner);
    recent.add(level, target, message);
}

/// Some of the lines that are kept, from this number on.
pub fn recent_lines(from: u64, count: usize) -> Vec<Line> {
    let recent = RECENT.lock().unwrap_or_else(PoisonError::into_inner);
    let lines = recent.lines.iter().filter(|line| line.number >= from);
    lines.take(count).cloned().collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn lines_are_bounded() {
        let mut recent = Recent {
            lines: VecDeque::new(),
            bytes: 0,
            last: 0,
        };
        for _ in 0..2 * LINES {
            recent.add(Level::Info, "dpm", "a line");
        }
        assert_eq!(recent.lines.len(), LINES);
        assert_eq!(recent.lines[0].number as usize, LINES + 1);
        let long = "x".repeat(BYTES / 2);
        for _ in 0..4 {
            recent.add(Level::Info, "dpm", &long);
        }
        assert_eq!((recent.lines.len(), recent.bytes), (2, BYTES));
    }
}
