//! The statements of a client.

use std::collections::{BTreeMap, BTreeSet};
use std::rc::Rc;

use super::connection::{Bound, ConnectionStatements, Owner};
use super::dialect::{Dialect, too_many_statements};
use super::pins::Version;
use super::shared::{Setting, SharedStatements, Statement, Used};
use crate::wire::{Column, Com, ErrPacket, Original, PrepareOk, Status};

/// What a client's command needs.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Action {
    /// It goes to the server as it is.
    Forward,
    /// A COM_STMT_PREPARE, which goes to the server as it is, once
    /// [`begin_prepare`](ClientStatements::begin_prepare) has accepted it.
    Prepare,
    /// A connection, and on it the client's statement of this id: see
    /// [`send`](ClientStatements::send).
    WithStatement(u32),
    /// A COM_PING goes to the server in its place: its answer and its effect are the same.
    Ping,
    /// The client's statement of this id is gone, and nothing is answered. If the client has a
    /// connection, what was [set apart](ClientStatements::closed) there is to be closed.
    Closed,
    /// Nothing goes to the server, and nothing is answered.
    Nothing,
    /// This is the answer.
    Answer(ErrPacket),
}

/// How a server has answered.
#[derive(Copy, Clone, Debug, PartialEq, Eq)]
pub enum Outcome {
    /// With success; this is the status of its last OK or EOF.
    Ok(Status),
    /// With an ERR of this number.
    Err(u16),
}

/// Whether others may execute what a client has prepared on its connection.
#[derive(Copy, Clone, Debug, PartialEq, Eq)]
pub enum Sharing {
    /// They may.
    Anyone,
    /// They may not: it is not certain in which setting it was prepared.
    Nobody,
}

/// How many statements a client may have.
#[derive(Copy, Clone, Debug)]
pub struct Limits {
    /// How many.
    pub statements: usize,
    /// The bytes of their texts.
    pub bytes: usize,
}

impl Default for Limits {
    /// As many as a server allows by default, with as much text as one packet has.
    fn default() -> Limits {
        Limits {
            statements: 16_382,
            bytes: 64 << 20,
        }
    }
}

/// Long data of a client's statement.
#[derive(Debug)]
pub(super) enum LongData {
    /// It was sent to the server.
    Sent,
    /// Some was for a parameter that does not exist, which makes every execute fail.
    Wrong,
    /// It could not be sent: the next execute is answered with this.
    Failed(Box<ErrPacket>),
}

/// A client's statement.
#[derive(Debug)]
pub(super) struct ClientStatement {
    pub statement: Used,
    /// How many columns the client has been told that its results have.
    pub columns: u16,
    /// The types that it has bound last.
    pub bound: Option<Bound>,
    /// What its own server would have made of it.
    pub version: Version,
}

/// A command that a server is about to answer.
#[derive(Copy, Clone, Debug)]
pub(super) struct Running {
    pub com: Com,
    /// The client's id.
    pub id: u32,
    /// The server's.
    pub on_server: u32,
}

/// The statements of a client, by the ids that the pool has given it.
#[derive(Debug)]
pub struct ClientStatements {
    pub(super) dialect: Dialect,
    /// Unlike that of any other client of the pool.
    pub(super) number: u64,
    pub(super) by_id: BTreeMap<u32, ClientStatement>,
    /// The id that was given last.
    pub(super) newest: u32,
    /// The statement that was prepared last, which MariaDB has a special id for.
    pub(super) last: Option<u32>,
    preparing: Option<(Used, Sharing)>,
    /// What was prepared, and its parameters as far as the server has told of them; only where it matters.
    defining: Option<(Rc<Statement>, Vec<Column>)>,
    /// The command that the server is about to answer.
    pub(super) running: Option<Running>,
    /// What the last COM_STMT_CLOSE has closed.
    closed: Option<(Used, u32)>,
    pub(super) bytes: usize,
    /// Those with an open cursor.
    pub(super) cursors: BTreeSet<u32>,
    /// Those whose next execute has long data.
    pub(super) long_data: BTreeMap<u32, LongData>,
}

