//! Whether a connection can be given to another client while its own has nothing to say, and how it can be
//! used again once its client has left.
//!
//! This is the only place that decides. `SHOW HELD`, counters and the log show its answer.

use bitflags::bitflags;

use crate::pool::judging::catalogue::Hides;
use crate::pool::judging::reason::Reason;
use crate::pool::state;
use crate::sql::{Mode, Tokens};
use crate::track::{Doubt, Ending, Fact, Session, Traces, Transaction};
use crate::wire::Com;

bitflags! {
    /// What the pool was told about its clients.
    #[derive(Copy, Clone, Debug, PartialEq, Eq)]
    pub struct Policy: u8 {
        /// What is opaque holds its connection; otherwise the connection is reset at the hand-over.
        const HOLD_OPAQUE = 1;
        /// User variables are read at the hand-over, and set again.
        const RESTORE_USER_VARIABLES = 2;
        /// Clients may ask for `LASTVAL()`; otherwise that is refused.
        const LASTVAL = 4;
    }
}

impl Default for Policy {
    fn default() -> Policy {
        Policy::HOLD_OPAQUE | Policy::LASTVAL
    }
}

bitflags! {
    /// What is going on beside the session's state: the driver knows it from the protocol, and from what was
    /// asked for.
    #[derive(Copy, Clone, Debug, PartialEq, Eq, Default)]
    pub struct Ongoing: u16 {
        /// A cursor is open.
        const CURSOR = 1;
        /// Part of a parameter was sent ahead.
        const LONG_DATA = 2;
        /// An answer is not complete.
        const ANSWER = 4;
        /// The server waits for a file.
        const LOCAL_INFILE = 8;
        /// The client receives a binary log.
        const REPLICATION = 16;
        /// A variable was changed that the account may not set back.
        const NOT_RESTORABLE = 32;
        /// What comes next is known to ask for the diagnostics of what was before.
        const DIAGNOSTICS_WANTED = 64;
        /// A hint, or a script.
        const HINT = 128;
    }
}

impl Ongoing {
    fn reason(self) -> Option<Reason> {
        const REASONS: [(Ongoing, Reason); 8] = [
            (Ongoing::REPLICATION, Reason::Replication),
            (Ongoing::LOCAL_INFILE, Reason::LocalInfile),
            (Ongoing::ANSWER, Reason::SeveralResults),
            (Ongoing::CURSOR, Reason::Cursor),
            (Ongoing::LONG_DATA, Reason::LongData),
            (Ongoing::NOT_RESTORABLE, Reason::NotRestorable),
            (Ongoing::HINT, Reason::Hint),
            (Ongoing::DIAGNOSTICS_WANTED, Reason::DiagnosticsWanted),
        ];
        let found = REASONS.iter().find(|(one, _)| self.contains(*one));
        found.map(|(_, reason)| *reason)
    }
}

/// Whether another client may get the connection now.
#[derive(Copy, Clone, Debug, PartialEq, Eq)]
pub enum Decision {
    /// It may.
    Share,
    /// An error has left it unclear whether a transaction is open: the server has to be asked, then this is
    /// decided again.
    Ask,
    /// It may not, for this reason.
    Hold(Reason),
}

/// Whether the connection of this session may be given to another client now.
pub fn decide(session: &Session, ongoing: Ongoing, policy: Policy) -> Decision {
    if let Some(reason) = ongoing.reason() {
        return Decision::Hold(reason);
    }
    if !session.is_idle() {
        return Decision::Hold(Reason::SeveralResults);
    }
    if let Fact::Known(Transaction::Open { .. }) = session.transaction()
        && !can_begin_elsewhere(session)
    {
        return Decision::Hold(reason_of_transaction(session));
    }
    let opaque = session
        .opaque()
        .filter(|_| policy.contains(Policy::HOLD_OPAQUE));
    let reason = reason_of_traces(session.known_to_be_left(), policy)
        .or_else(|| opaque.map(reason_of_doubt));
    match (reason, session.transaction()) {
        (Some(reason), _) => Decision::Hold(reason),
        (None, Fact::Unknown(_)) => Decision::Ask,
        (None, _) => Decision::Share,
    }
}

/// Why a connection would be held after this statement alone, as far as its text and what that uses tell. `blank` is a session
/// in which nothing has happened.
pub fn foresee(sql: &[u8], hides: &Hides, blank: Session, policy: Policy) -> Option<Reason> {
    let mut session = blank;
    session.command(Com::QUERY, sql);
    session.hides(hides.traces, hides.opaque);
    session.result(Ending::PLAIN_OK, true);
    match decide(&session, Ongoing::empty(), policy) {
        Decision::Hold(reason) => Some(reason),
        Decision::Share | Decision::Ask => None,
    }
}

/// Why a statement is refused that asks for what was given up.
pub fn refuses(sql: &[u8], mode: Mode, policy: Policy) -> Option<Reason> {
    let asks = !policy.contains(Policy::LASTVAL) && asks_for_lastval(sql, mode);
    asks.then_some(Reason::Sequence)
}

/// `LASTVAL(s)` and `PREVIOUS VALUE FOR s`.
fn asks_for_lastval(sql: &[u8], mode: Mode) -> bool {
    let mut before: [&[u8]; 2] = [b"", b""];
    Tokens::new(sql, mode)
        .filter(|token| token.kind.is_code())
        .any(|token| {
            let text = sql.get(token.from..token.to).unwrap_or_default();
            let [first, second] = before;
            before = [text, first];
            let is = |text: &[u8], word: &[u8]| text.eq_ignore_ascii_case(word);
            text == b"(" && is(first, b"LASTVAL")
                || is(text, b"FOR") && is(first, b"VALUE") && is(second, b"PREVIOUS")
        })
}

