//! A packet that is handled whole: shown to hooks, forwarded or held, translated if need be.

use std::borrow::Cow;
use std::rc::Rc;

use super::Proxy;
use super::advance::TRANSLATED;
use super::conn::{ConnId, ConnInfo, Numbering, Role};
use super::core::Core;
use super::ending::{self, Ending};
use super::hooks::{Incoming, Verdict};
use crate::session::{ClientSession, Event, EventSet, Head, PacketKind, Step};
use crate::wire::frame::{HEADER, Header};
use crate::wire::{
    Auth, Capabilities, Com, Eof, ErrPacket, Handshake, Ok as OkPacket, SslRequest, Status,
};

/// A packet that its session has taken.
struct Taken<'a> {
    info: Rc<ConnInfo>,
    step: Step,
    /// The number of its last frame.
    seq: u8,
    payload: Cow<'a, [u8]>,
    /// What it is to be decoded with.
    capabilities: Capabilities,
    /// An ERR that answers nothing.
    unasked: bool,
    /// From a server that serves its client's login: both live and die together.
    passthrough: bool,
    /// Part of a response that nobody wants any more.
    discard: bool,
    /// Part of a binlog stream.
    binlog: bool,
    /// The command that a server is answering.
    answers: Option<Com>,
    /// A command that nobody knows, which is answered rather than shown.
    unknown: bool,
}

/// What came of putting a packet on a connection.
#[derive(Debug, Default)]
pub(super) struct Put {
    /// The armed events that fire there.
    pub events: EventSet,
    /// It refused the client's login.
    pub refused: bool,
}

/// Why a packet was not taken, and what the client is to be told about it.
struct Refusal {
    reason: String,
    answer: Option<ErrPacket>,
}

impl From<String> for Refusal {
    fn from(reason: String) -> Self {
        Refusal {
            reason,
            answer: None,
        }
    }
}

/// An ERR of the proxy's own.
pub(super) fn error_packet(errnum: u16, sqlstate: &[u8; 5], message: String) -> ErrPacket {
    ErrPacket {
        errnum,
        sqlstate: Some(*sqlstate),
        message: message.into_bytes(),
        ..ErrPacket::default()
    }
}

impl Proxy {
    /// Handles the packet that these frames hold.
    pub(super) fn packet(&self, id: ConnId, frames: &[u8]) {
        let payload = payload_of(frames);
        let taken = self.core().take(id, last_seq(frames), &payload);
        let taken = match taken {
            Ok(taken) => taken,
            Err(refusal) => {
                if let Some(err) = refusal.answer {
                    self.put_error(id, &err);
                }
                self.broken(id, &refusal.reason);
                return;
            }
        };
        if taken.unknown {
            let com = Com(taken.payload.first().copied().unwrap_or_default());
            log::info!("connection {}: unknown command 0x{:02x}", id.serial, com.0);
            self.put_error(id, &error_packet(1047, b"08S01", "Unknown command".into()));
            return;
        }
        let Some((hold, mut unlink)) = self.ask(&taken) else {
            return;
        };
        let receiver = self.core().peer(id);
        let mut events = EventSet::NONE;
        if !hold {
            match self.hand_over(&taken, receiver) {
                Some(fired) => events = fired,
                None => return,
            }
        }
        if taken.unasked {
            let reason = unasked_reason(&taken);
            self.close_for(id, &reason);
            if let Some(receiver) = receiver.filter(|_| taken.passthrough) {
                self.close_for(receiver, &reason);
            }
            return;
        }
        if taken.discard && matches!(taken.step.kind, PacketKind::Infile | PacketKind::AuthData) {
            self.close_for(id, "it asks for what its client, who is gone, cannot give");
            return;
        }
        if !taken.step.synthesised.is_empty() {
            let (unlinks, more) = self.synthesise(&taken, receiver);
            unlink |= unlinks;
            events = events.with(more);
        }
        let Some(receiver) = receiver else {
            return;
        };
        self.fire_all(receiver, events);
        if unlink && self.unlink_if_linked(id, receiver) {
            // In the middle of a response, the rest of it is for nobody.
            self.core().discard_responses(id, usize::MAX);
        }
        if !hold && taken.is_quit() {
            self.close_for(id, "the client quit");
        }
    }