impl ClientStatements {
    /// None so far. `number`: unlike that of any other client of the pool.
    pub fn new(number: u64, dialect: Dialect) -> ClientStatements {
        ClientStatements {
            dialect,
            number,
            by_id: BTreeMap::new(),
            newest: 0,
            last: None,
            preparing: None,
            defining: None,
            running: None,
            closed: None,
            bytes: 0,
            cursors: BTreeSet::new(),
            long_data: BTreeMap::new(),
        }
    }

    /// How many there are.
    pub fn len(&self) -> usize {
        self.by_id.len()
    }

    /// Whether there are none.
    pub fn is_empty(&self) -> bool {
        self.by_id.is_empty()
    }

    /// The statement that an id means.
    pub fn statement(&self, id: u32) -> Option<&Rc<Statement>> {
        let one = self.by_id.get(&self.resolve(id)?)?;
        Some(one.statement.statement())
    }

    /// Whether a cursor is open, which holds the connection.
    pub fn has_cursor(&self) -> bool {
        !self.cursors.is_empty()
    }

    /// Whether the server has long data for a coming execute, which holds the connection.
    pub fn has_long_data(&self) -> bool {
        let mut all = self.long_data.values();
        all.any(|one| !matches!(one, LongData::Failed(_)))
    }

    pub(super) fn resolve(&self, id: u32) -> Option<u32> {
        match self.dialect.means_last(id) {
            true => self.last,
            false => Some(id),
        }
    }

    pub(super) fn owner(&self, id: u32) -> Owner {
        Owner {
            client: self.number,
            id,
        }
    }

    // Commands ------------------------------------------------------------------------------------

    /// A client's command arrives. What it closes is closed at once.
    pub fn command(&mut self, payload: &[u8]) -> Action {
        let Some((com, argument)) = payload.split_first() else {
            return Action::Forward;
        };
        let com = Com(*com);
        if com == Com::STMT_PREPARE {
            return Action::Prepare;
        }
        if !com.names_statement() || !self.dialect.knows(com) {
            return Action::Forward;
        }
        let silent = !com.expects_answer();
        let Some(given) = argument.first_chunk().map(|id| u32::from_le_bytes(*id)) else {
            return match silent {
                true => Action::Nothing,
                false => Action::Answer(self.dialect.malformed()),
            };
        };
        let id = self.resolve(given);
        let found = id.and_then(|id| Some((id, self.by_id.get(&id)?.statement.params())));
        match (found, com) {
            (None, _) if silent => Action::Nothing,
            (None, _) => Action::Answer(self.dialect.unknown_statement(given, com)),
            (Some((id, _)), Com::STMT_CLOSE) => self.close(id),
            (Some((id, params)), Com::STMT_SEND_LONG_DATA) => {
                let param = argument.get(4..).and_then(<[u8]>::first_chunk);
                match param.map(|param| u16::from_le_bytes(*param)) {
                    None => Action::Nothing,
                    Some(param) if param < params => Action::WithStatement(id),
                    Some(_) => {
                        self.long_data.insert(id, LongData::Wrong);
                        Action::Nothing
                    }
                }
            }
            (Some((id, _)), Com::STMT_RESET) => {
                match self.cursors.contains(&id) || self.long_data.contains_key(&id) {
                    true => Action::WithStatement(id),
                    false => Action::Ping,
                }
            }
            (Some((id, _)), Com::STMT_FETCH) => match self.cursors.contains(&id) {
                true => Action::WithStatement(id),
                false => Action::Answer(self.dialect.no_cursor(id)),
            },
            (Some((id, _)), _) => match self.long_data.get(&id) {
                None | Some(LongData::Sent) => Action::WithStatement(id),
                Some(LongData::Wrong) => Action::Answer(self.dialect.wrong_long_data()),
                Some(LongData::Failed(err)) => {
                    let answer = Action::Answer((**err).clone());
                    self.long_data.remove(&id);
                    answer
                }
            },
        }
    }

    fn close(&mut self, id: u32) -> Action {
        let Some(one) = self.by_id.remove(&id) else {
            return Action::Nothing;
        };
        self.last = self.last.filter(|last| *last != id);
        self.bytes = self.bytes.saturating_sub(one.statement.text().len());
        self.cursors.remove(&id);
        self.long_data.remove(&id);
        self.closed = Some((one.statement, id));
        Action::Closed
    }

