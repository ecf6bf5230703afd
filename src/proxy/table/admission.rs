//! Whether the process has room for another client, and who was refused.

use crate::net::descriptor_limit;

/// How many descriptors are reserved for everything that is not a connection: clients that are
/// being refused, the resolver, the log, a script's files. If the limit is low, a quarter of it is
/// reserved instead.
const KEPT: usize = 64;

/// What decides whether the process has room for another client.
#[derive(Debug)]
pub(crate) struct Admission {
    /// How many sockets connections and listeners may use.
    limit: usize,
    /// How many sockets they use.
    pub sockets: usize,
    pub arrivals: Arrivals,
    pub refusals: Refusals,
    /// Accepting is paused, and that was logged.
    pub starved: bool,
}

/// Connections that are neither logged in nor linked. Such a client may need a server after its
/// login, so a descriptor is reserved for each of them, except for those whose server is already
/// connecting.
#[derive(Debug, Default)]
pub(crate) struct Arrivals {
    clients: usize,
    servers: usize,
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
    pub fn new() -> Admission {
        let limit = descriptor_limit().map_or(usize::MAX, |limit| {
            usize::try_from(limit).unwrap_or(usize::MAX)
        });
        Admission {
            limit: limit - KEPT.min(limit / 4),
            sockets: 0,
            arrivals: Arrivals::default(),
            refusals: Refusals::default(),
            starved: false,
        }
    }

    /// Whether there is room for another client with its server.
    pub fn has_room(&self) -> bool {
        let expected = self.arrivals.clients.saturating_sub(self.arrivals.servers);
        self.sockets + expected + 2 <= self.limit
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

impl Arrivals {
    /// Those of one kind.
    pub fn of(&mut self, client: bool) -> &mut usize {
        match client {
            true => &mut self.clients,
            false => &mut self.servers,
        }
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

    #[test]
    fn a_client_needs_room_for_its_server() {
        let mut admission = Admission {
            limit: 10,
            sockets: 8,
            ..Admission::new()
        };
        assert!(admission.has_room());
        admission.arrivals.clients = 1;
        assert!(!admission.has_room(), "its server is still to come");
        admission.arrivals.servers = 1;
        assert!(admission.has_room(), "it has come");
        admission.sockets = 9;
        assert!(!admission.has_room());
    }
}