    /// Shows the packet to the hooks that are armed for it. Returns whether one held it back, and
    /// whether one unlinks; `None`: nothing more is to be done with it.
    fn ask(&self, taken: &Taken<'_>) -> Option<(bool, bool)> {
        let id = taken.info.id;
        let mut hold = taken.discard || taken.unasked && !taken.passthrough;
        let mut unlink = false;
        for event in taken.step.events {
            if self.core().armed(id, event.set()).is_empty() {
                taken.info.state.set(Some(event));
                continue;
            }
            let packet = Incoming {
                kind: taken.step.kind,
                payload: &taken.payload,
                capabilities: taken.capabilities,
            };
            match self.fire(&taken.info, event, Some(packet)) {
                Verdict::Forward => {}
                Verdict::Hold => hold = true,
                Verdict::FlushDisconnect => unlink = true,
                Verdict::Failed => {
                    self.callback_failed(id);
                    return None;
                }
            }
            self.core().open(id)?;
        }
        Some((hold, unlink))
    }

    /// Forwards the packet over the link as it stands now. `None`: that was the end of the
    /// connection.
    fn hand_over(&self, taken: &Taken<'_>, peer: Option<ConnId>) -> Option<EventSet> {
        let id = taken.info.id;
        let Some(peer) = peer else {
            if taken.step.kind == PacketKind::Command {
                self.without_peer(id, &taken.payload);
            }
            return Some(EventSet::NONE);
        };
        let put = self.core().put_through(id, peer, taken);
        match put {
            Ok(put) => {
                if put.refused {
                    self.close_for(peer, &refused_reason(&taken.payload));
                }
                Some(put.events)
            }
            Err(reason) => {
                self.broken(id, &reason);
                self.close_for(peer, &reason);
                None
            }
        }
    }

    /// A command that was not held and has nowhere to go.
    fn without_peer(&self, id: ConnId, payload: &[u8]) {
        let com = Com(payload.first().copied().unwrap_or_default());
        if com == Com::QUIT {
            self.close_for(id, "the client quit");
            return;
        }
        let unanswered = {
            let core = self.core();
            core.open(id).is_some_and(|conn| match &conn.role {
                Role::Client(session) => session.response().is_some_and(|r| !r.started()),
                _ => false,
            })
        };
        if unanswered {
            let message = "The proxy has no server for this connection";
            self.put_error(id, &error_packet(1105, b"HY000", message.into()));
        }
    }

    /// Fires the events that stand for an EOF which this server leaves out, and sends it to a
    /// client that wants it. Returns whether to unlink, and what then fires on the client.
    fn synthesise(&self, taken: &Taken<'_>, receiver: Option<ConnId>) -> (bool, EventSet) {
        let id = taken.info.id;
        let mut unlink = false;
        let mut events = EventSet::NONE;
        for event in taken.step.synthesised {
            let eof = Eof {
                warnings: 0,
                status: Status::AUTOCOMMIT,
            };
            let mut payload = Vec::new();
            eof.encode(taken.capabilities, &mut payload);
            let armed = !self.core().armed(id, event.set()).is_empty();
            taken.info.state.set(Some(event));
            if armed {
                let packet = Incoming {
                    kind: PacketKind::Eof,
                    payload: &payload,
                    capabilities: taken.capabilities,
                };
                match self.fire(&taken.info, event, Some(packet)) {
                    Verdict::FlushDisconnect => unlink = true,
                    Verdict::Failed => {
                        self.callback_failed(id);
                        return (false, EventSet::NONE);
                    }
                    Verdict::Forward | Verdict::Hold => {}
                }
            }
            // A cursor is announced by the flags of the very EOF that would have to be inserted,
            // so there it waits for the packet behind the columns, which has them.
            let may_open_cursor = taken.answers == Some(Com::STMT_EXECUTE);
            if let Some(receiver) = receiver.filter(|_| !taken.discard && !may_open_cursor) {
                events = events.with(self.core().insert_eof(receiver, &eof));
            }
        }
        (unlink, events)
    }

