//! Commands about a client's statement, written for the connection that the client has got.

use std::rc::Rc;

use super::client::{ClientStatement, ClientStatements, LongData, Outcome, Running};
use super::connection::{Bound, ConnectionStatements, Need, Owner, ServerStatement};
use super::converting::{Converted, converted};
use super::dialect::Dialect;
use super::pins::{Pin, Values, Version};
use super::shared::{Setting, Statement};
use crate::wire::{
    BulkExecute, Capabilities, ColumnType, Com, DecodeError, ErrPacket, ExecuteHead, ParamType,
    Status, execute_form,
};

/// What a command is written by, and read.
#[derive(Copy, Clone, Debug)]
pub struct Form<'a> {
    /// The setting in which the connection is now: the client's.
    pub present: &'a Rc<Setting>,
    /// What the client has negotiated.
    pub client: Capabilities,
    /// What was negotiated with the server.
    pub server: Capabilities,
}

/// How a command gets to the server.
#[derive(Debug)]
pub enum Sending {
    /// The command is written.
    Ready,
    /// This is to be prepared on the connection first, in its own setting;
    /// [`ConnectionStatements::prepared`] is told its id. Then the command is to be sent again, in the
    /// client's setting. Before, [`make_room`](ConnectionStatements::make_room) should be asked. An ERR
    /// is the answer to the client's command.
    Prepare(Rc<Statement>),
    /// A COM_PING goes to the server in its place: its answer and its effect are the same.
    Ping,
    /// Nothing goes to the server; this is the answer, if the command has any.
    Answer(ErrPacket),
}

/// What follows from a server's answer.
#[derive(Copy, Clone, Debug, PartialEq, Eq)]
pub enum Then {
    /// Nothing.
    Done,
    /// This statement of the server is to be closed.
    Close(u32),
    /// The server does not know its statement. The command, which has had no effect, is to be sent
    /// again, and will be prepared again.
    Again,
}

/// What a client's statement would be after an execute.
struct After<'a> {
    bound: Option<Bound>,
    version: Version,
    /// Its values, if it is an execute that they matter to.
    head: Option<ExecuteHead<'a>>,
    /// The types are in the packet.
    types_sent: bool,
    /// The packet has attributes, too.
    attributes: bool,
}

impl After<'_> {
    fn values(&self) -> Values<'_> {
        match (&self.head, &self.bound) {
            (Some(head), Some(bound)) => Values {
                head: Some(head),
                types: &bound.types,
            },
            _ => Values::NONE,
        }
    }
}

impl ClientStatements {
    /// Writes a command that needs a [statement](super::Action::WithStatement) for this connection, in
    /// place of what is in `out`. Nothing is changed, unless it is ready.
    pub fn send(
        &mut self,
        payload: &[u8],
        connection: &mut ConnectionStatements,
        form: Form<'_>,
        out: &mut Vec<u8>,
    ) -> Sending {
        let Some((com, argument)) = payload.split_first() else {
            return Sending::Answer(self.dialect.malformed());
        };
        let com = Com(*com);
        let Some(given) = argument.first_chunk().map(|id| u32::from_le_bytes(*id)) else {
            return Sending::Answer(self.dialect.malformed());
        };
        let dialect = self.dialect;
        let id = self.resolve(given).unwrap_or(given);
        let owner = self.owner(id);
        let Some(one) = self.by_id.get_mut(&id) else {
            return Sending::Answer(dialect.unknown_statement(given, com));
        };
        let sent = match com {
            Com::STMT_FETCH | Com::STMT_RESET => {
                let Some(server) = connection.owned(&one.statement, owner) else {
                    return self.without_server(com, id);
                };
                write(payload, server.id, out);
                Ok(server.id)
            }
            Com::STMT_SEND_LONG_DATA => one.send_long_data(payload, owner, connection, form, out),
            _ => {
                let after = one.after(com, argument, dialect, form);
                after.and_then(|after| {
                    one.execute(payload, after, owner, connection, (dialect, form), out)
                })
            }
        };
        let on_server = match sent {
            Ok(on_server) => on_server,
            Err(other) => return other,
        };
        if com == Com::STMT_SEND_LONG_DATA {
            self.long_data.entry(id).or_insert(LongData::Sent);
        } else {
            self.running = Some(Running { com, id, on_server });
        }
        Sending::Ready
    }

