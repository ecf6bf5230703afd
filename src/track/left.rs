//! What statements have left behind on a connection, until it is gone.

use std::collections::BTreeMap;

use super::fact::Doubt;
use crate::sql::effects::{Effects, Named, Names, Traces};

/// How many names are remembered.
const MAX_NAMES: usize = 256;
/// Longer names are no server's.
const MAX_NAME: usize = 1024;

/// What is left, what may be, and the names of it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Left {
    certain: Traces,
    /// What texts say that may be left.
    possible: Traces,
    /// Anything may have been left, for this reason.
    opaque: Option<Doubt>,
    /// What was certainly removed since then.
    removed: Traces,
    /// Why what may be left is not certain.
    why: Doubt,
    /// By trace and name, of what may be there, how often. What is there and not here is `unnamed`.
    names: BTreeMap<(u32, Vec<u8>), u32>,
    /// Traces of which not all names are known.
    unnamed: Traces,
}

impl Left {
    /// What a reset leaves on the connection.
    pub(super) const KEPT: Traces = Traces::ROLE
        .union(Traces::RESOURCE_GROUP)
        .union(Traces::PROFILES)
        .union(Traces::OPTIMIZER_TRACES);

    /// Anything may have been left, for this reason.
    pub(super) fn anything(why: Doubt) -> Left {
        Left {
            opaque: Some(why),
            ..Left::nothing(why)
        }
    }

    fn nothing(why: Doubt) -> Left {
        Left {
            certain: Traces::empty(),
            possible: Traces::empty(),
            opaque: None,
            removed: Traces::empty(),
            why,
            names: BTreeMap::new(),
            unnamed: Traces::empty(),
        }
    }

    /// What is certainly there.
    pub(super) fn certain(&self) -> Traces {
        self.certain
    }

    /// What may be there as texts say, apart from what is opaque.
    pub(super) fn possible(&self) -> Traces {
        self.possible
    }

    /// Why anything may be there.
    pub(super) fn opaque(&self) -> Option<Doubt> {
        self.opaque
    }

    /// All that may be there, but is not certain, and why.
    pub(super) fn may_be(&self) -> (Traces, Doubt) {
        let hidden = match self.opaque {
            Some(_) => Traces::all() - self.removed,
            None => Traces::empty(),
        };
        ((self.possible | hidden) - self.certain, self.why)
    }

    /// A login or a reset, after which only this may be there.
    pub(super) fn reset(&mut self, kept: Traces, why: Doubt) {
        let (may_be, _) = self.may_be();
        *self = Left {
            certain: self.certain & kept,
            possible: may_be & kept,
            unnamed: kept,
            ..Left::nothing(why)
        };
    }

    /// What is certainly there may still be there, but no longer certainly.
    pub(super) fn doubt_certain(&mut self) {
        self.possible |= self.certain;
        self.certain = Traces::empty();
    }

    /// A statement has succeeded, in this schema.
    pub(super) fn succeeded(&mut self, effects: &Effects, schema: Option<&[u8]>) {
        self.remove(effects.clears);
        self.lose(&effects.names, schema);
        self.doubt_names(effects);
        self.certain |= effects.leaves;
        self.removed -= effects.leaves | effects.may_leave;
        self.possible -= effects.leaves;
        // It may have removed what has no name, or what it does not name.
        let unproven = effects.may_clear & self.certain;
        let named = effects.names.lost.iter().map(|named| named.trace);
        let named = named.fold(Traces::empty(), |all, one| all | one) - self.unnamed;
        self.suspect(unproven - named, Doubt::Expression);
        self.suspect(effects.may_leave - self.certain, Doubt::Expression);
        self.gain(effects, schema);
    }

    /// A statement has failed: it may have done all or nothing.
    pub(super) fn failed(&mut self, effects: &Effects, schema: Option<&[u8]>) {
        self.doubt_names(effects);
        let touched = effects.leaves | effects.may_leave;
        self.removed -= touched;
        self.suspect(touched - self.certain, Doubt::Error);
        let goes = effects.clears | effects.may_clear;
        self.suspect(goes & self.certain, Doubt::Error);
        self.gain(effects, schema);
    }

    /// This may have been left, by something that does not show in the text.
    pub(super) fn hid(&mut self, traces: Traces, why: Doubt) {
        self.removed -= traces;
        self.unnamed |= traces;
        self.suspect(traces - self.certain, why);
    }

    /// Anything may have been left, for this reason.
    pub(super) fn may_be_anything(&mut self, why: Doubt) {
        self.removed = Traces::empty();
        if self.opaque.is_none() {
            self.opaque = Some(why);
            self.why = why;
        }
    }

    /// This is certainly gone.
    pub(super) fn remove(&mut self, traces: Traces) {
        if !traces.is_empty() {
            self.removed |= traces;
            self.forget(traces);
        }
    }