    /// Sends an ERR of the proxy's own to a client, if it can take one now.
    pub(super) fn put_error(&self, client: ConnId, err: &ErrPacket) {
        let put = self.core().put_error(client, err);
        if let Ok(put) = put {
            if put.refused {
                self.close_for(client, &String::from_utf8_lossy(&err.message));
            } else {
                self.fire_all(client, put.events);
            }
        }
    }

    /// Tells a client that what it waits for will not come. One that has sent more commands
    /// meanwhile is closed behind that.
    pub(super) fn disappoint(&self, client: ConnId, err: &ErrPacket, reason: &str) {
        self.put_error(client, err);
        let owed = {
            let core = self.core();
            core.open(client).is_some_and(|conn| match &conn.role {
                Role::Client(session) => conn.peer.is_none() && session.outstanding() > 0,
                _ => false,
            })
        };
        if owed {
            self.close_for(client, reason);
        }
    }

    /// A callback on this connection failed: its packet must not pass unseen.
    pub(super) fn callback_failed(&self, id: ConnId) {
        let reason = "a callback failed (the log says which)";
        let answered = {
            let mut core = self.core();
            let client = match core.open(id).map(|conn| &conn.role) {
                Some(Role::Client(_)) => Some(id),
                Some(Role::Server(_)) => core.peer(id),
                _ => None,
            };
            client.filter(|client| {
                core.open_mut(*client)
                    .and_then(|conn| conn.client())
                    .is_some_and(|session| {
                        session.authenticated() && session.response().is_some_and(|r| !r.started())
                    })
            })
        };
        let Some(client) = answered else {
            let peer = self.core().peer(id);
            self.close_for(id, reason);
            if let Some(peer) = peer {
                self.close_for(peer, reason);
            }
            return;
        };
        {
            // What the server may still say about it is for nobody.
            let mut core = self.core();
            if let Some(server) = core.peer(client) {
                core.discard_responses(server, 1);
            }
        }
        let message = "A callback of the proxy's script failed; its log says which";
        self.put_error(client, &error_packet(1105, b"HY000", message.into()));
    }

    /// The far end broke the protocol.
    pub(super) fn broken(&self, id: ConnId, reason: &str) {
        let address = {
            let mut core = self.core();
            core.stats.protocol_errors += 1;
            core.open(id)
                .map(|conn| conn.info.address.borrow().to_string())
        };
        if let Some(address) = address {
            log::warn!("connection {} ({address}): {reason}", id.serial);
            self.close_for(id, reason);
        }
    }
}

