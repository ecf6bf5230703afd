//! What must be read of a connection before the settings of its session are known.

use bitflags::bitflags;

use super::settings::has_movable_transaction;
use super::snapshot::Snapshot;
use super::variables::is_nullable;
use crate::track::{Fact, Session};

/// A row of an answer.
pub type Row = Vec<Option<Vec<u8>>>;

/// Makes MariaDB send the reports that are due: it sends them only with a report of something else.
const REPORT_SOMETHING: &[u8] = b"SET session_track_schema=1";

bitflags! {
    /// What is not known, apart from single variables.
    #[derive(Copy, Clone, Debug, Default, PartialEq, Eq)]
    struct Parts: u8 {
        /// Reports are due after an error.
        const REPORTS = 1;
        /// Whether a transaction is open, and whether each statement commits itself: any answer
        /// tells.
        const STATUS = 2;
        const SCHEMA = 4;
        const LAST_INSERT_ID = 8;
        /// Any variable.
        const VARIABLES = 16;
        /// Those of the next transaction, which cannot be read.
        const CHARACTERISTICS = 32;
        /// There is a transaction that no other connection can take over.
        const TRANSACTION = 64;
        /// The trackers are not as they should be, so that nothing is reliable.
        const TRACKERS = 128;
    }
}

impl Parts {
    /// What no query tells.
    const UNREADABLE: Parts = Parts::CHARACTERISTICS
        .union(Parts::TRANSACTION)
        .union(Parts::TRACKERS);
}

/// What is not known of a session.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Unknown {
    parts: Parts,
    /// Variables, by their one names.
    names: Vec<String>,
}

impl Unknown {
    /// What is not known of a session, apart from the variables that it mentions.
    pub(super) fn of(session: &Session) -> Unknown {
        let mut parts = Parts::empty();
        parts.set(Parts::TRACKERS, !session.reports());
        parts.set(Parts::REPORTS, session.is_unsettled());
        parts.set(Parts::VARIABLES, !session.others_are_initial());
        let id = session.last_insert_id();
        parts.set(Parts::LAST_INSERT_ID, id.known().is_none());
        let is_status_known = session.transaction().known().is_some();
        let is_status_known = is_status_known && session.autocommit().known().is_some();
        parts.set(Parts::STATUS, !is_status_known);
        if !session.is_unsettled() {
            // Otherwise the reports that are due may tell.
            parts.set(Parts::SCHEMA, session.schema().known().is_none());
            let is_unclear = matches!(session.characteristics(), Fact::Unknown(_));
            parts.set(Parts::CHARACTERISTICS, is_unclear);
        }
        // After an error no transaction counts as unused.
        let is_stuck = is_status_known && !has_movable_transaction(session);
        parts.set(Parts::TRANSACTION, is_stuck);
        Unknown {
            parts,
            names: Vec::new(),
        }
    }

    /// This variable is not known, either.
    pub(super) fn add(&mut self, name: &str) {
        self.names.push(name.to_string());
    }

    /// Whether everything is known.
    pub(super) fn is_nothing(&self) -> bool {
        self.parts.is_empty() && self.names.is_empty()
    }

    /// Whether everything is known but for what ends with the transaction.
    pub(super) fn is_of_transaction(&self) -> bool {
        let ends = Parts::TRANSACTION | Parts::CHARACTERISTICS;
        ends.contains(self.parts) && self.names.is_empty()
    }

    /// The variables that are not known, if nothing else is unknown that would have to be read
    /// before it can be set.
    pub(super) fn uncertain(&self) -> Option<&[String]> {
        let is_all = Parts::LAST_INSERT_ID.contains(self.parts);
        is_all.then_some(self.names.as_slice())
    }

    /// Whether no query can tell it: the session cannot leave its connection as it is.
    pub fn is_unreadable(&self) -> bool {
        self.parts.intersects(Parts::UNREADABLE)
    }

    /// The queries that read it, which can be sent without waiting for the answers between them. The
    /// answers of the server pass by the [`Session`] as any others do.
    ///
    /// Once they were learnt, settings should be taken again: after an error it may turn out only
    /// then that there is more to be read.
    pub fn queries(&self, snapshot: &Snapshot) -> Vec<Vec<u8>> {
        let mut queries = Vec::new();
        if self.reports_something(snapshot) {
            queries.push(REPORT_SOMETHING.to_vec());
        }
        // As bytes: the session may want results in a character set that is no superset of ASCII.
        let as_bytes = |what: &str| format!("CAST(CONVERT({what} USING utf8mb4) AS BINARY)");
        let mut columns = vec![as_bytes("LAST_INSERT_ID()"), as_bytes("DATABASE()")];
        let names = self.names.iter().map(|name| snapshot.name(name));
        columns.extend(names.map(|name| as_bytes(&format!("@@session.{name}"))));
        // The limit is for sessions whose sql_select_limit is 0.
        queries.push(format!("SELECT {} LIMIT 1", columns.join(",")).into_bytes());
        if self.parts.contains(Parts::VARIABLES) {
            queries.push(Snapshot::query().to_vec());
        }
        queries
    }

    /// Takes the rows of the answers to the [queries](Unknown::queries), each of which has succeeded.
    pub fn learn(&self, session: &mut Session, snapshot: &Snapshot, answers: &[Vec<Row>]) {
        let mut answers = answers.iter();
        if self.reports_something(snapshot) {
            answers.next();
        }
        let selected = answers.next().map(Vec::as_slice);
        if let Some(rows) = answers.next() {
            self.learn_variables(session, snapshot, rows);
        }
        let Some([row]) = selected else {
            return;
        };
        let [Some(id), schema, values @ ..] = row.as_slice() else {
            return;
        };
        if let Some(id) = std::str::from_utf8(id).ok().and_then(|id| id.parse().ok()) {
            session.learn_last_insert_id(id);
        }
        if self.parts.contains(Parts::SCHEMA) {
            session.learn_schema(schema.as_deref());
        }
        for (name, value) in self.names.iter().zip(values) {
            session.learn_variable(name, as_shown(name, value.as_deref(), snapshot));
        }
    }

    /// All variables were read.
    fn learn_variables(&self, session: &mut Session, snapshot: &Snapshot, rows: &[Row]) {
        let read = Snapshot::new(rows.iter().filter_map(|row| match row.as_slice() {
            [Some(name), value, ..] => Some((name.as_slice(), value.as_deref())),
            _ => None,
        }));
        // Otherwise names came in another character set.
        if !read.has_all_of(snapshot) {
            return;
        }
        let all = read.values().iter();
        let all = all.map(|(name, value)| (name.as_str(), value.as_deref()));
        let mentioned = all.filter(|(name, value)| {
            self.names.iter().any(|mentioned| mentioned == name)
                || snapshot.value(name) != Some(*value)
        });
        session.learn_variables(mentioned);
    }

    fn reports_something(&self, snapshot: &Snapshot) -> bool {
        snapshot.is_mariadb() && self.parts.contains(Parts::REPORTS)
    }
}

/// A value as SHOW VARIABLES has it, which differs from what SELECT has: `ON` and `OFF` are selected
/// as numbers.
fn as_shown<'a>(name: &str, value: Option<&'a [u8]>, snapshot: &Snapshot) -> Option<&'a [u8]> {
    let is_switch = matches!(snapshot.value(name), Some(Some(b"ON" | b"OFF")));
    match value {
        Some(b"0") if is_switch => Some(b"OFF"),
        Some(b"1") if is_switch => Some(b"ON"),
        Some(b"") if is_nullable(name) => None,
        value => value,
    }
}
