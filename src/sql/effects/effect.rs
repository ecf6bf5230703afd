//! What is said of a statement's effects.

use bitflags::bitflags;

use super::inserted::Inserted;
use super::names::{Named, Names};
use super::set::{Setting, either};

bitflags! {
    /// State that a statement may leave behind on its connection.
    #[derive(Copy, Clone, Debug, PartialEq, Eq, Default)]
    pub struct Traces: u32 {
        /// User variables: `@x`.
        const USER_VARIABLES = 1;
        /// Temporary tables.
        const TEMPORARY_TABLES = 2;
        /// `LOCK TABLES`, `FLUSH TABLES t WITH READ LOCK` and `… FOR EXPORT`.
        const TABLE_LOCKS = 4;
        /// `BACKUP STAGE`, `BACKUP LOCK` and `LOCK INSTANCE`.
        const BACKUP_LOCKS = 8;
        /// `GET_LOCK`.
        const NAMED_LOCKS = 16;
        /// `HANDLER … OPEN`.
        const HANDLERS = 32;
        /// Statements prepared in SQL.
        const PREPARED = 64;
        /// Another role than at the login, or none.
        const ROLE = 128;
        /// The session's last values of sequences.
        const SEQUENCES = 256;
        /// A resource group.
        const RESOURCE_GROUP = 512;
        /// An XA transaction.
        const XA = 1024;
        /// `FLUSH TABLES WITH READ LOCK`, of all tables.
        const GLOBAL_READ_LOCK = 1 << 11;
        /// Texts of statements that SHOW PROFILES shows.
        const PROFILES = 1 << 12;
        /// Texts of statements in `information_schema.optimizer_trace`.
        const OPTIMIZER_TRACES = 1 << 13;
        /// `gtid_next`, which may own a GTID.
        const GTID_NEXT = 1 << 14;
        /// `insert_id` and the seeds of RAND(), which statements use up or change.
        const ONE_SHOT = 1 << 15;
        /// `timestamp`, which stands until it is set back.
        const TIMESTAMP = 1 << 16;
        /// Variables of packages, in MariaDB's Oracle mode.
        const PACKAGE_VARIABLES = 1 << 17;
        /// Savepoints of the open transaction.
        const SAVEPOINTS = 1 << 18;
        /// The character set of the default schema, as the session sees it.
        const SCHEMA_CHARSET = 1 << 19;
        /// In a definition: variables that are set as `@@x`, which MariaDB does not report. A text of the session's
        /// shows them itself.
        const UNREPORTED = 1 << 20;
    }
}

/// The characteristics that `SET TRANSACTION` gives the next transaction.
#[derive(Copy, Clone, Debug, PartialEq, Eq, Default)]
pub struct Characteristics {
    /// The isolation level, as servers write it.
    pub isolation: Option<&'static str>,
    /// Whether it only reads.
    pub read_only: Option<bool>,
}

/// The effect on the session's state.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Action {
    /// None, except for the other fields of [`Effects`].
    Plain,
    /// A query of diagnostics, which does not change even those.
    Diagnostics,
    /// DDL: a transaction before it is committed.
    Definition,
    /// Rows are inserted, or replaced.
    Insert(Inserted),
    /// Another schema, as it was written.
    Use(Vec<u8>),
    /// A schema was dropped.
    DropSchema(Vec<u8>),
    /// SET, of system variables among others.
    Set(Vec<Setting>),
    /// `SET TRANSACTION` for the next transaction only.
    NextTransaction(Characteristics),
    /// A transaction begins.
    Begin,
    /// A transaction ends, is partly rolled back, or continues.
    Transaction,
    /// A function was called: anything may have changed, except the schema and whether a
    /// transaction is open.
    Function,
    /// A routine has run, with anything that routines can do. There may be several results.
    Call,
    /// No verb is known that begins like this: if the server does not understand it either, it has
    /// done nothing.
    Unfamiliar,
    /// Anything may have happened: the text is not understood. There may be several results.
    Opaque,
}

impl Action {
    /// Whether it may have several results, and may have done anything.
    pub fn may_be_anything(&self) -> bool {
        matches!(self, Action::Call | Action::Unfamiliar | Action::Opaque)
    }
}