impl Core {
    /// Lets the session take a packet that is all there.
    fn take<'a>(&mut self, id: ConnId, seq: u8, payload: &'a [u8]) -> Result<Taken<'a>, Refusal> {
        let head = Head {
            seq,
            ..Head::of(payload)
        };
        self.stats.packets += 1;
        let Some(conn) = self.open_mut(id) else {
            return Err("closed".to_string().into());
        };
        let info = conn.info.clone();
        let passthrough =
            conn.peer.is_some() && (conn.passthrough == conn.peer || !conn.authenticated());
        let discard = conn.discard > 0;
        let binlog = conn.in_binlog();
        let mut unasked = false;
        let mut answers = None;
        let mut unknown = false;
        let mut payload = Cow::Borrowed(payload);
        let step = match &mut conn.role {
            Role::Client(session) => session.receive(head),
            Role::Server(session) => {
                unasked = session.unasked();
                answers = session.response().map(|response| response.com());
                session.receive(head)
            }
            Role::Listener(_) => return Err("a listener sends nothing".to_string().into()),
        };
        let mut step = step.map_err(|violation| violation.to_string())?;
        match (step.kind, &mut conn.role) {
            (PacketKind::Handshake, Role::Server(session)) => {
                let (offered, masked) = mask_handshake(&payload)?;
                session.set_offered(offered);
                payload = Cow::Owned(masked);
            }
            (PacketKind::Auth, Role::Client(session)) => {
                let (asked, masked) = read_auth(&payload, session.offered())?;
                session.negotiate(asked);
                payload = Cow::Owned(masked);
            }
            (PacketKind::Command, _) => {
                unknown = !head.first().is_some_and(|first| Com(first).is_known());
            }
            _ => {}
        }
        let capabilities = conn.capabilities();
        info.capabilities.set(capabilities);
        self.check_login(id);
        if step.kind == PacketKind::Command {
            self.stats.commands += 1;
        }
        if discard {
            // Only how it ended is told.
            let ends = match conn_owes(self.get(id)) {
                true => EventSet::NONE,
                false => Event::ServerWaitCommand
                    .set()
                    .with(Event::ServerReceivedError.set()),
            };
            step.events = step.events.and(ends);
            step.synthesised = step.synthesised.and(ends);
        }
        if step.done
            && let Some(conn) = self.open_mut(id)
        {
            conn.discard = conn.discard.saturating_sub(1);
            conn.orphaned &= !conn.idle();
        }
        Ok(Taken {
            info,
            seq,
            binlog,
            answers,
            step,
            payload,
            capabilities,
            unasked: unasked && step.kind == PacketKind::Err,
            passthrough,
            discard,
            unknown,
        })
    }

    /// Puts a packet through to the linked peer, in the peer's form.
    fn put_through(&mut self, id: ConnId, to: ConnId, taken: &Taken<'_>) -> Result<Put, String> {
        let step = taken.step;
        let Some((from, receiver)) = self.pair_mut(id, to) else {
            return Ok(Put::default());
        };
        let differs = (taken.capabilities ^ receiver.capabilities()).intersects(TRANSLATED);
        let mut numbering = match step.kind {
            PacketKind::Command => Numbering::Restarts,
            PacketKind::Data if taken.binlog => Numbering::From(taken.seq),
            _ => Numbering::GoesOn,
        };
        let mut done = false;
        let mut columns_eof = None;
        let mut put = Put::default();
        let mut payload = Cow::Borrowed(&*taken.payload);
        match &mut receiver.role {
            Role::Server(session) => {
                put.events = match step.kind {
                    PacketKind::Auth => {
                        let mut auth = Auth::decode(&payload).map_err(|error| error.to_string())?;
                        auth.capabilities &= session.offered() | Capabilities::WISHES;
                        receiver.passthrough = Some(id);
                        let events = session.send_auth(auth.capabilities)?;
                        let mut masked = Vec::new();
                        auth.encode(&mut masked);
                        payload = Cow::Owned(masked);
                        events
                    }
                    PacketKind::AuthData => session.send_auth_data()?,
                    PacketKind::Command => {
                        session.send_command(Com(payload.first().copied().unwrap_or_default()))?
                    }
                    _ => session.send_data(payload.is_empty())?,
                };
            }
            Role::Client(session) if taken.unasked && session.authenticated() => {
                // It answers nothing, so no session has a place for it.
                numbering = Numbering::From(0);
            }
            Role::Client(session) => {
                if taken.is_behind_columns()
                    && session.capabilities().contains(Capabilities::DEPRECATE_EOF)
                {
                    session.swallow_eof();
                    if session.take_withheld_end() {
                        put.events = receiver.armed.and(Event::ClientWaiting.set());
                        receiver.info.state.set(Some(Event::ClientWaiting));
                        self.resume_client(to);
                        return Ok(put);
                    }
                    let opens_cursor = step.done && session.response().is_some_and(|r| r.in_rows());
                    if !opens_cursor {
                        return Ok(put);
                    }
                }
                if step.kind == PacketKind::Handshake {
                    put.events = session.send_handshake(taken.capabilities)?.events;
                } else if session.authenticated() && session.response().is_none() {
                    // It has asked for nothing, so this is not for it.
                    return Ok(put);
                } else {
                    let mut opens_cursor = false;
                    if session.response().is_some_and(|r| r.owes_columns_eof())
                        && step.kind != PacketKind::Eof
                        && step.kind != PacketKind::Err
                    {
                        columns_eof = late_columns_eof(session, &payload, taken)?;
                        opens_cursor = columns_eof.is_none();
                    }
                    if opens_cursor {
                        // The one EOF is all.
                        payload = Cow::Owned(cursor_eof(&payload, taken.capabilities)?);
                    } else if differs {
                        match translate(session, &payload, taken)? {
                            Translated::Same => {}
                            Translated::Nothing => return Ok(Put::default()),
                            Translated::Other(other) => payload = Cow::Owned(other),
                        }
                    }
                    let sent = session.send(Head::of(&payload), None)?;
                    put.events = sent.events;
                    put.refused = sent.refused;
                    done = sent.done;
                    if done && !step.done {
                        session.withhold_end();
                        put.events = EventSet::NONE;
                        done = false;
                    }
                }
            }
            Role::Listener(_) => return Ok(put),
        }
        if let Some(eof) = columns_eof {
            receiver.queue(&eof, numbering);
        }
        receiver.queue(&payload, if done { Numbering::Ends } else { numbering });
        receiver.info.capabilities.set(receiver.capabilities());
        if let Some(event) = put.events.into_iter().last() {
            receiver.info.state.set(Some(event));
        }
        put.events = receiver.armed.and(put.events);
        let flooded = receiver.output.len() > super::conn::HIGH_WATER;
        from.throttled |= flooded;
        self.after_queueing(to);
        self.check_login(to);
        if done {
            self.resume_client(to);
        }
        Ok(put)
    }

    /// Sends the EOF behind columns to a client that wants it, where the server sent none.
    fn insert_eof(&mut self, id: ConnId, eof: &Eof) -> EventSet {
        let Some(conn) = self.open_mut(id) else {
            return EventSet::NONE;
        };
        let Some(session) = conn.client() else {
            return EventSet::NONE;
        };
        if !session.response().is_some_and(|r| r.owes_columns_eof()) {
            return EventSet::NONE;
        }
        let mut payload = Vec::new();
        eof.encode(session.capabilities(), &mut payload);
        let Ok(sent) = session.send(Head::of(&payload), None) else {
            return EventSet::NONE;
        };
        conn.queue(&payload, numbering_of(sent.done));
        let events = conn.armed.and(sent.events);
        self.after_queueing(id);
        if sent.done {
            self.resume_client(id);
        }
        events
    }

    /// Puts an ERR of the proxy's own on a client's connection.
    pub fn put_error(&mut self, id: ConnId, err: &ErrPacket) -> Result<Put, String> {
        let Some(conn) = self.open_mut(id) else {
            return Ok(Put::default());
        };
        let capabilities = conn.capabilities();
        let Some(session) = conn.client() else {
            return Ok(Put::default());
        };
        let mut payload = Vec::new();
        err.encode(capabilities | Capabilities::PROTOCOL_41, &mut payload);
        let sent = session.send(Head::of(&payload), Some(PacketKind::Err))?;
        conn.queue(&payload, numbering_of(sent.done));
        let put = Put {
            events: conn.armed.and(sent.events),
            refused: sent.refused,
        };
        self.after_queueing(id);
        if sent.done {
            self.resume_client(id);
        }
        Ok(put)
    }

    /// The server's responses, so many from the present one on, are for nobody: drain them.
    pub fn discard_responses(&mut self, id: ConnId, most: usize) {
        if let Some(conn) = self.open_mut(id)
            && let Role::Server(session) = &conn.role
        {
            conn.discard = session.outstanding().min(most);
        }
    }

    /// Once the login is over its time limit is lifted, and silence is watched instead.
    pub fn check_login(&mut self, id: ConnId) {
        if let Some(conn) = self.open_mut(id)
            && conn.authenticated()
            && !std::mem::replace(&mut conn.logged_in, true)
        {
            self.set_deadline(id, std::time::Duration::ZERO);
            self.watch_idle(id);
        }
    }
}

