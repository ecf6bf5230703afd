//! A client of a pool: its logical session while it has no connection, and what it waits for.

use std::rc::Rc;
use std::time::{Duration, Instant};

use super::above::Overrule;
use super::backend::Backend;
use super::flavour::Flavour;
use super::state::{Settings, Snapshot, UserVariables};
use super::statements::{ClientStatements, Dialect, Setting, Statement, Then};
use crate::pool::answers::diagnostics::Diagnostics;
use crate::pool::answers::idle::Patience;
use crate::pool::answers::reports::Trackers;
use crate::pool::judging::decision::Ongoing;
use crate::pool::judging::reason::Reason;
use crate::pool::lending::waiters::{Line, Want};
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

/// Whether rows of an answer are looked at.
#[derive(Copy, Clone, Debug, Default, PartialEq, Eq)]
pub enum Listing {
    /// They are not.
    #[default]
    Nothing,
    /// Variables are listed, among them those that are the proxy's for each client.
    Variables,
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
    /// What is to be done about the last answer.
    pub then: Then,
    /// Whether the columns of the last answer are others than the client has been told of before.
    pub has_changed: Option<bool>,
}

impl Prepared {
    /// None yet. `number`: unlike that of any other client.
    pub fn new(number: u64, dialect: Dialect) -> Prepared {
        Prepared {
            statements: ClientStatements::new(number, dialect),
            setting: None,
            executed: None,
            then: Then::Done,
            has_changed: None,
        }
    }
}

/// How long a client may be silent: its `wait_timeout`.
#[derive(Debug, Clone)]
pub struct Idle {
    /// When its last command was answered.
    pub since: Instant,
    /// What it has set, in seconds; `None`: what the server gives it.
    pub own: Option<u32>,
    /// What the command sets that is being executed.
    pub pending: Option<Patience>,
    /// Whether it has logged in as interactive, for which the server has another value.
    pub is_interactive: bool,
}

impl Idle {
    /// Of a client that has logged in.
    pub fn new(is_interactive: bool) -> Idle {
        Idle {
            since: Instant::now(),
            own: None,
            pending: None,
            is_interactive,
        }
    }

    /// The server's value for it, and that of the connections, which are not interactive.
    fn of_server(&self, snapshot: &Snapshot) -> (Option<u32>, Option<u32>) {
        let value = |name| {
            let text = std::str::from_utf8(snapshot.value(name)??).ok()?;
            text.parse().ok()
        };
        let of_connections = value("wait_timeout");
        match self.is_interactive {
            true => (value("interactive_timeout"), of_connections),
            false => (of_connections, of_connections),
        }
    }

    /// How long it may be silent.
    pub fn limit(&self, snapshot: &Snapshot) -> Option<Duration> {
        let seconds = self.own.or_else(|| self.of_server(snapshot).0);
        seconds.map(|seconds| Duration::from_secs(seconds.into()))
    }

    /// Its value if that is not the connections', and theirs.
    pub fn beside(&self, snapshot: &Snapshot) -> Option<(Option<u32>, u32)> {
        let (of_server, of_connections) = self.of_server(snapshot);
        let kept = of_connections?;
        let own = self.own.or(of_server).filter(|own| *own != kept);
        Some((own, kept))
    }

    /// The command that was executed has succeeded in setting it.
    fn settle(&mut self) {
        match self.pending.take() {
            Some(Patience::Default) => self.own = None,
            Some(Patience::Seconds(seconds)) => self.own = Some(seconds),
            None => {}
        }
    }

    /// A command is answered that has led from these settings to those. The server may have been told a value itself.
    pub fn answered(&mut self, before: &Settings, after: &Settings) {
        let value = |settings: &Settings| {
            let text = settings.variable("wait_timeout")??;
            std::str::from_utf8(text).ok()?.parse::<u32>().ok()
        };
        if self.pending.is_some() {
            return self.settle();
        }
        let after = value(after);
        if after.is_some() && after != value(before) {
            self.own = after;
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
    /// Its user variables, if they are restored, as its last connection has left them.
    pub user_variables: Rc<UserVariables>,
    /// Whether it has user variables that cannot be restored.
    pub keeps_user_variables: bool,
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
    /// Whether what was unknown of its session has been read for the present command, which is done once.
    pub has_read: bool,
    /// How long it may be silent.
    pub idle: Idle,
    /// What a script has said to its keeping the connection, for this reason.
    pub overruled: Option<(Reason, Overrule)>,
    /// What was given up since a script has refused that its connection is kept: it has still to be told.
    pub given_up: Option<Reason>,
    /// Where its commands could go of which a script has chosen one server.
    pub chosen: Option<Want>,
    /// Why it keeps its connection, if it does.
    pub held: Option<Box<Held>>,
    /// What statements about the statement before would tell it.
    pub diagnostics: Diagnostics,
    /// What it has set of the reports that it gets; `None`: as its server has them.
    pub trackers: Option<Box<Trackers>>,
    /// What of its present answer is not as its server sends it.
    pub listing: Listing,
    /// The digest of its last statement, if another client has got its connection since.
    pub before: Option<[u8; 16]>,
    /// The initial variables of the connection that it has, or had last.
    pub snapshot: Option<Snapshot>,
    /// The connection from which is being read what belongs to it.
    pub leaving: Option<ConnId>,
}

impl Client {
    /// It gets a connection, on which there are such initial variables.
    pub fn arrive(&mut self, snapshot: Option<Snapshot>) {
        let flavour = snapshot.as_ref().map_or(Flavour::MySql, Snapshot::flavour);
        self.diagnostics.arrive(flavour);
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

    /// The SQL that it has executed last, on the connection that it has.
    pub fn executed<'a>(&'a self, backend: &'a Backend) -> &'a [u8] {
        let executed = self.prepared.as_ref().and_then(|of| of.executed.as_ref());
        match executed {
            Some(executed) if backend.com.names_statement() => executed.text(),
            _ => &backend.argument,
        }
    }
}