    /// All of this that is known is gone.
    pub(super) fn forget(&mut self, traces: Traces) {
        self.certain -= traces;
        self.possible -= traces;
        self.unnamed -= traces;
        self.names
            .retain(|(trace, _), _| !traces.contains(Traces::from_bits_truncate(*trace)));
    }

    fn suspect(&mut self, traces: Traces, why: Doubt) {
        if !traces.is_empty() {
            self.certain -= traces;
            self.possible |= traces;
            if self.opaque.is_none() {
                self.why = why;
            }
        }
    }

    /// A temporary table may have got another name, or a statement has removed what is not known.
    fn doubt_names(&mut self, effects: &Effects) {
        if effects.names.lost.is_empty() {
            self.unnamed |= effects.may_clear & (self.certain | self.possible);
        }
    }

    fn lose(&mut self, names: &Names, schema: Option<&[u8]>) {
        for named in &names.lost {
            if let Some(key) = key(named, schema)
                && let Some(count) = self.names.get_mut(&key)
            {
                *count -= 1;
                if *count == 0 {
                    self.names.remove(&key);
                }
            }
            let bits = named.trace.bits();
            let is_left = self.names.keys().any(|(trace, _)| *trace == bits);
            if !is_left && !self.unnamed.contains(named.trace) {
                self.forget(named.trace);
            }
        }
    }

    /// Notes the names of what may be left; what is left without one is unnamed.
    fn gain(&mut self, effects: &Effects, schema: Option<&[u8]>) {
        let mut unnamed = effects.leaves | effects.may_leave;
        for named in &effects.names.gained {
            let Some(key) = key(named, schema).filter(|_| self.names.len() < MAX_NAMES) else {
                continue;
            };
            let count = self.names.entry(key).or_default();
            // Only locks are taken several times.
            *count = match named.trace {
                Traces::NAMED_LOCKS => count.saturating_add(1),
                _ => 1,
            };
            unnamed -= named.trace;
        }
        let is_nameless = |named: &&Named| key(named, schema).is_none();
        let nameless = effects.names.gained.iter().filter(is_nameless);
        unnamed |= nameless.fold(Traces::empty(), |all, one| all | one.trace);
        if self.names.len() >= MAX_NAMES {
            unnamed |= effects.leaves | effects.may_leave;
        }
        self.unnamed |= unnamed;
    }
}