impl Taken<'_> {
    /// The EOF behind columns or parameters, which is not on the wire under
    /// CLIENT_DEPRECATE_EOF. (The one that ends COM_FIELD_LIST's answer is.)
    fn is_behind_columns(&self) -> bool {
        let columns = Event::ServerSentFields
            .set()
            .with(Event::ServerSentParams.set());
        self.step.kind == PacketKind::Eof
            && self.step.events.meets(columns)
            && self.answers != Some(Com::FIELD_LIST)
    }

    fn is_quit(&self) -> bool {
        self.step.kind == PacketKind::Command && self.payload.first() == Some(&Com::QUIT.0)
    }
}

/// Whether the server has more to answer of what nobody wants any more.
fn conn_owes(conn: Option<&super::conn::Conn>) -> bool {
    conn.is_some_and(|conn| conn.discard > 1)
}

/// How the last, or another, packet of an exchange is numbered.
pub(super) fn numbering_of(done: bool) -> Numbering {
    if done {
        Numbering::Ends
    } else {
        Numbering::GoesOn
    }
}

/// The EOF behind columns for a client that wants one, now that the packet behind them is there;
/// `None` if that packet says that a cursor is open, so that no rows follow.
fn late_columns_eof(
    session: &mut ClientSession,
    payload: &[u8],
    taken: &Taken<'_>,
) -> Result<Option<Vec<u8>>, String> {
    let mut status = Status::AUTOCOMMIT;
    if taken.step.kind == PacketKind::Ok {
        let ok = OkPacket::decode(payload, taken.capabilities).map_err(|e| e.to_string())?;
        if ok.status.contains(Status::CURSOR_EXISTS)
            && !ok.status.contains(Status::MORE_RESULTS_EXISTS)
        {
            return Ok(None);
        }
        status = ok.status;
    }
    let mut eof = Vec::new();
    Eof {
        warnings: 0,
        status,
    }
    .encode(session.capabilities(), &mut eof);
    session.send(Head::of(&eof), None)?;
    Ok(Some(eof))
}

