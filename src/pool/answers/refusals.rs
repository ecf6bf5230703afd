//! What was refused, for those who look after the pool.

use std::collections::VecDeque;
use std::rc::Rc;
use std::time::Instant;

use crate::pool::judging::reason::Reason;
use crate::sql::{self, Mode};

/// How many kinds are remembered.
const MAX: usize = 100;

/// How much is kept of a statement.
const LONGEST: usize = 1024;

/// Statements of one kind that were refused for one reason.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Refused {
    /// Why.
    pub reason: Reason,
    /// The beginning of the last one.
    pub statement: Vec<u8>,
    /// Whose it was.
    pub user: Rc<str>,
    /// How often.
    pub times: u64,
    /// When the last one came.
    pub last: Instant,
    digest: [u8; 16],
}

/// The kinds that were refused last.
#[derive(Clone, Debug, Default)]
pub struct Refusals {
    /// The last one refused comes last.
    known: VecDeque<Refused>,
}

impl Refusals {
    /// A statement is refused.
    pub fn note(&mut self, reason: Reason, sql: &[u8], mode: Mode, user: &Rc<str>, now: Instant) {
        let digest = sql::digest_hash(sql, mode);
        let same = |one: &Refused| one.reason == reason && one.digest == digest;
        let before = self.known.iter().position(same);
        let times = match before.and_then(|place| self.known.remove(place)) {
            Some(before) => before.times,
            None => 0,
        };
        if self.known.len() >= MAX {
            self.known.pop_front();
        }
        self.known.push_back(Refused {
            reason,
            statement: sql.get(..LONGEST).unwrap_or(sql).to_vec(),
            user: user.clone(),
            times: times + 1,
            last: now,
            digest,
        });
    }

    /// What was refused, the last one first.
    pub fn iter(&self) -> impl Iterator<Item = &Refused> {
        self.known.iter().rev()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn equal_kinds_are_counted_together() {
        let (mut refusals, now) = (Refusals::default(), Instant::now());
        let (ann, bob): (Rc<str>, Rc<str>) = ("ann".into(), "bob".into());
        for (sql, user) in [
            ("SELECT 1", &ann),
            ("SHOW WARNINGS", &ann),
            ("SELECT 2", &bob),
        ] {
            let reason = Reason::DiagnosticsWanted;
            refusals.note(reason, sql.as_bytes(), Mode::default(), user, now);
        }
        let told: Vec<_> = refusals
            .iter()
            .map(|one| (one.statement.as_slice(), one.times, &*one.user))
            .collect();
        assert_eq!(
            told,
            [(&b"SELECT 2"[..], 2, "bob"), (b"SHOW WARNINGS", 1, "ann")]
        );
    }

    #[test]
    fn what_was_refused_long_ago_is_forgotten() {
        let (mut refusals, now) = (Refusals::default(), Instant::now());
        let ann: Rc<str> = "ann".into();
        for column in 0..MAX + 10 {
            let sql = format!("SELECT c{column} FROM t");
            refusals.note(Reason::Sequence, sql.as_bytes(), Mode::default(), &ann, now);
        }
        assert_eq!(refusals.iter().count(), MAX);
        assert_eq!(refusals.iter().next().map(|one| one.times), Some(1));
    }
}
