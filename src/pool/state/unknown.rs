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

    /// Whether everything is known that matters while the session stays on its connection.
    pub(super) fn stays_in_place(&self) -> bool {
        let stays = Parts::TRANSACTION | Parts::CHARACTERISTICS | Parts::LAST_INSERT_ID;
        stays.contains(self.parts) && self.names.is_empty()
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
        let names = self.read(snapshot).map(|name| snapshot.name(name));
        columns.extend(names.map(|name| as_bytes(&format!("@@session.{name}"))));
        // The limit is for sessions whose sql_select_limit is 0. (It cuts the rows of SHOW VARIABLES as well, and has no
        // effect there.)
        queries.push(format!("SELECT {} LIMIT 1", columns.join(",")).into_bytes());
        queries
    }

    /// The variables whose values are read, by their one names.
    fn read<'a>(&'a self, snapshot: &'a Snapshot) -> Box<dyn Iterator<Item = &'a str> + 'a> {
        match self.parts.contains(Parts::VARIABLES) {
            true => Box::new(snapshot.values().keys().map(String::as_str)),
            false => Box::new(self.names.iter().map(String::as_str)),
        }
    }

    /// Takes the rows of the answers to the [queries](Unknown::queries), each of which has succeeded.
    pub fn learn(&self, session: &mut Session, snapshot: &Snapshot, answers: &[Vec<Row>]) {
        let mut answers = answers.iter();
        if self.reports_something(snapshot) {
            answers.next();
        }
        let selected = answers.next().map(Vec::as_slice);
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
        let read = self.read(snapshot).zip(values);
        let read = read.map(|(name, value)| (name, as_shown(name, value.as_deref(), snapshot)));
        if self.parts.contains(Parts::VARIABLES) {
            // All others are as the session has begun with.
            let is_mentioned = |name| self.names.iter().any(|mentioned| mentioned == name);
            session.learn_variables(read.filter(|(name, value)| {
                is_mentioned(*name) || snapshot.value(name) != Some(*value)
            }));
        } else {
            read.for_each(|(name, value)| session.learn_variable(name, value));
        }
    }

    fn reports_something(&self, snapshot: &Snapshot) -> bool {
        snapshot.is_mariadb() && self.parts.contains(Parts::REPORTS)
    }
}

/// A value as SHOW VARIABLES has it, which differs from what SELECT has: `ON` and `OFF` are selected
/// as numbers, and numbers with other decimals.
fn as_shown<'a>(name: &str, value: Option<&'a [u8]>, snapshot: &'a Snapshot) -> Option<&'a [u8]> {
    let initial = snapshot.value(name).flatten();
    let is_switch = matches!(initial, Some(b"ON" | b"OFF"));
    let number = |text: &[u8]| std::str::from_utf8(text).ok()?.parse::<f64>().ok();
    let is_equal = |text: &[u8]| {
        let initial = initial
            .filter(|initial| initial.contains(&b'.'))
            .and_then(number);
        initial.is_some() && initial == number(text)
    };
    match value {
        Some(text) if is_equal(text) => initial,
        Some(b"0") if is_switch => Some(b"OFF"),
        Some(b"1") if is_switch => Some(b"ON"),
        Some(b"") if is_nullable(name) => None,
        value => value,
    }
}