    /// What has to be prepared on this connection before a command can be sent there, and in which setting. Nothing is changed
    /// by asking.
    pub fn missing(
        &self,
        payload: &[u8],
        connection: &ConnectionStatements,
        form: Form<'_>,
    ) -> Option<(Rc<Statement>, Rc<Setting>)> {
        let (com, argument) = payload.split_first()?;
        let com = Com(*com);
        let is_needed = matches!(
            com,
            Com::STMT_EXECUTE | Com::STMT_BULK_EXECUTE | Com::STMT_SEND_LONG_DATA
        );
        if !is_needed || !self.dialect.knows(com) {
            return None;
        }
        let id = self.resolve(u32::from_le_bytes(*argument.first_chunk()?))?;
        let one = self.by_id.get(&id)?;
        // What is malformed is answered without the server.
        let after = match com {
            Com::STMT_SEND_LONG_DATA => None,
            _ => Some(one.after(com, argument, self.dialect, form).ok()?),
        };
        let (values, version) = match &after {
            Some(after) => (after.values(), &after.version),
            None => (Values::NONE, &one.version),
        };
        let need = one.need(self.owner(id), values, version, form);
        if connection.has(&need) {
            return None;
        }
        let statement = one.statement.statement().clone();
        if let Some(setting) = need.setting() {
            return Some((statement, setting.clone()));
        }
        let converted = one.converted(payload, after.as_ref()?, form)?;
        let need = one.need(self.owner(id), converted.values(), version, form);
        match connection.has(&need) {
            true => None,
            false => Some((statement, need.setting()?.clone())),
        }
    }

    /// The statement of this execute could not be prepared: a server that has it notes the types before it fails.
    pub fn bound_in_vain(&mut self, payload: &[u8], form: Form<'_>) {
        let Some((com, argument)) = payload.split_first() else {
            return;
        };
        let (com, dialect) = (Com(*com), self.dialect);
        let given = argument.first_chunk().map(|id| u32::from_le_bytes(*id));
        let id = given.and_then(|given| self.resolve(given));
        let Some(one) = id.and_then(|id| self.by_id.get_mut(&id)) else {
            return;
        };
        if com == Com::STMT_EXECUTE
            && let Ok(after) = one.after(com, argument, dialect, form)
            && after.types_sent
        {
            one.bound = after.bound;
        }
    }

    /// Long data for this statement could not be sent; the next execute is answered with this.
    pub fn long_data_failed(&mut self, id: u32, err: ErrPacket) {
        if self.by_id.contains_key(&id) {
            self.long_data.insert(id, LongData::Failed(Box::new(err)));
        }
    }

    /// The execute that was sent has succeeded, and its result has so many columns. Whether the client has been told of
    /// another number before: its own server, which prepares a statement again when a table has changed, would say so.
    /// `None` for what is no execute, or has no columns.
    pub fn gave_columns(&mut self, columns: u16) -> Option<bool> {
        let running = self.running.filter(|one| one.com == Com::STMT_EXECUTE)?;
        let one = self.by_id.get_mut(&running.id)?;
        if one.columns == 0 || columns == 0 {
            return None;
        }
        Some(std::mem::replace(&mut one.columns, columns) != columns)
    }

    /// The server has answered the command that was sent.
    pub fn ended(&mut self, outcome: Outcome, connection: &mut ConnectionStatements) -> Then {
        let Some(running) = self.running.take() else {
            return Then::Done;
        };
        let id = running.id;
        let executes = matches!(running.com, Com::STMT_EXECUTE | Com::STMT_BULK_EXECUTE);
        let had_long_data = executes && self.long_data.contains_key(&id);
        let unknown = outcome == Outcome::Err(1243);
        self.settle(running, outcome);
        let owner = self.owner(id);
        let pending = self.cursors.contains(&id) || self.long_data.contains_key(&id);
        let Some(one) = self.by_id.get(&id) else {
            return Then::Done;
        };
        if unknown {
            connection.forget(&one.statement, running.on_server);
            return match executes && !had_long_data {
                true => Then::Again,
                false => Then::Done,
            };
        }
        let failed = matches!(outcome, Outcome::Err(_));
        if failed && had_long_data {
            // It may be in a state in which every execute fails until it is reset.
            connection.forget(&one.statement, running.on_server);
            return Then::Close(running.on_server);
        }
        let Some(server) = connection.get(&one.statement, running.on_server) else {
            return Then::Done;
        };
        if pending {
            server.pending = true;
            server.owner = Some(owner);
        } else {
            server.release();
        }
        if failed {
            // It is unknown whether the server has noted them.
            server.bound = None;
        }
        Then::Done
    }