/// Under what a name is remembered: that of a table with its schema, or not at all.
fn key(named: &Named, schema: Option<&[u8]>) -> Option<(u32, Vec<u8>)> {
    let name = &named.name;
    let full = match named.trace {
        Traces::TEMPORARY_TABLES => {
            let schema = name.schema.as_deref().or(schema)?;
            [schema, name.name.as_slice()].join(&0)
        }
        _ => name.name.clone(),
    };
    (full.len() <= MAX_NAME).then_some((named.trace.bits(), full))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::sql::Mode;
    use crate::sql::effects::effects;

    /// What is left after these statements in a schema; those after `!` have failed.
    fn after(statements: &[&str]) -> Left {
        let mut left = Left::nothing(Doubt::Login);
        for sql in statements {
            let (sql, failed) = match sql.strip_prefix('!') {
                Some(sql) => (sql, true),
                None => (*sql, false),
            };
            for one in effects(sql.as_bytes(), Mode::default()) {
                match failed {
                    true => left.failed(&one, Some(b"shop")),
                    false => left.succeeded(&one, Some(b"shop")),
                }
            }
        }
        left
    }

    #[test]
    fn what_has_a_name_goes_by_its_name() {
        for statements in [
            &["CREATE TEMPORARY TABLE t (a INT)", "DROP TEMPORARY TABLE t"][..],
            &["CREATE TEMPORARY TABLE t (a INT)", "DROP TABLE shop.t"],
            &[
                "CREATE TEMPORARY TABLE t SELECT 1",
                "CREATE TEMPORARY TABLE IF NOT EXISTS other.u LIKE t",
                "DROP TABLE IF EXISTS t, other.u",
            ],
            &[
                "!CREATE TEMPORARY TABLE t SELECT 1",
                "DROP TABLE IF EXISTS t",
            ],
            &[
                "PREPARE s FROM 'x'",
                "PREPARE S FROM 'y'",
                "DEALLOCATE PREPARE s",
            ],
            &[
                "HANDLER t OPEN AS a",
                "HANDLER t OPEN",
                "HANDLER a CLOSE",
                "HANDLER t CLOSE",
            ],
            &["SELECT GET_LOCK('a', 1)", "DO RELEASE_LOCK('a')"],
            &[
                "SELECT GET_LOCK('a', 1)",
                "SELECT GET_LOCK('a', 1)",
                "SELECT RELEASE_LOCK('a'), RELEASE_LOCK('a')",
            ],
            &["SELECT GET_LOCK(?, 1)", "SELECT RELEASE_ALL_LOCKS()"],
            &[
                "BACKUP STAGE START",
                "BACKUP STAGE FLUSH",
                "BACKUP STAGE END",
            ],
            &["BACKUP LOCK t", "BACKUP UNLOCK"],
        ] {
            let left = after(statements);
            let all = left.certain | left.possible | left.unnamed;
            assert_eq!(all, Traces::empty(), "{statements:?}: {left:?}");
            assert!(left.names.is_empty(), "{statements:?}");
        }
    }

    #[test]
    fn what_is_not_proven_to_be_gone_stays() {
        for statements in [
            &["CREATE TEMPORARY TABLE t (a INT)", "DROP TABLE other.t"][..],
            &["CREATE TEMPORARY TABLE t (a INT)", "!DROP TABLE t"],
            &["CREATE TEMPORARY TABLE T (a INT)", "DROP TABLE t"],
            // It has another name.
            &[
                "CREATE TEMPORARY TABLE t (a INT)",
                "ALTER TABLE t RENAME TO u",
                "DROP TABLE t",
            ],
            &[
                "CREATE TEMPORARY TABLE t (a INT)",
                "!RENAME TABLE t TO u",
                "DROP TABLE t",
            ],
            &[
                "SELECT GET_LOCK('a', 1)",
                "SELECT GET_LOCK('a', 1)",
                "DO RELEASE_LOCK('a')",
            ],
            &["SELECT GET_LOCK('a', 1)", "DO RELEASE_LOCK('b')"],
            &["SELECT GET_LOCK('A', 1)", "DO RELEASE_LOCK('a')"],
            &["SELECT GET_LOCK('a', 1)", "SELECT RELEASE_LOCK('a') FROM t"],
            &["SELECT GET_LOCK(?, 1)", "DO RELEASE_LOCK('a')"],
            &[
                "SELECT GET_LOCK(?, 1)",
                "SELECT GET_LOCK('a', 1)",
                "DO RELEASE_LOCK('a')",
            ],
            // In the order of evaluation nothing is given back.
            &["SELECT RELEASE_LOCK('a'), GET_LOCK('a', 1)"],
            &["HANDLER t OPEN", "HANDLER u OPEN", "HANDLER t CLOSE"],
            &["PREPARE s FROM 'x'", "PREPARE t FROM 'x'", "DROP PREPARE s"],
            &["BACKUP STAGE START", "BACKUP LOCK t", "BACKUP STAGE END"],
        ] {
            let left = after(statements);
            let all = left.certain | left.possible;
            assert_ne!(all, Traces::empty(), "{statements:?}: {left:?}");
        }
    }

    #[test]
    fn without_a_schema_a_table_has_no_name() {
        let mut left = Left::nothing(Doubt::Login);
        for sql in ["CREATE TEMPORARY TABLE t (a INT)", "DROP TABLE t"] {
            for one in effects(sql.as_bytes(), Mode::default()) {
                left.succeeded(&one, None);
            }
        }
        assert_eq!(left.possible, Traces::TEMPORARY_TABLES);
    }

    #[test]
    fn what_is_hidden_has_no_name() {
        let mut left = after(&["SELECT GET_LOCK('a', 1)"]);
        left.hid(Traces::NAMED_LOCKS, Doubt::Routine);
        for one in effects(b"DO RELEASE_LOCK('a')", Mode::default()) {
            left.succeeded(&one, None);
        }
        assert_eq!(left.possible, Traces::NAMED_LOCKS);
        left.may_be_anything(Doubt::Routine);
        left.may_be_anything(Doubt::Hidden);
        assert_eq!(left.may_be(), (Traces::all(), Doubt::Routine));
        assert_eq!(left.possible, Traces::NAMED_LOCKS, "apart from it");
        left.remove(Traces::NAMED_LOCKS);
        let (may_be, why) = left.may_be();
        assert_eq!(why, Doubt::Routine);
        assert_eq!(may_be, Traces::all() - Traces::NAMED_LOCKS);
        left.reset(Left::KEPT, Doubt::Reset);
        assert_eq!(left.may_be(), (Left::KEPT, Doubt::Reset));
        assert_eq!(left.opaque(), None);
    }

    #[test]
    fn names_are_bounded() {
        let mut left = Left::nothing(Doubt::Login);
        for n in 0..10_000 {
            let sql = format!("SELECT GET_LOCK('{n}', 1)");
            left.succeeded(&effects(sql.as_bytes(), Mode::default())[0], None);
        }
        assert_eq!(left.names.len(), MAX_NAMES);
        assert!(left.unnamed.contains(Traces::NAMED_LOCKS));
        let long = format!("PREPARE {} FROM 'x'", "s".repeat(2000));
        left.succeeded(&effects(long.as_bytes(), Mode::default())[0], None);
        assert!(left.unnamed.contains(Traces::PREPARED));
    }
}
