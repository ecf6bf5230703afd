//! What must be read of a connection before the settings of its session are known.

use super::snapshot::Snapshot;
use super::variables::is_nullable;
use crate::track::{Session, canonical_name};

/// A row of an answer.
pub type Row = Vec<Option<Vec<u8>>>;

/// What is not known of a session.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Unknown {
    /// Changes that an error has left, and that were not reported yet.
    pub(super) settle: bool,
    /// Any variable may have changed.
    pub(super) all: bool,
    pub(super) schema: bool,
    pub(super) characteristics: bool,
    pub(super) last_insert_id: bool,
    /// Variables, by their one names.
    pub(super) names: Vec<String>,
}

impl Unknown {
    /// Whether it cannot be read at all, so that the connection has to be reset.
    pub fn is_unreadable(&self) -> bool {
        self.characteristics && !self.settle
    }

    /// The queries that read it, which can be sent at once. Settings should be taken again after
    /// their answers were learnt.
    pub fn queries(&self, snapshot: &Snapshot) -> Vec<Vec<u8>> {
        let mut queries = Vec::new();
        if self.settle && snapshot.is_mariadb() {
            // Sends the reports that are due with its own.
            queries.push(b"SET session_track_schema=1".to_vec());
        }
        let mut columns = String::from("SELECT LAST_INSERT_ID(), DATABASE()");
        for name in &self.names {
            let name = snapshot.name(name);
            columns.push_str(&format!(
                ", CAST(CONVERT(@@session.{name} USING utf8mb4) AS BINARY)"
            ));
        }
        queries.push(columns.into_bytes());
        if self.all {
            queries.push(Snapshot::query().to_vec());
        }
        queries
    }

    /// Takes the rows of each query's answer.
    pub fn learn(&self, session: &mut Session, snapshot: &Snapshot, answers: &[Vec<Row>]) {
        session.settled();
        let after_set = usize::from(self.settle && snapshot.is_mariadb());
        let answer = |index: usize| answers.get(index + after_set);
        if self.all
            && let Some(rows) = answer(1)
        {
            let read = Snapshot::new(rows.iter().filter_map(|row| match row.as_slice() {
                [Some(name), value, ..] => Some((name.as_slice(), value.as_deref())),
                _ => None,
            }));
            let changed = read.values().iter().filter(|(name, value)| {
                self.names.contains(name) || snapshot.value(name) != Some(value.as_deref())
            });
            session.learn_variables(changed.map(|(name, value)| (name.as_str(), value.as_deref())));
        }
        let Some([row]) = answer(0).map(Vec::as_slice) else {
            return;
        };
        let [Some(id), schema, values @ ..] = row.as_slice() else {
            return;
        };
        if let Some(id) = std::str::from_utf8(id).ok().and_then(|id| id.parse().ok()) {
            session.learn_last_insert_id(id);
        }
        if self.schema {
            session.learn_schema(schema.as_deref());
        }
        for (name, value) in self.names.iter().zip(values) {
            let name = canonical_name(name);
            let value = as_shown(name, value.as_deref(), snapshot);
            session.learn_variable(name, value);
        }
    }
}

/// A value as SHOW VARIABLES has it: `ON` and `OFF` are selected as numbers.
fn as_shown<'a>(name: &str, value: Option<&'a [u8]>, snapshot: &Snapshot) -> Option<&'a [u8]> {
    let is_switch = matches!(snapshot.value(name), Some(Some(b"ON" | b"OFF")));
    match value {
        Some(b"0") if is_switch => Some(b"OFF"),
        Some(b"1") if is_switch => Some(b"ON"),
        Some(b"") if is_nullable(name) => None,
        value => value,
    }
}
