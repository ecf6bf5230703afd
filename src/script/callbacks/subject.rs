//! What a callback is called for, in words.

use std::fmt;

use crate::session::Event;

/// Says what a callback is called for.
pub trait Describe {
    /// In words.
    fn text(&self) -> String;

    /// The same for other threads, where there is a name for it.
    fn subject(&self) -> Option<Subject> {
        None
    }
}

impl<F: Fn() -> String> Describe for F {
    fn text(&self) -> String {
        self()
    }
}

impl Describe for Subject {
    fn text(&self) -> String {
        self.to_string()
    }

    fn subject(&self) -> Option<Subject> {
        Some(*self)
    }
}

/// What most callbacks are called for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Subject {
    /// An event of the connection with this number.
    Event(Event, u32),
    /// `on_close` of a connection.
    OnClose(u32),
    /// A timer.
    Timer(u64),
    /// A signal.
    Signal(&'static str),
}

/// The signals that scripts can handle.
pub const SIGNALS: [&str; 3] = ["HUP", "USR1", "USR2"];

/// How many bits of a packed subject are its number: more than connections and timers will ever need.
const NUMBER: u32 = 48;

impl Subject {
    /// As one number, which another thread can read in one go; never 0.
    pub fn pack(self) -> u64 {
        let (kind, index, number) = match self {
            Subject::Event(event, conn) => (1, event as u64, conn.into()),
            Subject::OnClose(conn) => (2, 0, conn.into()),
            Subject::Timer(key) => (3, 0, key),
            Subject::Signal(name) => {
                let index = SIGNALS.iter().position(|known| *known == name);
                (4, index.unwrap_or_default() as u64, 0)
            }
        };
        let number: u64 = number & ((1 << NUMBER) - 1);
        kind << (NUMBER + 8) | index << NUMBER | number
    }

    /// The subject that was packed.
    pub fn unpack(packed: u64) -> Option<Subject> {
        let number = packed & ((1 << NUMBER) - 1);
        let conn = u32::try_from(number).unwrap_or_default();
        let index = packed >> NUMBER & 0xFF;
        match packed >> (NUMBER + 8) {
            1 => Event::from_number(index).map(|event| Subject::Event(event, conn)),
            2 => Some(Subject::OnClose(conn)),
            3 => Some(Subject::Timer(number)),
            4 => SIGNALS
                .get(index as usize)
                .map(|name| Subject::Signal(name)),
            _ => None,
        }
    }
}

impl fmt::Display for Subject {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Subject::Event(event, conn) => write!(f, "{} of connection {conn}", event.name()),
            Subject::OnClose(conn) => write!(f, "on_close of connection {conn}"),
            Subject::Timer(key) => write!(f, "of timer {}", key & u64::from(u32::MAX)),
            Subject::Signal(name) => write!(f, "for signal {name}"),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_packed_is_unpacked() {
        let mut all = vec![
            Subject::OnClose(0),
            Subject::Timer(7),
            Subject::Signal("USR2"),
        ];
        all.extend(
            Event::ALL
                .iter()
                .map(|(_, event)| Subject::Event(*event, u32::MAX)),
        );
        for subject in all {
            assert_eq!(Subject::unpack(subject.pack()), Some(subject));
        }
        for nothing in [0, u64::MAX] {
            assert_eq!(Subject::unpack(nothing), None);
        }
    }
}
