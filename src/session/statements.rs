//! The prepared statements of a connection: the one tracker of them, without sockets or scripts.
//!
//! It has two uses. To translate executes between ends of which only one has query attributes, only
//! the number of parameters is kept ([`Statements::count`]). To decode executes and their results
//! the whole statement is kept ([`Statements::remember`]).

mod budget;
mod columns;
mod statement;
#[cfg(test)]
mod tests;

use std::collections::BTreeMap;
use std::rc::Rc;

use super::at_rest::Counted;
use super::step::Head;
use crate::wire::{Com, LAST_PREPARED};

pub use budget::Budget;
pub use columns::Columns;
pub use statement::{Definitions, Kept, LongData, Statement};

/// The most statements whose parameters are counted. (By default servers allow 16,382.)
const MOST_COUNTED: usize = 1 << 16;
/// The most statements that are remembered.
const MOST_REMEMBERED: usize = 4096;

/// The statements of a connection, by their ids. Beyond the limit the least recently used one is
/// dropped.
#[derive(Debug, Default)]
pub struct Statements {
    by_id: BTreeMap<u32, Entry>,
    /// Their ids, the least recently used first.
    by_age: BTreeMap<u64, u32>,
    newest: u64,
    /// The one that the id [`LAST_PREPARED`] stands for.
    last: Option<u32>,
    budget: Rc<Budget>,
}

#[derive(Debug)]
struct Entry {
    age: u64,
    params: u16,
    /// The whole statement, if it is remembered.
    kept: Option<Kept>,
}

impl Statements {
    /// The memory of all remembered statements.
    pub fn budget(&self) -> &Rc<Budget> {
        &self.budget
    }

    /// Remembers a statement.
    pub fn remember(&mut self, statement: Rc<Statement>) {
        let head = statement.head();
        let (id, params) = (head.statement_id, head.params);
        self.insert(id, params, Some(Kept::new(statement)), MOST_REMEMBERED);
    }

    /// Adds a statement's number of parameters, from the answer to COM_STMT_PREPARE: header(1)
    /// id(4) columns(2) parameters(2).
    pub fn count(&mut self, head: Head<'_>) {
        if let [_, i0, i1, i2, i3, _, _, p0, p1, ..] = *head.bytes {
            let id = u32::from_le_bytes([i0, i1, i2, i3]);
            let params = u16::from_le_bytes([p0, p1]);
            self.insert(id, params, None, MOST_COUNTED);
        }
    }

    /// How many parameters each takes.
    pub fn counted(&self) -> Counted {
        let by_age = self.by_age.values();
        let params = by_age.filter_map(|id| Some((*id, self.by_id.get(id)?.params)));
        Counted {
            params: params.collect(),
            last: self.last,
        }
    }

    /// Statements of which that is known.
    pub fn of_counted(counted: &Counted) -> Statements {
        let mut statements = Statements::default();
        for (id, params) in &counted.params {
            statements.insert(*id, *params, None, MOST_COUNTED);
        }
        statements.last = counted.last;
        statements
    }

    fn insert(&mut self, id: u32, params: u16, kept: Option<Kept>, most: usize) {
        self.newest += 1;
        let entry = Entry {
            age: self.newest,
            params,
            kept,
        };
        if let Some(before) = self.by_id.insert(id, entry) {
            self.by_age.remove(&before.age);
        }
        self.by_age.insert(self.newest, id);
        self.last = Some(id);
        if self.by_id.len() > most
            && let Some((_, oldest)) = self.by_age.pop_first()
        {
            self.by_id.remove(&oldest);
        }
    }

    /// Handles commands that close statements, or after which another statement is the last one.
    pub fn command(&mut self, com: Com, statement: Option<u32>) {
        match (com, statement) {
            (Com::STMT_CLOSE, Some(id)) => {
                let id = self.resolve(id);
                if let Some(entry) = id.and_then(|id| self.by_id.remove(&id)) {
                    self.by_age.remove(&entry.age);
                }
                self.last = self.last.filter(|last| Some(*last) != id);
            }
            // Until its answer has come it is unknown which statement is the last one.
            (Com::STMT_PREPARE, _) => self.last = None,
            (Com::RESET_CONNECTION | Com::CHANGE_USER, _) => {
                self.by_id.clear();
                self.by_age.clear();
                self.last = None;
            }
            _ => {}
        }
    }

    /// The real id that a command means, since the statement prepared last also has a special one.
    fn resolve(&self, id: u32) -> Option<u32> {
        match id {
            LAST_PREPARED => self.last,
            id => Some(id),
        }
    }

    fn entry(&self, id: u32) -> Option<&Entry> {
        self.by_id.get(&self.resolve(id)?)
    }

    /// How many parameters a statement takes, if it is known.
    pub fn params(&self, id: u32) -> Option<u16> {
        Some(self.entry(id)?.params)
    }

    /// A statement that is remembered.
    pub fn get(&self, id: u32) -> Option<&Rc<Statement>> {
        let kept = self.entry(id)?.kept.as_ref();
        kept.map(Kept::statement)
    }

    /// Marks a statement as the most recently used.
    pub fn touch(&mut self, id: u32) {
        let Some(id) = self.resolve(id) else {
            return;
        };
        let Some(entry) = self.by_id.get_mut(&id) else {
            return;
        };
        self.newest += 1;
        self.by_age.remove(&entry.age);
        self.by_age.insert(self.newest, id);
        entry.age = self.newest;
    }

    /// The ids of all, in ascending order.
    pub fn ids(&self) -> impl Iterator<Item = u32> {
        self.by_id.keys().copied()
    }
}