    /// After [`Action::Closed`]: what was set apart for the statement on the client's connection, if it
    /// has one, which is to be closed with COM_STMT_CLOSE.
    pub fn closed(&mut self, connection: Option<&mut ConnectionStatements>) -> Vec<u32> {
        match (self.closed.take(), connection) {
            (Some((statement, id)), Some(connection)) => {
                connection.take_owned(&statement, self.owner(id))
            }
            _ => Vec::new(),
        }
    }

    /// COM_RESET_CONNECTION or COM_CHANGE_USER has succeeded: all are closed. Ids go on.
    pub fn clear(&mut self) {
        *self = ClientStatements {
            newest: self.newest,
            ..ClientStatements::new(self.number, self.dialect)
        };
    }

    // Preparing -----------------------------------------------------------------------------------

    /// A COM_STMT_PREPARE with this text, in the client's present setting, is about to go to the server.
    ///
    /// # Errors
    /// There are too many statements: that is the answer.
    pub fn begin_prepare(
        &mut self,
        text: &[u8],
        (present, sharing): (&Rc<Setting>, Sharing),
        shared: &mut SharedStatements,
        limits: Limits,
    ) -> Result<(), ErrPacket> {
        self.last = None;
        self.preparing = None;
        let full = self.len() >= limits.statements || self.bytes + text.len() > limits.bytes;
        let statement = match full {
            true => None,
            false => shared.statement(text, present),
        };
        let statement = statement.ok_or_else(|| too_many_statements(self.len()))?;
        self.preparing = Some((Used::new(statement), sharing));
        Ok(())
    }

    /// The server has answered the client's COM_STMT_PREPARE with this. Returns what the client gets in
    /// its place, and which statements of the server are to be closed, as this one serves in their
    /// place.
    pub fn prepared(
        &mut self,
        head: &PrepareOk,
        connection: &mut ConnectionStatements,
    ) -> Option<(PrepareOk, Vec<u32>)> {
        let (statement, sharing) = self.preparing.take()?;
        statement.set_params(head.params);
        let id = self.next_id();
        let superseded = match sharing {
            Sharing::Anyone => connection.supersede(&statement),
            Sharing::Nobody => Vec::new(),
        };
        connection.prepared(statement.statement(), head.statement_id);
        if sharing == Sharing::Nobody
            && let Some(server) = connection.get(&statement, head.statement_id)
        {
            server.private = true;
            server.owner = Some(self.owner(id));
        }
        let is_resolved = self.dialect.resolves_types() && head.params > 0;
        self.defining = is_resolved.then(|| (statement.statement().clone(), Vec::new()));
        self.last = Some(id);
        self.bytes += statement.text().len();
        let one = ClientStatement {
            version: Version::new(statement.setting()),
            statement,
            columns: head.columns,
            bound: None,
        };
        self.by_id.insert(id, one);
        let answer = PrepareOk {
            statement_id: id,
            original: Original::default(),
            ..head.clone()
        };
        Some((answer, superseded))
    }

    /// The server tells of a parameter of what the client has just prepared.
    pub fn defines(&mut self, parameter: Column) {
        let Some((statement, mut parameters)) = self.defining.take() else {
            return;
        };
        parameters.push(parameter);
        match parameters.len() < usize::from(statement.params()) {
            true => self.defining = Some((statement, parameters)),
            false => statement.defined_as(&parameters),
        }
    }

    /// What the client has prepared, until the answer has come.
    pub fn preparing(&self) -> Option<&Rc<Statement>> {
        let (statement, _) = self.preparing.as_ref()?;
        Some(statement.statement())
    }

    /// The server has answered the client's COM_STMT_PREPARE with an ERR, or not at all.
    pub fn prepare_failed(&mut self) {
        self.preparing = None;
        // Servers use up an id, too.
        self.next_id();
    }

    /// The connection has closed before the answer to the present command: cursors and long data are
    /// gone with it.
    pub fn interrupted(&mut self) {
        self.preparing = None;
        self.running = None;
        self.cursors.clear();
        self.long_data.clear();
    }

    fn next_id(&mut self) -> u32 {
        loop {
            self.newest = self.newest.wrapping_add(1);
            let taken = self.newest == 0 || self.newest == u32::MAX;
            if !taken && !self.by_id.contains_key(&self.newest) {
                return self.newest;
            }
        }
    }
}
