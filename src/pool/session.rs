//! A client's logical session as data: all that another thread, or another program, needs to know to go
//! on with it.
//!
//! It is written down as a record whose fields say what they are ([`record`](crate::record)). A program
//! skips fields that it does not know, and refuses a version that it does not know: the version changes
//! only when something must not be skipped. What is read is checked, so that nothing that comes from it
//! becomes part of a statement unseen.

use std::fmt;
use std::rc::Rc;

use super::answers::diagnostics::Diagnostics;
use super::answers::reports::Trackers;
use super::flavour::Flavour;
use super::judging::reason::Reason;
use super::routing::causal::LastWrite;
use super::state::Settings;
use super::statements::Portable;
use crate::record::{Field, Fields, MAX_RECORD, Unreadable, Writer};
use crate::wire::Capabilities;

/// What every session begins with.
const MARK: &[u8] = b"dpm-session";
/// The version that is written, and the newest that is read.
pub const VERSION: u8 = 1;

const FLAVOUR: u8 = 1;
const USER: u8 = 2;
const ACCOUNT: u8 = 3;
const PARTY: u8 = 4;
const CAPABILITIES: u8 = 5;
const MULTI_STATEMENTS: u8 = 6;
const INITIAL: u8 = 7;
/// Left out if they are the initial ones.
const SETTINGS: u8 = 8;
const LAST_INSERT_ID: u8 = 9;
const DIAGNOSTICS: u8 = 10;
const STATEMENTS: u8 = 11;
const TRACKERS: u8 = 12;
const WRITE_SEEN: u8 = 13;
const WRITE_UNSEEN: u8 = 14;
const BEFORE: u8 = 15;
const HELD: u8 = 16;
const WAIT_TIMEOUT: u8 = 17;

const REASON: u8 = 1;
const STATEMENT: u8 = 2;

/// Why a client keeps its connection.
#[derive(Clone, PartialEq, Eq)]
pub struct Hold {
    /// The reason.
    pub reason: Reason,
    /// The start of the statement that was the cause.
    pub statement: Vec<u8>,
}

impl fmt::Debug for Hold {
    /// Without the statement, which may hold a secret.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Hold")
            .field("reason", &self.reason)
            .finish_non_exhaustive()
    }
}

impl fmt::Display for Hold {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}: {}", self.reason.name(), self.reason.advice())
    }
}

/// A client's logical session. The client's socket, and what is on its way, are no part of it; nor are
/// the time limits of the pool, which begin anew. (The client's own ones are among its settings.)
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct LogicalSession {
    /// The kind of its servers, if it is known yet.
    pub flavour: Option<Flavour>,
    /// The name that it has logged in with.
    pub user: Rc<str>,
    /// The name of the account that connections for it are logged in with.
    pub account: Rc<str>,
    /// Whose writes its reads have to see, if not only its own.
    pub party: Option<Rc<str>>,
    /// What the client has negotiated.
    pub capabilities: Capabilities,
    /// Whether its queries may have several statements.
    pub multi_statements: bool,
    /// Its session as its login has begun it.
    pub initial: Rc<Settings>,
    /// Its session now.
    pub settings: Rc<Settings>,
    /// `LAST_INSERT_ID()`.
    pub last_insert_id: u64,
    /// What statements about the statement before tell it.
    pub diagnostics: Diagnostics,
    /// Its prepared statements.
    pub statements: Option<Portable>,
    /// What it has set of the reports that it gets.
    pub trackers: Option<Trackers>,
    /// Its last write.
    pub last_write: LastWrite,
    /// The digest of its last statement, if another client has got its connection since.
    pub before: Option<[u8; 16]>,
    /// How many seconds it may be silent, if it has set that: its own `wait_timeout`.
    pub wait_timeout: Option<u32>,
    /// Why it keeps its connection, if it does.
    pub held: Option<Hold>,
}

impl LogicalSession {
    /// Why it cannot go on with another connection; `None` if it can.
    pub fn stays(&self) -> Option<&Hold> {
        self.held.as_ref()
    }