/// The EOF that says a cursor is open, from the OK that says so.
fn cursor_eof(payload: &[u8], capabilities: Capabilities) -> Result<Vec<u8>, String> {
    let ok = OkPacket::decode(payload, capabilities).map_err(|error| error.to_string())?;
    let mut eof = Vec::new();
    Eof {
        warnings: ok.warnings,
        status: ok.status,
    }
    .encode(Capabilities::PROTOCOL_41, &mut eof);
    Ok(eof)
}

enum Translated {
    Same,
    Nothing,
    Other(Vec<u8>),
}

/// An OK or EOF of a server that negotiated something else than the client did.
fn translate(
    session: &mut ClientSession,
    payload: &[u8],
    taken: &Taken<'_>,
) -> Result<Translated, String> {
    let capabilities = taken.capabilities;
    // The end of a procedure's OUT parameters may leave out that an OK follows.
    let more = if taken.step.events.has(Event::ServerSendingEof) {
        Status::MORE_RESULTS_EXISTS
    } else {
        Status::empty()
    };
    let encoded = match taken.step.kind {
        PacketKind::Ok => {
            let mut ok = OkPacket::decode(payload, capabilities).map_err(|e| e.to_string())?;
            ok.status |= more;
            // What ends rows, and answers some commands, is an EOF in the form of the other shape.
            if ok.header == 0xFE {
                let eof = Eof {
                    warnings: ok.warnings,
                    status: ok.status,
                };
                ending::translate_eof(session, &eof, &ok)
            } else {
                ending::encode(session, Ending::Ok(&ok))
            }
        }
        PacketKind::Eof => {
            let mut eof = Eof::decode(payload, capabilities).map_err(|e| e.to_string())?;
            eof.status |= more;
            ending::encode(session, Ending::Eof(&eof))
        }
        _ => return Ok(Translated::Same),
    };
    Ok(encoded.map_or(Translated::Nothing, Translated::Other))
}

