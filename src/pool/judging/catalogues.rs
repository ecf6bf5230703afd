//! The catalogues of a pool's servers, and when to read them.

use std::collections::HashMap;
use std::time::{Duration, Instant};

use crate::pool::flavour::Flavour;
use crate::pool::judging::catalogue::{Catalogue, Harmless, Hides, Reading};
use crate::pool::lending::key::KeyId;
use crate::proxy::ConnId;
use crate::sql::Mode;

/// How often definitions are read again that nobody was seen to change.
const EVERY: Duration = Duration::from_secs(60);
/// What each account can see of definitions: an account may not read what another may.
#[derive(Debug, Default)]
pub struct Catalogues {
    harmless: Harmless,
    by_key: HashMap<KeyId, Entry>,
}

#[derive(Debug)]
struct Entry {
    catalogue: Catalogue,
    due: Instant,
    is_being_read: bool,
    /// Connections that wait until it is read for the first time.
    waiting: Vec<ConnId>,
}

/// What becomes of a connection that is ready for a client.
#[derive(Debug)]
pub enum Turn {
    /// It reads the catalogue first.
    Reads(Box<Reading>),
    /// It waits until another has read it.
    Waits,
    /// It can be used.
    Ready,
}

impl Catalogues {
    /// None are read yet.
    pub fn new(harmless: Harmless) -> Catalogues {
        Catalogues {
            harmless,
            by_key: HashMap::new(),
        }
    }

    /// What a connection of this account does before it is used. Before the first reading nothing is known, so
    /// that whatever was executed would be opaque.
    pub fn turn(&mut self, key: KeyId, server: ConnId, flavour: Flavour, now: Instant) -> Turn {
        let entry = self.by_key.entry(key).or_insert_with(|| Entry {
            catalogue: Catalogue::unread(),
            due: now,
            is_being_read: false,
            waiting: Vec::new(),
        });
        if entry.is_being_read {
            if entry.catalogue.is_unread() {
                entry.waiting.push(server);
                return Turn::Waits;
            }
            return Turn::Ready;
        }
        if entry.due > now {
            return Turn::Ready;
        }
        entry.is_being_read = true;
        let is_mariadb = flavour == Flavour::MariaDb;
        let reading = Reading::new(is_mariadb, self.harmless.clone());
        Turn::Reads(Box::new(reading))
    }

    /// Of the accounts whose definitions were read before, those for whom it is time.
    pub fn due(&self, now: Instant) -> Vec<KeyId> {
        let is_due = |entry: &Entry| entry.due <= now && !entry.is_being_read;
        let due = self.by_key.iter().filter(|(_, entry)| is_due(entry));
        due.map(|(key, _)| *key).collect()
    }

    /// All was read: who has waited for that, and whether the account cannot see triggers everywhere, if that
    /// is new.
    pub fn read(&mut self, key: KeyId, reading: Reading, now: Instant) -> (Vec<ConnId>, bool) {
        let Some(entry) = self.by_key.get_mut(&key) else {
            return (Vec::new(), false);
        };
        let before = std::mem::replace(&mut entry.catalogue, reading.finish());
        entry.due = now + EVERY;
        entry.is_being_read = false;
        let is_read = !entry.catalogue.is_unread();
        let is_blind = is_read && entry.catalogue.is_blind() && before.is_unread();
        (std::mem::take(&mut entry.waiting), is_blind)
    }

    /// Whether nothing is known of what this account uses.
    pub fn is_unread(&self, key: KeyId) -> bool {
        let entry = self.by_key.get(&key);
        entry.is_none_or(|entry| entry.catalogue.is_unread())
    }

    /// The connection has died that read: another does so. The one that has waited longest.
    pub fn interrupted(&mut self, key: KeyId) -> Vec<ConnId> {
        let Some(entry) = self.by_key.get_mut(&key) else {
            return Vec::new();
        };
        entry.is_being_read = false;
        std::mem::take(&mut entry.waiting)
    }