/// What one statement does to its session.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Effects {
    /// The effect on the session's state.
    pub action: Action,
    /// What it leaves behind.
    pub leaves: Traces,
    /// What it may leave behind.
    pub may_leave: Traces,
    /// What it may remove.
    pub may_clear: Traces,
    /// What is certainly removed.
    pub clears: Traces,
    /// The names of what is left behind and removed.
    pub names: Names,
    /// `LAST_INSERT_ID(x)`: the id is unknown afterwards.
    pub sets_insert_id: bool,
    /// Whether tables are named, or may be: they may be views, or have triggers.
    pub tables: bool,
    /// `SET STATEMENT … FOR …`: variables have other values while it is executed.
    pub is_passing: bool,
}

impl Effects {
    pub(super) fn of(action: Action) -> Effects {
        Effects {
            action,
            leaves: Traces::empty(),
            may_leave: Traces::empty(),
            may_clear: Traces::empty(),
            clears: Traces::empty(),
            names: Names::default(),
            sets_insert_id: false,
            tables: false,
            is_passing: false,
        }
    }

    /// For a statement of which nothing is known.
    pub fn opaque() -> Effects {
        Effects {
            tables: true,
            ..Effects::of(Action::Opaque)
        }
    }

    /// For a statement that begins like no other.
    pub(super) fn unfamiliar() -> Effects {
        Effects {
            action: Action::Unfamiliar,
            ..Effects::opaque()
        }
    }

    /// The same if it may be executed while another schema is the default one: names without a schema
    /// then mean others.
    pub fn for_later(&self) -> Effects {
        let mut later = self.clone();
        let Names { gained, lost } = &mut later.names;
        for names in [gained, lost] {
            names.retain(|named| {
                named.trace != Traces::TEMPORARY_TABLES || named.name.schema.is_some()
            });
        }
        later
    }

    /// The same executed with several sets of values, of which servers report different ids.
    pub fn for_many(&self) -> Effects {
        match self.action {
            Action::Insert(_) => Effects {
                action: Action::Insert(Inserted::Hidden),
                ..self.clone()
            },
            _ => self.clone(),
        }
    }

    /// Its approximate size in bytes.
    pub fn size(&self) -> usize {
        let names = self.names.gained.iter().chain(&self.names.lost);
        let own = size_of::<Effects>() + names.map(Named::size).sum::<usize>();
        own + match &self.action {
            Action::Use(name) | Action::DropSchema(name) => name.len(),
            Action::Insert(Inserted::Unless(numbers)) => numbers.len() * size_of::<u64>(),
            Action::Set(settings) => settings.iter().map(Setting::size).sum(),
            _ => 0,
        }
    }

    /// What is certain if the server may have parsed the text in either of two ways.
    pub(super) fn either(self, other: Effects) -> Effects {
        if self == other {
            return self;
        }
        let may_leave = self.leaves | self.may_leave | other.leaves | other.may_leave;
        let may_clear = self.clears | self.may_clear | other.clears | other.may_clear;
        let action = match (self.action, other.action) {
            (one, two) if one == two => one,
            (Action::Insert(_), Action::Insert(_)) => Action::Insert(Inserted::Unclear),
            (Action::Set(one), Action::Set(two)) => match either(one, &two) {
                Some(settings) => Action::Set(settings),
                None => return Effects::opaque(),
            },
            _ => return Effects::opaque(),
        };
        // What may be gained in either way is not known by all of its names.
        let names = match self.names == other.names {
            true => self.names,
            false => Names::default(),
        };
        Effects {
            action,
            names,
            leaves: self.leaves & other.leaves,
            may_leave,
            may_clear,
            clears: self.clears & other.clears,
            sets_insert_id: self.sets_insert_id || other.sets_insert_id,
            tables: self.tables || other.tables,
            is_passing: self.is_passing || other.is_passing,
        }
    }

    /// A procedure, which may have any number of results, and a statement after it: whose results are whose
    /// cannot be told. `None` if the statement can do what a procedure cannot.
    pub(super) fn and_then(self, next: &Effects) -> Option<Effects> {
        let is_known = matches!(
            next.action,
            Action::Plain | Action::Diagnostics | Action::Insert(_) | Action::Call
        ) && (next.clears | next.may_clear).is_empty()
            && next.names == Names::default();
        (self.action == Action::Call && is_known).then(|| Effects {
            may_leave: self.may_leave | next.leaves | next.may_leave,
            sets_insert_id: self.sets_insert_id || next.sets_insert_id,
            tables: self.tables || next.tables,
            is_passing: self.is_passing || next.is_passing,
            ..self
        })
    }
}