    /// Writes it down. `None` if it is too long.
    pub fn write(&self) -> Option<Vec<u8>> {
        let mut out = Writer::default();
        if let Some(flavour) = self.flavour {
            out.number(FLAVOUR, flavour.number());
        }
        out.bytes(USER, self.user.as_bytes());
        out.bytes(ACCOUNT, self.account.as_bytes());
        out.optional(PARTY, self.party.as_deref().map(str::as_bytes));
        out.number(CAPABILITIES, self.capabilities.bits());
        out.flag(MULTI_STATEMENTS, self.multi_statements);
        out.record(INITIAL, |out| self.initial.write(out));
        if self.settings != self.initial {
            out.record(SETTINGS, |out| self.settings.write(out));
        }
        out.number(LAST_INSERT_ID, self.last_insert_id);
        out.record(DIAGNOSTICS, |out| self.diagnostics.write(out));
        if let Some(statements) = &self.statements {
            out.record(STATEMENTS, |out| statements.write(out));
        }
        if let Some(trackers) = &self.trackers {
            out.record(TRACKERS, |out| trackers.write(out));
        }
        match &self.last_write {
            LastWrite::None => {}
            LastWrite::Seen(gtid) => out.bytes(WRITE_SEEN, gtid),
            LastWrite::Unseen => out.flag(WRITE_UNSEEN, true),
        }
        out.optional(BEFORE, self.before.as_ref().map(<[u8; 16]>::as_slice));
        if let Some(seconds) = self.wait_timeout {
            out.number(WAIT_TIMEOUT, seconds.into());
        }
        if let Some(held) = &self.held {
            out.record(HELD, |out| {
                out.bytes(REASON, held.reason.name().as_bytes());
                out.bytes(STATEMENT, &held.statement);
            });
        }
        let record = out.finish()?;
        Some([MARK, &[VERSION], &record].concat())
    }

    /// Reads what was written.
    ///
    /// # Errors
    /// These bytes are no session, a damaged one, or one of a newer program.
    pub fn read(bytes: &[u8]) -> Result<LogicalSession, Unreadable> {
        let rest = bytes.strip_prefix(MARK).ok_or(Unreadable::Other)?;
        let (version, record) = rest.split_first().ok_or(Unreadable::Malformed)?;
        if *version > VERSION {
            return Err(Unreadable::Newer {
                version: *version,
                known: VERSION,
            });
        }
        if record.len() > MAX_RECORD {
            return Err(Unreadable::TooLong);
        }
        let mut read = LogicalSession::default();
        let mut settings = None;
        for field in Fields::of(record) {
            let field = field?;
            match field.tag {
                SETTINGS => settings = Some(Rc::new(Settings::of_record(field.fields())?)),
                _ => read.take(field)?,
            }
        }
        read.settings = settings.unwrap_or_else(|| read.initial.clone());
        match read.account.is_empty() {
            true => Err(Unreadable::Malformed),
            false => Ok(read),
        }
    }

    fn take(&mut self, field: Field<'_>) -> Result<(), Unreadable> {
        match field.tag {
            FLAVOUR => {
                let flavour = Flavour::of_number(field.number()?);
                self.flavour = Some(flavour.ok_or(Unreadable::Malformed)?);
            }
            USER => self.user = field.text()?.into(),
            ACCOUNT => self.account = field.text()?.into(),
            PARTY => self.party = Some(field.text()?.into()),
            CAPABILITIES => self.capabilities = Capabilities::from_bits_retain(field.number()?),
            MULTI_STATEMENTS => self.multi_statements = true,
            INITIAL => self.initial = Rc::new(Settings::of_record(field.fields())?),
            LAST_INSERT_ID => self.last_insert_id = field.number()?,
            DIAGNOSTICS => self.diagnostics = Diagnostics::of_record(field.fields())?,
            STATEMENTS => self.statements = Some(Portable::of_record(field.fields())?),
            TRACKERS => self.trackers = Some(Trackers::of_record(field.fields())?),
            WRITE_SEEN => self.last_write = LastWrite::Seen(field.value.into()),
            WRITE_UNSEEN => self.last_write = LastWrite::Unseen,
            BEFORE => {
                let digest = field.value.try_into();
                self.before = Some(digest.map_err(|_| Unreadable::Malformed)?);
            }
            WAIT_TIMEOUT => self.wait_timeout = Some(field.small()?),
            HELD => self.held = Some(hold(field.fields())?),
            _ => {}
        }
        Ok(())
    }
}

impl Default for LogicalSession {
    /// That of nobody.
    fn default() -> LogicalSession {
        LogicalSession {
            flavour: None,
            user: "".into(),
            account: "".into(),
            party: None,
            capabilities: Capabilities::empty(),
            multi_statements: false,
            initial: Rc::default(),
            settings: Rc::default(),
            last_insert_id: 0,
            diagnostics: Diagnostics::new(),
            statements: None,
            trackers: None,
            last_write: LastWrite::None,
            before: None,
            wait_timeout: None,
            held: None,
        }
    }
}

fn hold(fields: Fields<'_>) -> Result<Hold, Unreadable> {
    let (mut reason, mut statement) = (None, Vec::new());
    for field in fields {
        let field = field?;
        match field.tag {
            REASON => reason = Reason::of_name(field.text()?),
            STATEMENT => statement = field.bytes(),
            _ => {}
        }
    }
    // A reason that a newer program has is a reason all the same.
    Ok(Hold {
        reason: reason.unwrap_or(Reason::NotUnderstood),
        statement,
    })
}

#[cfg(test)]
mod tests;