/// The server's handshake without what the proxy cannot follow.
fn mask_handshake(payload: &[u8]) -> Result<(Capabilities, Vec<u8>), Refusal> {
    let mut handshake = Handshake::decode(payload).map_err(|error| error.to_string())?;
    if !handshake.capabilities.contains(Capabilities::PROTOCOL_41) {
        return Err("the server speaks the protocol of before MySQL 4.1"
            .to_string()
            .into());
    }
    handshake.capabilities &= Capabilities::FOLLOWED;
    let mut masked = Vec::with_capacity(payload.len());
    handshake.encode(&mut masked);
    Ok((handshake.capabilities, masked))
}

/// The client's auth packet, less what it was not offered.
fn read_auth(payload: &[u8], offered: Capabilities) -> Result<(Capabilities, Vec<u8>), Refusal> {
    let bad = |reason: String| Refusal {
        reason,
        answer: Some(error_packet(1043, b"08S01", "Bad handshake".into())),
    };
    if SslRequest::matches(payload) {
        return Err(bad(
            "the client demands TLS, which it was not offered here".into()
        ));
    }
    let mut auth = Auth::decode(payload).map_err(|error| bad(error.to_string()))?;
    if !auth.capabilities.contains(Capabilities::PROTOCOL_41) {
        return Err(bad(
            "the client speaks the protocol of before MySQL 4.1".into()
        ));
    }
    // These change the very next byte; anything else that was not offered is just not used, since
    // client libraries ask for much that they then find the server does not have.
    let changes_bytes = Capabilities::SSL | Capabilities::COMPRESS | Capabilities::ZSTD_COMPRESSION;
    let unoffered = auth.capabilities & changes_bytes & !offered;
    if !unoffered.is_empty() {
        return Err(bad(format!(
            "the client asks for what it was not offered: {unoffered:?}"
        )));
    }
    auth.capabilities &= offered | Capabilities::WISHES;
    let mut masked = Vec::with_capacity(payload.len());
    auth.encode(&mut masked);
    Ok((auth.capabilities, masked))
}

/// The payload of a packet without the headers of its frames.
fn payload_of(frames: &[u8]) -> Cow<'_, [u8]> {
    let Some(header) = Header::parse(frames) else {
        return Cow::Borrowed(&[]);
    };
    let end = HEADER + header.len;
    if frames.len() <= end {
        return Cow::Borrowed(frames.get(HEADER..).unwrap_or_default());
    }
    let mut payload = Vec::with_capacity(frames.len());
    let mut rest = frames;
    while let Some(header) = Header::parse(rest) {
        let end = (HEADER + header.len).min(rest.len());
        payload.extend_from_slice(rest.get(HEADER..end).unwrap_or_default());
        rest = rest.get(end..).unwrap_or_default();
    }
    Cow::Owned(payload)
}

/// The sequence number of the packet's last frame.
fn last_seq(frames: &[u8]) -> u8 {
    let mut rest = frames;
    let mut seq = 0;
    while let Some(header) = Header::parse(rest) {
        seq = header.seq;
        rest = rest.get(HEADER + header.len..).unwrap_or_default();
    }
    seq
}

fn refused_reason(payload: &[u8]) -> String {
    format!("the login was refused: {}", error_text(payload))
}

fn unasked_reason(taken: &Taken<'_>) -> String {
    format!("the server said, unasked: {}", error_text(&taken.payload))
}

fn error_text(payload: &[u8]) -> String {
    match ErrPacket::decode(payload, Capabilities::PROTOCOL_41) {
        Ok(err) => format!("{} {}", err.errnum, String::from_utf8_lossy(&err.message)),
        Err(error) => error.to_string(),
    }
}
