//! A packet is put on the connection of the linked peer, in the form that the peer negotiated.

use std::borrow::Cow;

use super::advance::TRANSLATED;
use super::conn::{ConnId, Numbering, Role};
use super::core::Core;
use super::ending::{self, Ending};
use super::negotiation::{self, ServerLeg};
use super::take::Taken;
use crate::session::{ClientSession, Event, EventSet, Head, PacketKind};
use crate::wire::{Auth, Capabilities, Com, Eof, Handshake, Ok as OkPacket, Status};

/// What came of putting a packet on a connection.
#[derive(Debug, Default)]
pub(super) struct Put {
    /// The armed events that fire there.
    pub events: EventSet,
    /// It refused the client's login.
    pub refused: bool,
}

impl Core {
    /// Puts a packet through to the linked peer, in the peer's form.
    pub(super) fn put_through(
        &mut self,
        id: ConnId,
        to: ConnId,
        taken: &Taken<'_>,
    ) -> Result<Put, String> {
        let step = taken.step;
        let Some((from, receiver)) = self.pair_mut(id, to) else {
            return Ok(Put::default());
        };
        let differs = (taken.capabilities ^ receiver.capabilities()).intersects(TRANSLATED);
        let mut numbering = taken.numbering;
        let mut done = false;
        let mut columns_eof = None;
        let mut put = Put::default();
        let mut payload = Cow::Borrowed(&*taken.payload);
        match &mut receiver.role {
            Role::Server(session) => {
                put.events = match step.kind {
                    PacketKind::Auth => {
                        let mut auth = Auth::decode(&payload).map_err(|error| error.to_string())?;
                        let leg = ServerLeg {
                            options: &receiver.options,
                            tls: receiver.tls.is_some(),
                        };
                        negotiation::ask(&mut auth, session, &leg);
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
                    let mut handshake =
                        Handshake::decode(&payload).map_err(|error| error.to_string())?;
                    negotiation::offer(&mut handshake, &receiver.options);
                    put.events = session.send_handshake(handshake.capabilities)?.events;
                    let mut offered = Vec::new();
                    handshake.encode(&mut offered);
                    payload = Cow::Owned(offered);
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
        if step.kind == PacketKind::Auth {
            receiver.upgrade_before_auth(&payload)?;
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
    pub(super) fn insert_eof(&mut self, id: ConnId, eof: &Eof) -> EventSet {
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