    /// What a text hides that is executed by this account.
    pub fn hides(&self, key: KeyId, sql: &[u8], mode: Mode, schema: Option<&[u8]>) -> Hides {
        match self.by_key.get(&key) {
            Some(entry) => entry.catalogue.hides(sql, mode, schema),
            None => Catalogue::unread().hides(sql, mode, schema),
        }
    }

    /// A text has passed by, which may change definitions.
    pub fn passed(&mut self, sql: &[u8], mode: Mode, now: Instant) {
        for entry in self.by_key.values_mut() {
            if entry.catalogue.passed(sql, mode) {
                entry.due = now;
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn server(n: u32) -> ConnId {
        ConnId::of(n, n)
    }

    fn begin(catalogues: &mut Catalogues, key: KeyId, now: Instant) -> Option<Box<Reading>> {
        match catalogues.turn(key, server(1), Flavour::MySql, now) {
            Turn::Reads(reading) => Some(reading),
            Turn::Waits | Turn::Ready => None,
        }
    }

    fn read(catalogues: &mut Catalogues, key: KeyId, now: Instant) -> Vec<ConnId> {
        let mut reading = begin(catalogues, key, now).unwrap();
        for query in reading.queries() {
            if query.windows(10).any(|part| part == b"PRIVILEGES") {
                reading.row(&[None]);
            }
            reading.done();
        }
        let (waiting, is_blind) = catalogues.read(key, *reading, now);
        assert!(!is_blind);
        waiting
    }

    #[test]
    fn they_are_read_once_again_and_when_a_definition_passes() {
        let mut catalogues = Catalogues::default();
        let now = Instant::now();
        let (one, two) = (KeyId(1), KeyId(2));
        let hides = |catalogues: &Catalogues, key| {
            let hides = catalogues.hides(key, b"SELECT * FROM v", Mode::default(), Some(b"a"));
            hides.opaque.is_some()
        };
        assert!(hides(&catalogues, one), "nothing is known");
        read(&mut catalogues, one, now);
        assert!(!hides(&catalogues, one));
        assert!(hides(&catalogues, two), "another account");
        assert!(begin(&mut catalogues, one, now).is_none());
        assert_eq!(catalogues.due(now), []);
        catalogues.passed(b"INSERT INTO v VALUES (1)", Mode::default(), now);
        assert_eq!(catalogues.due(now), []);
        catalogues.passed(b"CREATE VIEW v AS SELECT 1", Mode::default(), now);
        assert_eq!(catalogues.due(now), [one]);
        assert!(hides(&catalogues, one), "until it is read");
        read(&mut catalogues, one, now);
        assert!(!hides(&catalogues, one));
        assert_eq!(catalogues.due(now + EVERY), [one]);
    }

    #[test]
    fn others_wait_for_the_first_reading() {
        let mut catalogues = Catalogues::default();
        let now = Instant::now();
        let key = KeyId(1);
        let reading = begin(&mut catalogues, key, now).unwrap();
        let turn = catalogues.turn(key, server(2), Flavour::MySql, now);
        assert!(matches!(turn, Turn::Waits));
        // The first one dies.
        drop(reading);
        assert_eq!(catalogues.interrupted(key), [server(2)]);
        let reading = begin(&mut catalogues, key, now).unwrap();
        let turn = catalogues.turn(key, server(3), Flavour::MySql, now);
        assert!(matches!(turn, Turn::Waits));
        let (waiting, is_blind) = catalogues.read(key, *reading, now);
        assert_eq!(waiting, [server(3)]);
        assert!(!is_blind && catalogues.is_unread(key), "none of it");
        // Nobody waits for the second one.
        let later = now + EVERY;
        assert!(begin(&mut catalogues, key, later).is_some());
        assert_eq!(catalogues.due(later), []);
    }
}
