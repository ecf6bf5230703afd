//! One statement of a text, as far as it has been read, and what that proves.

use super::Changes;

/// How far a statement has been read.
#[derive(Copy, Clone, Debug, PartialEq, Eq)]
pub(super) enum Stage {
    /// Its verb is expected, perhaps after parentheses.
    Verb,
    /// After WITH: a name, its columns or AS, its query, and a comma or the main verb.
    WithName,
    WithAs,
    WithColumns,
    WithBody,
    WithNext,
    /// MariaDB's CYCLE … RESTRICT.
    WithCycle,
    /// After EXPLAIN: the explained statement is expected, or a table.
    Explain,
    /// After START, BEGIN, and CREATE or ALTER.
    Start,
    Begin,
    Create,
    Rest,
}

/// One statement, as far as it has been read.
#[derive(Copy, Clone, Debug)]
pub(super) struct Current {
    pub(super) from: Option<usize>,
    pub(super) stage: Stage,
    pub(super) verb: Option<&'static str>,
    /// The verb that an EXPLAIN explains.
    pub(super) explained: Option<&'static str>,
    pub(super) depth: usize,
    /// The depth of parentheses at WITH.
    pub(super) with_depth: usize,
    /// Whether it has a body, in which semicolons do not end the statement.
    pub(super) has_body: bool,
    pub(super) selects: bool,
    pub(super) locking: bool,
    pub(super) into: bool,
    pub(super) selects_into: bool,
    pub(super) explain_into: bool,
    pub(super) analyzes: bool,
    /// By what it changes something, whatever its verb.
    pub(super) changes: Changes,
    /// Whether it has a word that does not belong in a query that only reads.
    pub(super) strays: bool,
}

pub(super) const FRESH: Current = Current {
    from: None,
    stage: Stage::Verb,
    verb: None,
    explained: None,
    depth: 0,
    with_depth: 0,
    has_body: false,
    selects: false,
    locking: false,
    into: false,
    selects_into: false,
    explain_into: false,
    analyzes: false,
    changes: Changes::empty(),
    strays: false,
};

impl Current {
    /// Whether, as a query, it only reads.
    pub(super) fn only_reads(&self) -> bool {
        !(self.strays || self.locking || self.into) && self.changes.is_empty()
    }

    pub(super) fn is_read_only(&self) -> bool {
        match (self.verb, self.explained) {
            (Some("SELECT" | "TABLE" | "VALUES"), _) => self.only_reads(),
            (Some("SHOW"), _) => !self.locking && self.changes.is_empty(),
            (Some("EXPLAIN"), Some("SELECT" | "TABLE" | "VALUES")) => self.only_reads(),
            (Some("EXPLAIN"), Some(_)) => {
                !(self.analyzes || self.explain_into) && self.changes.is_empty()
            }
            (Some("EXPLAIN"), None) => !self.analyzes && self.only_reads(),
            _ => false,
        }
    }

    pub(super) fn is_explainable(&self) -> bool {
        match self.verb {
            Some("SELECT") => !self.into,
            Some("INSERT" | "REPLACE" | "UPDATE" | "DELETE") => true,
            _ => false,
        }
    }
}
