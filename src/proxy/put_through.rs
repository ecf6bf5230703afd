//! A packet is put on the connection of the linked peer, in the form that the peer negotiated.

use std::borrow::Cow;

use super::conn::{Origin, Role};
use super::core::Core;
use super::id::ConnId;
use super::negotiation::{self, ServerLeg};
use super::redirect;
use super::sides::{Numbering, Stopped};
use super::take::Taken;
use super::translation::{self, Translated, cursor_eof, late_columns_eof};
use crate::session::{Event, EventSet, Head, PacketKind};
use crate::wire::{Auth, Capabilities, Eof, Handshake};

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
        let guarded = !from.options.allow_redirect && !receiver.options.allow_redirect;
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
                            tls: receiver.login.as_ref().is_some_and(|it| it.tls.is_some()),
                        };
                        negotiation::ask(&mut auth, session, &leg);
                        receiver.origin = Origin::Client(id);
                        let events = session.send_auth(auth.capabilities)?;
                        let mut masked = Vec::new();
                        auth.encode(&mut masked);
                        payload = Cow::Owned(masked);
                        events
                    }
                    PacketKind::AuthData => session.send_auth_data()?,
                    PacketKind::Command => {
                        if let Role::Client(client) = &from.role {
                            let other = translation::command(client, session, &payload);
                            if let Translated::Other(other) = other? {
                                payload = Cow::Owned(other);
                            }
                        }
                        session.send_command(Head::of(&payload))?
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
                    if step.done && session.take_withheld_end() {
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
                        && !matches!(
                            step.kind,
                            PacketKind::Eof | PacketKind::Err | PacketKind::Progress
                        )
                    {
                        columns_eof = late_columns_eof(session, &payload, taken)?;
                        opens_cursor = columns_eof.is_none();
                    }
                    if opens_cursor {
                        // The one EOF is all.
                        payload = Cow::Owned(cursor_eof(&payload, taken.capabilities)?);
                    } else {
                        match translation::answer(session, &payload, taken)? {
                            Translated::Same => {}
                            Translated::Nothing => return Ok(Put::default()),
                            Translated::Other(other) => payload = Cow::Owned(other),
                        }
                    }
                    let login = !session.authenticated();
                    if guarded
                        && step.kind == PacketKind::Ok
                        && let Some(other) = redirect::without_in(&payload, session, login)?
                    {
                        payload = Cow::Owned(other);
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
            receiver.upgrade_before_auth(&payload, receiver.capabilities())?;
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
        let flooded = receiver.write.output.len() > super::conn::HIGH_WATER;
        if flooded {
            from.read.stopped.insert(Stopped::THROTTLED);
        }
        self.after_queueing(to);
        self.check_login(to);
        if done || step.kind.lets_speak() {
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
