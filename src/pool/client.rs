//! A client of a pool: its logical session while it has no connection, and what it waits for.

use std::rc::Rc;
use std::time::Instant;

use super::flavour::Flavour;
use super::state::{Settings, Snapshot};
use super::statements::{ClientStatements, Dialect, Setting, Statement};
use crate::pool::answers::diagnostics::Diagnostics;
use crate::pool::answers::reports::Trackers;
use crate::pool::judging::decision::Ongoing;
use crate::pool::judging::reason::Reason;
use crate::pool::lending::waiters::Line;
use crate::pool::routing::causal::LastWrite;
use crate::proxy::ConnId;

/// What a client is doing.
#[derive(Debug)]
pub enum Phase {
    /// Its commands are answered, or being executed.
    Served,
    /// Its command waits for a connection.
    Waiting(Box<Waiting>),
    /// A connection is being made ready for its command.
    Arranging(Box<Waiting>),
}

/// A command that waits for a connection.
#[derive(Debug)]
pub struct Waiting {
    /// The command.
    pub command: Vec<u8>,
    /// Where it waits.
    pub line: Line,
    /// Since when.
    pub since: Instant,
    /// How many connections have failed to be made ready for it.
    pub failures: u8,
}

/// Why a client keeps its connection.
#[derive(Debug, Clone)]
pub struct Held {
    /// The reason.
    pub reason: Reason,
    /// Since when.
    pub since: Instant,
    /// When its last command was answered.
    pub answered: Instant,
    /// The start of the statement that was the cause.
    pub statement: Vec<u8>,
}

/// A client's prepared statements.
#[derive(Debug)]
pub struct Prepared {
    /// The statements.
    pub statements: ClientStatements,
    /// What these settings are for statements.
    pub setting: Option<(Rc<Settings>, Rc<Setting>)>,
    /// The one that it has executed last.
    pub executed: Option<Rc<Statement>>,
}

impl Prepared {
    /// None yet. `number`: unlike that of any other client.
    pub fn new(number: u64, dialect: Dialect) -> Prepared {
        Prepared {
            statements: ClientStatements::new(number, dialect),
            setting: None,
            executed: None,
        }
    }
}

/// A client of a pool.
#[derive(Debug)]
pub struct Client {
    /// The account that it has logged in with.
    pub user: Rc<str>,
    /// Which connections it can use, and of which servers.
    pub line: Line,
    /// Its session as its login has begun it.
    pub initial: Rc<Settings>,
    /// Its session as its last connection has left it.
    pub settings: Rc<Settings>,
    /// `LAST_INSERT_ID()`.
    pub last_insert_id: u64,
    /// Its prepared statements, if it has ever had any.
    pub prepared: Option<Box<Prepared>>,
    /// Whether its queries may have several statements.
    pub multi_statements: bool,
    /// What it is doing.
    pub phase: Phase,
    /// Whose writes its reads have to see, if not only its own.
    pub party: Option<Rc<str>>,
    /// Its own last write.
    pub last_write: LastWrite,
    /// When it has sent the command that is being executed once more.
    pub asked: Option<Instant>,
    /// How often that has been.
    pub retries: u8,
    /// Why it keeps its connection, if it does.
    pub held: Option<Box<Held>>,
    /// What statements about the statement before would tell it.
    pub diagnostics: Diagnostics,
    /// What it has set of the reports that it gets; `None`: as its server has them.
    pub trackers: Option<Box<Trackers>>,
    /// Its last statement before another client got its connection.
    pub before: Vec<u8>,
    /// The initial variables of the connection that it has, or had last.
    pub snapshot: Option<Snapshot>,
    /// The connection from which is being read what belongs to it.
    pub leaving: Option<ConnId>,
}

impl Client {
    /// It gets a connection, on which there are such initial variables.
    pub fn arrive(&mut self, snapshot: Option<Snapshot>) {
        let is_mariadb = snapshot.as_ref().is_some_and(Snapshot::is_mariadb);
        self.diagnostics.arrive(match is_mariadb {
            true => Flavour::MariaDb,
            false => Flavour::MySql,
        });
        self.snapshot = snapshot;
        self.leaving = None;
    }
}

impl Client {
    /// What it has begun, beside what is known of the session on its connection.
    pub fn ongoing(&self) -> Ongoing {
        let mut ongoing = Ongoing::empty();
        if let Some(prepared) = &self.prepared {
            ongoing.set(Ongoing::CURSOR, prepared.statements.has_cursor());
            ongoing.set(Ongoing::LONG_DATA, prepared.statements.has_long_data());
        }
        ongoing
    }
}
