//! The catalogues of a pool's servers, and when to read them.

use std::collections::HashMap;
use std::time::{Duration, Instant};

use super::catalogue::{Catalogue, Harmless, Hides, Reading};
use super::flavour::Flavour;
use super::key::KeyId;
use crate::sql::Mode;

/// How often definitions are read again that nobody was seen to change.
const EVERY: Duration = Duration::from_secs(60);
/// How long a reading may take before another connection tries.
const PATIENCE: Duration = Duration::from_secs(10);

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
}

impl Catalogues {
    /// None are read yet.
    pub fn new(harmless: Harmless) -> Catalogues {
        Catalogues {
            harmless,
            by_key: HashMap::new(),
        }
    }

    /// Begins to read what this account can see, if that is due.
    pub fn begin(&mut self, key: KeyId, flavour: Flavour, now: Instant) -> Option<Reading> {
        if !self.is_due(key, now) {
            return None;
        }
        let entry = self.by_key.entry(key).or_insert_with(|| Entry {
            catalogue: Catalogue::unread(),
            due: now,
        });
        entry.due = now + PATIENCE;
        let is_mariadb = flavour == Flavour::MariaDb;
        Some(Reading::new(is_mariadb, self.harmless.clone()))
    }

    /// Whether it is time to read what this account can see.
    pub fn is_due(&self, key: KeyId, now: Instant) -> bool {
        self.by_key.get(&key).is_none_or(|entry| entry.due <= now)
    }

    /// Of the accounts whose definitions were read before, those for whom it is time.
    pub fn due(&self, now: Instant) -> Vec<KeyId> {
        let due = self.by_key.iter().filter(|(_, entry)| entry.due <= now);
        due.map(|(key, _)| *key).collect()
    }

    /// All was read. True if the account cannot see triggers everywhere, and that is new.
    pub fn read(&mut self, key: KeyId, reading: Reading, now: Instant) -> bool {
        let catalogue = reading.finish();
        let is_blind = catalogue.is_blind();
        let due = now + EVERY;
        let before = self.by_key.insert(key, Entry { catalogue, due });
        is_blind && before.is_none_or(|before| before.catalogue.is_unread())
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

    fn read(catalogues: &mut Catalogues, key: KeyId, now: Instant) {
        let mut reading = catalogues.begin(key, Flavour::MySql, now).unwrap();
        while let Some(query) = reading.query() {
            if query.windows(10).any(|part| part == b"PRIVILEGES") {
                reading.row(&[None]);
            }
            reading.done();
        }
        assert!(!catalogues.read(key, reading, now));
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
        assert!(catalogues.begin(one, Flavour::MySql, now).is_none());
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
    fn a_reading_that_does_not_end_is_begun_again() {
        let mut catalogues = Catalogues::default();
        let now = Instant::now();
        let key = KeyId(1);
        assert!(catalogues.begin(key, Flavour::MySql, now).is_some());
        assert!(catalogues.begin(key, Flavour::MySql, now).is_none());
        let later = now + PATIENCE;
        assert!(catalogues.begin(key, Flavour::MySql, later).is_some());
    }
}
