//! A connection of a pool to a server.

use std::rc::Rc;
use std::time::Instant;

use super::errand::{Errand, query};
use super::state::{Names, Settings, Snapshot, Unknown, UserVariables, is_restorable};
use super::statements::{ConnectionStatements, Setting, Statement};
use crate::pool::judging::catalogue::Reading;
use crate::pool::judging::decision::Ongoing;
use crate::pool::lending::budget::Place;
use crate::pool::lending::key::KeyId;
use crate::pool::lending::users::UserId;
use crate::pool::routing::causal::{LastWrite, gtid_of};
use crate::proxy::{ConnId, Decoded};
use crate::track::{Ending, Session};
use crate::wire::{Com, Command, DecodeError, ErrPacket, Ok as OkPacket, Status, session_changes};

/// What a connection is used for.
#[derive(Debug)]
pub enum Use {
    /// Nobody uses it: it lies on the shelf.
    Free(Place),
    /// A client's command is executed on it, or its client keeps it.
    Lent,
    /// It changes hands.
    Moving,
    /// The pool's own commands are executed on it.
    Errand(Box<Errand>, Then),
    /// Its server was told to close it.
    Ending,
}

/// What comes after an errand.
#[derive(Debug, Clone)]
pub enum Then {
    /// The session's variables are known: the trackers are to be switched on.
    Snapshot,
    /// The connection is ready for its first client.
    Ready,
    /// The diagnostics of its last client were read, before anything could replace them.
    Told {
        /// Who gets the connection, if somebody does.
        to: Option<ConnId>,
    },
    /// The diagnostics of its last client were read: it closes once nothing else is unread.
    Retired {
        /// Why.
        why: &'static str,
    },
    /// What was unknown is known: it closes, if its last client does not have to keep it.
    Saved {
        /// Why it closes.
        why: &'static str,
        /// What was asked for.
        unknown: Unknown,
        /// How often something was asked for before.
        rounds: u8,
    },
    /// What was unknown is known, and what its last client needs was read: it can be set up for
    /// this client.
    Carried {
        /// Who gets the connection, if somebody does.
        to: Option<ConnId>,
        /// What was asked for.
        unknown: Unknown,
        /// How often something was asked for before.
        rounds: u8,
    },
    /// It is set up for this client.
    SetUp {
        /// Who gets the connection.
        to: ConnId,
    },
    /// What was unknown of its client's session is known: the client's command can be looked at again.
    Known {
        /// Who has the connection.
        to: ConnId,
        /// What was asked for.
        unknown: Unknown,
        /// How often something was asked for before.
        rounds: u8,
    },
    /// It is in the setting in which this client's statement is to be prepared.
    InSetting(Box<Preparing>),
    /// This client's statement is prepared on it.
    Prepared(Box<Preparing>),
    /// It is in this client's setting again.
    Restored {
        /// Who has the connection.
        to: ConnId,
        /// Why the client's statement could not be prepared, if it could not.
        err: Option<Box<ErrPacket>>,
    },
    /// It has what was written before, or not in time.
    Waited {
        /// Who wants to read.
        to: ConnId,
        /// What it has to see.
        write: LastWrite,
    },
    /// The names, or the values, of its last client's user variables were read.
    UserVariables {
        /// The names; `None` if these were asked for.
        names: Option<Names>,
        /// Who gets the connection, or why it is closed.
        next: Next,
    },
    /// It is as after a login: its variables are to be read.
    Reset,
    /// A part of the catalogue was read.
    Read(Box<Reading>),
}