    /// What is pending after an answer.
    fn settle(&mut self, running: Running, outcome: Outcome) {
        let id = running.id;
        let open = match (running.com, outcome) {
            (Com::STMT_FETCH, Outcome::Ok(status)) => !status.contains(Status::LAST_ROW_SENT),
            (Com::STMT_FETCH, Outcome::Err(error)) => !matches!(error, 1421 | 1243),
            (Com::STMT_RESET, Outcome::Err(error)) if error != 1243 => return,
            (Com::STMT_RESET, _) | (_, Outcome::Err(_)) => false,
            (_, Outcome::Ok(status)) => {
                status.contains(Status::CURSOR_EXISTS)
                    && !status.contains(Status::MORE_RESULTS_EXISTS)
            }
        };
        match open {
            true => self.cursors.insert(id),
            false => self.cursors.remove(&id),
        };
        if running.com != Com::STMT_FETCH {
            self.long_data.remove(&id);
        }
    }

    /// The connection has nothing of the statement that could be fetched from, or reset.
    fn without_server(&mut self, com: Com, id: u32) -> Sending {
        self.cursors.remove(&id);
        if com == Com::STMT_FETCH {
            return Sending::Answer(self.dialect.no_cursor(id));
        }
        self.long_data.remove(&id);
        Sending::Ping
    }
}

impl ClientStatement {
    fn send_long_data(
        &self,
        payload: &[u8],
        owner: Owner,
        connection: &mut ConnectionStatements,
        form: Form<'_>,
        out: &mut Vec<u8>,
    ) -> Result<u32, Sending> {
        let need = self.need(owner, Values::NONE, &self.version, form);
        let server = self.find(&need, connection)?;
        server.owner = Some(owner);
        server.pending = true;
        write(payload, server.id, out);
        Ok(server.id)
    }

