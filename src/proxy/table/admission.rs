//! Whether the process has room for another client, and who was refused.

use crate::workers::RoomShare;

/// What decides whether the process has room for another client.
#[derive(Debug)]
pub(crate) struct Admission {
    /// The room for sockets.
    pub room: RoomShare,
    pub refusals: Refusals,
    /// Accepting is paused, and that was logged.
    pub starved: bool,
}

/// Refused clients, about which at most one line a second is logged.
#[derive(Debug, Default)]
pub(crate) struct Refusals {
    /// How many were not logged yet.
    untold: u64,
    /// The last one, and why it was refused.
    last: String,
    /// A timer is set for the next line.
    pub pausing: bool,
}

impl Admission {
    pub fn new(room: RoomShare) -> Admission {
        Admission {
            room,
            refusals: Refusals::default(),
            starved: false,
        }
    }
}

impl Refusals {
    /// Counts one. Returns the line for the log if it is time for one.
    pub fn add(&mut self, who: String) -> Option<String> {
        self.untold += 1;
        self.last = who;
        if std::mem::replace(&mut self.pausing, true) {
            return None;
        }
        self.tell()
    }

    /// The line for the log, if there is anything to report.
    pub fn tell(&mut self) -> Option<String> {
        match std::mem::take(&mut self.untold) {
            0 => None,
            1 => Some(format!("a client was refused: {}", self.last)),
            n => Some(format!(
                "{n} clients were refused, the last one {}",
                self.last
            )),
        }
    }

    /// The pause is over. Returns the next line for the log, if any, after which another pause
    /// begins.
    pub fn pause_over(&mut self) -> Option<String> {
        let line = self.tell();
        self.pausing = line.is_some();
        line
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn one_line_tells_of_many_refusals() {
        let mut refusals = Refusals::default();
        let first = refusals.add("from a".into());
        assert_eq!(first.as_deref(), Some("a client was refused: from a"));
        for n in 0..100 {
            assert_eq!(refusals.add(format!("from {n}")), None);
        }
        let line = refusals.pause_over();
        let expected = "100 clients were refused, the last one from 99";
        assert_eq!(line.as_deref(), Some(expected));
        assert_eq!(refusals.pause_over(), None, "nothing has happened since");
        assert!(
            refusals.add("from b".into()).is_some(),
            "after a quiet second"
        );
    }
}