/// Whether the transaction was begun and not used yet, so that another connection can begin it as well.
fn can_begin_elsewhere(session: &Session) -> bool {
    state::has_movable_transaction(session)
        && !session.known_to_be_left().intersects(OF_TRANSACTIONS)
}

/// How a connection can be used for another client.
#[derive(Copy, Clone, Debug, PartialEq, Eq)]
pub enum Return {
    /// As it is: only settings may differ.
    AsItIs,
    /// After COM_RESET_CONNECTION.
    Reset,
    /// Not at all: a reset would keep something.
    Close,
}

impl Return {
    /// What a reset keeps, and others must not have or see.
    const KEPT: Traces = Traces::ROLE
        .union(Traces::RESOURCE_GROUP)
        .union(Traces::PROFILES)
        .union(Traces::OPTIMIZER_TRACES)
        .union(Traces::GTID_NEXT);

    /// For a connection whose client has left, or that is given away as [`decide`] allows. Whatever can be
    /// carried for its client was read before.
    pub fn of(session: &Session, ongoing: Ongoing, policy: Policy) -> Return {
        let in_answer = Ongoing::ANSWER | Ongoing::LOCAL_INFILE | Ongoing::REPLICATION;
        if !session.is_idle() || ongoing.intersects(in_answer) {
            return Return::Close;
        }
        // What is opaque may have kept something, too, but for loadable functions.
        let may_keep = policy.contains(Policy::HOLD_OPAQUE)
            && session.opaque().is_some_and(|why| why != Doubt::Loadable);
        let left = session.known_to_be_left();
        if may_keep || left.intersects(Return::KEPT) {
            return Return::Close;
        }
        let unread = match policy.contains(Policy::LASTVAL) {
            true => Traces::empty(),
            false => Traces::SEQUENCES,
        };
        let is_plain = (left - unread - OF_TRANSACTIONS).is_empty()
            && session.opaque().is_none()
            && session.transaction() == Fact::Known(Transaction::None)
            && session.characteristics() == Fact::Known(b"")
            && !ongoing.intersects(Ongoing::CURSOR | Ongoing::LONG_DATA | Ongoing::NOT_RESTORABLE);
        match is_plain {
            true => Return::AsItIs,
            false => Return::Reset,
        }
    }
}

/// Gone with the transaction, whose state is known from the server's status.
const OF_TRANSACTIONS: Traces = Traces::XA.union(Traces::SAVEPOINTS);

fn reason_of_transaction(session: &Session) -> Reason {
    let characteristics = session.characteristics();
    let text = characteristics.known().copied().unwrap_or_default();
    if session.known_to_be_left().contains(Traces::XA) || text.starts_with(b"XA ") {
        return Reason::Xa;
    }
    match memchr::memmem::find(text, b"CONSISTENT SNAPSHOT") {
        Some(_) => Reason::ConsistentSnapshot,
        None => Reason::Transaction,
    }
}

/// What holds a connection with these traces, the weightiest first.
fn reason_of_traces(traces: Traces, policy: Policy) -> Option<Reason> {
    const REASONS: [(Traces, Reason); 18] = [
        (Traces::GLOBAL_READ_LOCK, Reason::GlobalReadLock),
        (Traces::TABLE_LOCKS, Reason::TableLocks),
        (Traces::BACKUP_LOCKS, Reason::BackupLock),
        (Traces::NAMED_LOCKS, Reason::NamedLock),
        (Traces::TEMPORARY_TABLES, Reason::TemporaryTable),
        (Traces::PREPARED, Reason::PreparedInSql),
        (Traces::HANDLERS, Reason::Handler),
        (Traces::ROLE, Reason::Role),
        (Traces::RESOURCE_GROUP, Reason::ResourceGroup),
        (Traces::GTID_NEXT, Reason::GtidNext),
        (Traces::PROFILES, Reason::Profiling),
        (Traces::OPTIMIZER_TRACES, Reason::OptimizerTrace),
        (Traces::PACKAGE_VARIABLES, Reason::PackageVariable),
        (Traces::ONE_SHOT, Reason::OneShotVariable),
        (Traces::TIMESTAMP, Reason::OneShotVariable),
        (Traces::SCHEMA_CHARSET, Reason::NotRestorable),
        (Traces::SEQUENCES, Reason::Sequence),
        (Traces::USER_VARIABLES, Reason::UserVariable),
    ];
    let mut held = traces;
    held.set(
        Traces::USER_VARIABLES,
        traces.contains(Traces::USER_VARIABLES) && !policy.contains(Policy::RESTORE_USER_VARIABLES),
    );
    held.set(
        Traces::SEQUENCES,
        traces.contains(Traces::SEQUENCES) && policy.contains(Policy::LASTVAL),
    );
    let found = REASONS.iter().find(|(one, _)| held.intersects(*one));
    found.map(|(_, reason)| *reason)
}

/// Why anything may have been left behind.
fn reason_of_doubt(why: Doubt) -> Reason {
    match why {
        Doubt::Routine | Doubt::Missing => Reason::Routine,
        Doubt::Hidden => Reason::ViewOrTrigger,
        Doubt::Loadable => Reason::LoadableFunction,
        _ => Reason::NotUnderstood,
    }
}

#[cfg(test)]
mod tests;