    /// Which statement of the server it needs.
    fn need<'a>(
        &'a self,
        owner: Owner,
        values: Values<'a>,
        wanted: &'a Version,
        form: Form<'a>,
    ) -> Need<'a> {
        let setting = &wanted.setting;
        let elsewhere = !Rc::ptr_eq(setting, form.present) && !setting.parses_like(form.present);
        let need = Need {
            statement: &self.statement,
            owner,
            values,
            before: &self.version,
            wanted,
            present: form.present,
            private: elsewhere,
        };
        // What cannot be had again is kept for the client.
        let private = elsewhere || need.setting().is_none();
        Need { private, ..need }
    }

    /// The server's statement for this one.
    fn find<'a>(
        &self,
        need: &Need<'_>,
        connection: &'a mut ConnectionStatements,
    ) -> Result<&'a mut ServerStatement, Sending> {
        let missing = || match need.setting() {
            Some(_) => Sending::Prepare(self.statement.statement().clone()),
            None => Sending::Answer(resolved_elsewhere()),
        };
        connection.find(need).ok_or_else(missing)
    }

    /// An execute in the types that the client's own server has made of its values.
    fn converted(&self, payload: &[u8], after: &After<'_>, form: Form<'_>) -> Option<Converted> {
        let (bound, wanted) = (after.bound.as_ref()?, after.version.pins.as_ref()?);
        after.head?;
        let pins = (&*self.statement.initial(), &**wanted);
        converted(payload, &bound.types, pins, form.client)
    }

    /// What an execute would make of it.
    fn after<'a>(
        &self,
        com: Com,
        argument: &'a [u8],
        dialect: Dialect,
        form: Form<'_>,
    ) -> Result<After<'a>, Sending> {
        let params = self.statement.params();
        if com == Com::STMT_BULK_EXECUTE {
            let types = BulkExecute::decode_types(argument, params)
                .map_err(|_| Sending::Answer(dialect.malformed()))?;
            let types_sent = !types.is_empty();
            let bound = match types_sent {
                true => Some(self.bind(types.into_iter(), form)),
                false => self.bound.clone(),
            };
            return Ok(After {
                types_sent,
                bound,
                version: self.version.clone(),
                head: None,
                attributes: false,
            });
        }
        let head = ExecuteHead::read(argument, params, form.client).map_err(|_| {
            // Without any values at all.
            let nothing = argument.len() == EXECUTE_HEAD;
            Sending::Answer(match nothing {
                true => dialect.no_values(com),
                false => dialect.malformed(),
            })
        })?;
        if head.count < usize::from(params) {
            return Err(Sending::Answer(dialect.malformed()));
        }
        let mut bound = self.bound.clone();
        if head.types_sent() {
            let types = head.types().take(params.into());
            bound = Some(self.bind(types.map(|(param_type, _)| param_type), form));
        } else if params > 0 && bound.is_none() && (0..params.into()).all(|at| head.is_null(at)) {
            // NULLs need no types.
            let types = std::iter::repeat_n(ParamType::new(ColumnType::NULL), params.into());
            bound = Some(self.bind(types, form));
        }
        let mut after = After {
            bound,
            version: self.version.clone(),
            head: (dialect.resolves_types() && params > 0).then_some(head),
            types_sent: head.types_sent(),
            attributes: head.count > usize::from(params),
        };
        after.version = (self.version).after(&self.statement, after.values(), form.present);
        Ok(after)
    }

    /// These types, bound now. Nothing is allocated if they are those that were bound before.
    fn bind(&self, types: impl Iterator<Item = ParamType> + Clone, form: Form<'_>) -> Bound {
        let before = self.bound.as_ref();
        let same = before.filter(|before| before.types.iter().copied().eq(types.clone()));
        Bound {
            types: match same {
                Some(before) => before.types.clone(),
                None => self.statement.share_types(types),
            },
            setting: form.present.clone(),
        }
    }

    fn execute(
        &mut self,
        payload: &[u8],
        after: After<'_>,
        owner: Owner,
        connection: &mut ConnectionStatements,
        (dialect, form): (Dialect, Form<'_>),
        out: &mut Vec<u8>,
    ) -> Result<u32, Sending> {
        let com = Com(payload.first().copied().unwrap_or_default());
        let params = self.statement.params();
        if params > 0 && after.bound.is_none() {
            return Err(Sending::Answer(dialect.nothing_bound(com)));
        }
        let need = self.need(owner, after.values(), &after.version, form);
        let can_be_had = need.setting().is_some() || connection.has(&need);
        let converted = match can_be_had {
            true => None,
            false => self.converted(payload, &after, form),
        };
        let (need, payload) = match &converted {
            Some(converted) => {
                let need = self.need(owner, converted.values(), &after.version, form);
                (need, &converted.payload[..])
            }
            None => (need, payload),
        };
        let server = self.find(&need, connection)?;
        if !need.is_served_by(&server.version) {
            return Err(Sending::Answer(resolved_elsewhere()));
        }
        let malformed = |_: DecodeError| Sending::Answer(dialect.malformed());
        write(payload, server.id, out);
        let mut bound = after.bound.clone();
        if let Some(converted) = &converted {
            bound = Some(Bound {
                types: converted.types.clone().into(),
                setting: form.present.clone(),
            });
        } else if let Some(wanted) = &after.bound
            && params > 0
            && !after.types_sent
            && !server
                .bound
                .as_ref()
                .is_some_and(|known| known.reads_like(wanted))
        {
            if !wanted.setting.reads_like(form.present) && are_converted(&wanted.types) {
                return Err(Sending::Answer(bound_elsewhere()));
            }
            if after.attributes {
                return Err(Sending::Answer(dialect.malformed()));
            }
            match com {
                Com::STMT_BULK_EXECUTE => execute_form::bulk_with_types(out, &wanted.types),
                _ => execute_form::with_types(out, &wanted.types, form.client),
            }
            .map_err(malformed)?;
            bound = Some(Bound {
                types: wanted.types.clone(),
                setting: form.present.clone(),
            });
        }
        if com == Com::STMT_EXECUTE
            && (form.client ^ form.server).contains(Capabilities::QUERY_ATTRIBUTES)
        {
            *out = match form.server.contains(Capabilities::QUERY_ATTRIBUTES) {
                true => execute_form::with_count(out, params),
                false => execute_form::without_attributes(out, params),
            }
            .map_err(malformed)?;
        }
        if params > 0 {
            server.bound = bound;
        }
        server.version = (server.version).after(&self.statement, need.values, form.present);
        if after.types_sent {
            self.bound = after.bound;
        }
        self.version = after.version;
        Ok(server.id)
    }
}

/// The bytes of an execute before the parameters.
const EXECUTE_HEAD: usize = 9;

/// The packet for a server, where the statement has this id.
fn write(payload: &[u8], id: u32, out: &mut Vec<u8>) {
    out.clear();
    out.extend_from_slice(payload);
    if let Some(place) = out.get_mut(1..5) {
        place.copy_from_slice(&id.to_le_bytes());
    }
}

/// Whether values of some of these types are converted from the client's character set.
fn are_converted(types: &[ParamType]) -> bool {
    types.iter().any(|one| Pin::of(*one) == Pin::Text)
}

/// The client has changed its character set, and goes on with types that it has bound before that: the
/// server would have read its values in the old character set.
fn bound_elsewhere() -> ErrPacket {
    let message = "not-restorable: the types of the parameters were bound in another character \
                   set, and the pool has changed the connection since; bind them again";
    ErrPacket::new(1105, b"HY000", message.into())
}

/// MySQL has resolved the client's statement for the types of executes before, or in modes that the session has left since: a
/// statement that is prepared now would give something else.
fn resolved_elsewhere() -> ErrPacket {
    let message = "not-restorable: this statement was executed for values of other types, or in another sql_mode, and the pool \
                   has changed the connection since; prepare it again";
    ErrPacket::new(1105, b"HY000", message.into())
}