/// What becomes of a connection once its last client's session is known.
#[derive(Copy, Clone, Debug, PartialEq, Eq)]
pub enum Next {
    /// This client gets it.
    Lend(ConnId),
    /// It is free for anybody.
    Part,
    /// It is closed.
    Close(&'static str),
}

/// A client's statement that is being prepared on the client's connection.
#[derive(Debug, Clone)]
pub struct Preparing {
    /// Who has the connection.
    pub to: ConnId,
    /// The statement.
    pub statement: Rc<Statement>,
    /// The setting in which it is prepared.
    pub setting: Rc<Setting>,
    /// The commands that lead back to the client's setting.
    pub back: Vec<Command>,
}

/// How it is followed what is written on a connection.
#[derive(Copy, Clone, Debug, PartialEq, Eq)]
pub enum Writes {
    /// Nobody wants to know.
    Unwatched,
    /// Nothing was written in the present transaction.
    Nothing,
    /// Something was, and its GTID is still to come.
    Pending,
}

/// A connection of a pool to a server.
#[derive(Debug)]
pub struct Backend {
    /// The server's place in the pool's list.
    pub server: usize,
    /// What makes it interchangeable.
    pub key: KeyId,
    /// The server's number for it.
    pub thread_id: u32,
    /// What is known of its session.
    pub session: Session,
    /// The session's variables as its login or reset has left them.
    pub snapshot: Option<Snapshot>,
    /// The session's settings, and the revision of `session` that they are of.
    pub settings: Option<(u64, Rc<Settings>)>,
    /// The same while its client stays on it: also those of a transaction that is nowhere else.
    pub in_place: Option<(u64, Rc<Settings>)>,
    /// The user variables that are on it, but for what its session is known to have changed since.
    pub user_variables: Rc<UserVariables>,
    /// What is prepared on it.
    pub statements: ConnectionStatements,
    /// The client that used it last, and whose session is on it, unless that has left.
    pub owner: Option<ConnId>,
    /// Whether something that this client's session has was not known when its last command was answered, and is on this
    /// connection alone.
    pub is_unread: bool,
    /// What it is used for.
    pub used: Use,
    /// Whose client uses it, if that user has a limit.
    pub charged: Option<UserId>,
    /// What it is known to have, of writes on other servers.
    pub reached: LastWrite,
    /// What the present command has written; `None` if nobody wants to know.
    pub wrote: Option<LastWrite>,
    /// How it is followed what clients write.
    pub writes: Writes,
    /// Whether queries on it may have several statements. A reset leaves that as it is.
    pub multi_statements: bool,
    /// Whether it has been ready for a client yet.
    pub is_ready: bool,
    /// Until when the pool's own commands have to be answered.
    pub errand_until: Instant,
    /// Since when a statement is executed on it, if statements have a limit.
    pub began: Option<Instant>,
    /// Whether its client is not listened to until a KILL is answered, which would hit the client's next statement.
    pub is_hushed: bool,
    /// Whether its client may lose what it would keep the connection for: it is reset before others get it.
    pub is_released: bool,
    /// How many KILLs are under way that are for the client it is linked to.
    pub pins: u32,
    /// When it is retired.
    pub retires: Instant,
    /// The command that is about to be sent on it, or was sent last.
    pub com: Com,
    /// Its argument; for a query the SQL.
    pub argument: Vec<u8>,
    /// What the client has sent before that argument (a query's attributes), if the command is a client's and as it
    /// has sent it.
    pub attributes: Option<Vec<u8>>,
    /// Whether that command has still to be sent.
    pub is_about_to_send: bool,
    /// The last command about a client's statement, as the client has sent it; empty if it was long.
    pub asked_as: Vec<u8>,
}

/// Longer commands are not looked at, so that their effects are unknown.
const MAX_COMMAND: usize = 1 << 20;
/// A buffer that has grown beyond this is not kept.
const KEPT: usize = 16 << 10;

impl Then {
    /// The client whose command waits for it.
    pub fn client(&self) -> Option<ConnId> {
        match self {
            Then::Told { to } | Then::Carried { to, .. } => *to,
            Then::SetUp { to } | Then::Waited { to, .. } => Some(*to),
            Then::Restored { to, .. } | Then::Known { to, .. } => Some(*to),
            Then::UserVariables {
                next: Next::Lend(to),
                ..
            } => Some(*to),
            Then::InSetting(preparing) | Then::Prepared(preparing) => Some(preparing.to),
            Then::Snapshot
            | Then::Ready
            | Then::Reset
            | Then::Read(_)
            | Then::Retired { .. }
            | Then::UserVariables { .. }
            | Then::Saved { .. } => None,
        }
    }

    /// Whether something is being read without which its last client's session is not known.
    pub fn reads_session(&self) -> bool {
        matches!(
            self,
            Then::Told { .. }
                | Then::Retired { .. }
                | Then::Carried { .. }
                | Then::Saved { .. }
                | Then::UserVariables { .. }
        )
    }
}

impl Backend {
    /// A client's command is about to be sent on the connection, as it is. Its argument begins with a query's
    /// attributes.
    pub fn note_clients(&mut self, com: Com, attributes: &[u8], argument: &[u8]) {
        let mut kept = self.attributes.take().unwrap_or_default();
        self.note(com, argument);
        if self.com == com {
            kept.clear();
            kept.extend_from_slice(attributes);
            self.attributes = Some(kept);
        }
    }

