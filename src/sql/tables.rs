//! The tables that a statement reads and writes, and what else decides where values may come from
//! and go to.
//!
//! Guards rely on this, so it errs on one side: a table may be named that the server does not touch,
//! but none is missing, unless [`Tables::unknown`] says why that cannot be known. What views,
//! triggers and routines do does not show in the text; routines are named.

mod definitions;
mod names;
mod queries;
mod reader;
mod verbs;

use std::collections::HashSet;

use bitflags::bitflags;

use super::Mode;
use super::statement::other_modes;
use super::tokens::Doubts;
use reader::Reader;

/// How many tokens are read: what is longer than that is not known, rather than slow.
pub const MAX_TOKENS: usize = 2_000_000;

/// How many different tables, routines, copies and variables are told apart.
pub const MAX_NAMES: usize = 1000;

bitflags! {
    /// What is done with a table.
    #[derive(Copy, Clone, Debug, PartialEq, Eq, Hash, Default)]
    pub struct Access: u8 {
        /// Its rows are read.
        const READ = 1;
        /// Its rows, or its definition, are changed.
        const WRITE = 2;
    }
}

bitflags! {
    /// Where values may come from and go to, besides tables.
    #[derive(Copy, Clone, Debug, PartialEq, Eq, Default)]
    pub struct Ways: u16 {
        /// Nothing says that only rows are sent: what is not understood may have changed anything.
        const ANYTHING = 1;
        /// It stores values in tables.
        const STORES = 2;
        /// It defines, renames or drops tables or views.
        const DEFINES = 4;
        /// The tables that it creates are temporary.
        const TEMPORARY = 8;
        /// It sets system variables.
        const SETS_SYSTEM = 16;
        /// `LAST_INSERT_ID(x)`.
        const SETS_INSERT_ID = 32;
        /// It writes a file on the server.
        const WRITES_FILE = 64;
        /// It shows warnings or errors of statements before it.
        const DIAGNOSTICS = 128;
        /// It calls a procedure.
        const CALLS = 256;
        /// It changes or renames tables or views that are there.
        const ALTERS = 512;
        /// It chooses another schema, in which names mean other tables.
        const SCHEMA = 1024;
        /// Its rows are those of other queries in it: UNION, WITH, a query in FROM. Servers then may say
        /// that a column comes from a table that has no such column.
        const DERIVES = 2048;
    }
}

/// What is done with a user variable.
#[derive(Copy, Clone, Debug, PartialEq, Eq, Hash)]
pub enum Use {
    /// Its value is used.
    Read,
    /// It may get another value: not, for example, if there is no row.
    MaySet,
    /// It gets another value if the statement succeeds.
    Set,
}

/// A name, with its schema if that is written before it. Without quotes.
#[derive(Clone, Debug, PartialEq, Eq, Hash, Default)]
pub struct Name {
    /// What is before the dot.
    pub schema: Option<Vec<u8>>,
    /// What is behind it.
    pub name: Vec<u8>,
}

/// What a text of one or more statements does with tables.
#[derive(Clone, Debug, PartialEq, Eq, Default)]
pub struct Tables {
    /// Each table, once for each kind of access.
    pub tables: Vec<(Name, Access)>,
    /// Functions and procedures that servers do not have built in.
    pub routines: Vec<Name>,
    /// The columns whose values are assigned to others in `SET a = b`: from, to.
    pub copies: Vec<(Vec<u8>, Vec<u8>)>,
    /// User variables, in lower case. Those that a file or diagnostics are read into are not named.
    pub variables: Vec<(Vec<u8>, Use)>,
    /// `PREPARE name FROM 'text'`: the name and the text.
    pub prepares: Option<(Vec<u8>, Vec<u8>)>,
    /// `EXECUTE name`.
    pub executes: Option<Vec<u8>>,
    /// How many statements there are.
    pub statements: usize,
    /// The other ways of values.
    pub ways: Ways,
    /// Why it is not known which tables are used.
    pub unknown: Option<&'static str>,
}

impl Tables {
    /// What holds if a server may read the text in either of two ways.
    fn either(mut self, other: Tables) -> Tables {
        merge(&mut self.tables, other.tables);
        merge(&mut self.routines, other.routines);
        merge(&mut self.copies, other.copies);
        merge(&mut self.variables, other.variables);
        self.ways |= other.ways;
        self.unknown = self.unknown.or(other.unknown);
        self.statements = self.statements.max(other.statements);
        if self.prepares != other.prepares || self.executes != other.executes {
            self.give_up("its strings depend on the SQL mode");
        }
        self
    }

    fn names(&self) -> usize {
        self.tables.len() + self.routines.len() + self.copies.len() + self.variables.len()
    }

    fn give_up(&mut self, reason: &'static str) {
        self.unknown.get_or_insert(reason);
        self.ways |= Ways::ANYTHING;
    }
}

fn merge<T: Clone + Eq + std::hash::Hash>(into: &mut Vec<T>, from: Vec<T>) {
    let known: HashSet<T> = into.iter().cloned().collect();
    into.extend(from.into_iter().filter(|one| !known.contains(one)));
}

/// The tables of a text.
pub fn tables(sql: &[u8], mode: Mode) -> Tables {
    let first = read(sql, mode);
    let tried = Doubts::ESCAPED_QUOTE | Doubts::DOUBLE_QUOTE;
    let mut doubts = first.doubts;
    let mut readings = vec![first];
    if doubts.intersects(tried) {
        for other in other_modes(mode) {
            let reading = read(sql, other);
            doubts |= reading.doubts;
            readings.push(reading);
        }
    }
    // A single statement that no server parses in a mode has done nothing in that mode.
    let mut all = readings.len();
    readings.retain(|reading| {
        let goes = all > 1 && reading.fails && reading.tables.statements <= 1;
        all -= usize::from(goes);
        !goes
    });
    let mut found = Tables::default();
    for (place, reading) in readings.into_iter().enumerate() {
        let mut tables = reading.tables;
        if reading.fails {
            tables.give_up("it is incomplete, or depends on the SQL mode");
        }
        found = match place {
            0 => tables,
            _ => found.either(tables),
        };
    }
    if mode.is_in_doubt(doubts - tried) {
        found.give_up("servers may read it differently");
    }
    if found.names() > MAX_NAMES {
        found.give_up("it names too many tables");
    }
    found
}

/// The text read in one mode.
struct Reading {
    tables: Tables,
    doubts: Doubts,
    /// Whether a server in this mode would refuse it.
    fails: bool,
}

fn read(sql: &[u8], mode: Mode) -> Reading {
    Reader::new(sql, mode).read()
}

#[cfg(test)]
mod tests;