    /// The client's last command, to be shown again; `None` if it is not known.
    pub fn clients_command(&self) -> Option<Vec<u8>> {
        let attributes = self.attributes.as_deref()?;
        let com = std::slice::from_ref(&self.com.0);
        Some([com, attributes, &self.argument].concat())
    }

    /// A client's command about a statement, which is sent with another id.
    pub fn note_asked(&mut self, payload: &[u8]) {
        self.asked_as.clear();
        if payload.len() <= KEPT {
            self.asked_as.extend_from_slice(payload);
        }
    }

    /// A command is about to be sent on the connection.
    pub fn note(&mut self, com: Com, argument: &[u8]) {
        self.com = com;
        self.attributes = None;
        if self.argument.capacity() > KEPT {
            self.argument = Vec::new();
        }
        self.argument.clear();
        let is_looked_at = argument.len() <= MAX_COMMAND;
        if is_looked_at {
            self.argument.extend_from_slice(argument);
        } else if com.expects_answer() {
            self.com = Com::MULTI; // of which nothing is known
        }
        self.is_about_to_send = true;
    }

    /// The command that was noted is on its way.
    pub fn sent(&mut self) {
        if std::mem::take(&mut self.is_about_to_send) {
            self.session.command(self.com, &self.argument);
        } else {
            self.session.unseen_command();
        }
    }
}

impl Backend {
    /// What is going on on the connection beside its session's state.
    pub fn ongoing(&self) -> Ongoing {
        let snapshot = self.snapshot.as_ref();
        let is_restorable = snapshot.is_none_or(|snapshot| is_restorable(&self.session, snapshot));
        let mut ongoing = Ongoing::empty();
        ongoing.set(Ongoing::NOT_RESTORABLE, !is_restorable);
        ongoing
    }

    /// The commands that read what is unknown of the session.
    pub fn ask(&self, unknown: &Unknown) -> Vec<Command> {
        let queries = self.snapshot.as_ref();
        let queries = queries.map(|snapshot| unknown.queries(snapshot));
        let queries = queries.unwrap_or_default();
        queries.iter().map(|sql| query(sql)).collect()
    }

    fn watch_writes(&mut self, ok: &OkPacket) {
        if ok.affected_rows > 0 {
            self.writes = Writes::Pending;
        }
        let changes = ok.session_changes.as_deref().map(session_changes::decode);
        let gtid = changes.and_then(Result::ok).and_then(|all| gtid_of(&all));
        let is_over = !ok.status.contains(Status::IN_TRANS);
        if let Some(gtid) = gtid {
            self.wrote = Some(LastWrite::Seen(gtid));
            self.writes = Writes::Nothing;
        } else if is_over && std::mem::replace(&mut self.writes, Writes::Nothing) == Writes::Pending
        {
            self.wrote = Some(LastWrite::Unseen);
        }
    }

    /// A result of the present command has ended.
    pub fn told(&mut self, packet: Option<Result<Decoded<'_>, DecodeError>>, is_last: bool) {
        // An ERR that answers no command is about the connection.
        if self.session.is_idle() {
            return;
        }
        if let Some(Ok(Decoded::Ok(ok))) = &packet
            && self.writes != Writes::Unwatched
        {
            self.watch_writes(ok);
        }
        match packet {
            Some(Ok(Decoded::Ok(ok))) => self.session.result(
                Ending::Ok {
                    status: ok.status,
                    insert_id: ok.insert_id,
                    warnings: ok.warnings,
                    changes: ok.session_changes.as_deref(),
                },
                is_last,
            ),
            Some(Ok(Decoded::Eof(eof))) => {
                let (status, warnings) = (eof.status, eof.warnings);
                self.session
                    .result(Ending::Eof { status, warnings }, is_last);
            }
            Some(Ok(Decoded::Err(err))) => self.session.result(Ending::Err(err.errnum), is_last),
            _ => self.session.result(Ending::Other, is_last),
        }
    }
}
