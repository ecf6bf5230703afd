//! Forwards a packet to the linked peer, in the form that the peer negotiated.

use std::borrow::Cow;

use super::deliver::{Delivered, Leaving, Part};
use crate::proxy::id::ConnId;
use crate::proxy::login::negotiation;
use crate::proxy::login::negotiation::ServerLeg;
use crate::proxy::table::conn::{Conn, Origin, Role};
use crate::proxy::table::core::Core;
use crate::proxy::table::received::Received;
use crate::proxy::translate::redirect;
use crate::proxy::translate::translation;
use crate::proxy::translate::translation::{Translated, cursor_eof, late_columns_eof};
use crate::session::{EventSet, PacketKind};
use crate::wire::{Auth, Capabilities, Eof, Handshake};

impl Core {
    /// Forwards a packet to the linked peer, in the peer's form.
    pub(crate) fn forward(
        &mut self,
        id: ConnId,
        to: ConnId,
        received: &Received<'_>,
    ) -> Result<Delivered, String> {
        let delivered = match self.open(to).map(|receiver| &receiver.role) {
            Some(Role::Server(_)) => self.put_on_server(id, to, received)?,
            Some(Role::Client(_)) => self.put_on_client(id, to, received)?,
            Some(Role::Listener(_)) | None => return Ok(Delivered::default()),
        };
        self.throttle_if_flooded(id, to);
        Ok(delivered)
    }

    fn put_on_server(
        &mut self,
        id: ConnId,
        to: ConnId,
        received: &Received<'_>,
    ) -> Result<Delivered, String> {
        let kind = received.step.kind;
        let mut part = Part::Forwarded(kind);
        let mut payload = Cow::Borrowed(&*received.payload);
        let Some((from, receiver)) = self.pair_mut(id, to) else {
            return Ok(Delivered::default());
        };
        match (&from.role, &receiver.role) {
            (_, Role::Server(server)) if kind == PacketKind::Auth => {
                let mut auth = Auth::decode(&payload).map_err(|error| error.to_string())?;
                let leg = ServerLeg {
                    options: &receiver.options,
                    tls: receiver.login.as_ref().is_some_and(|it| it.tls.is_some()),
                };
                negotiation::ask(&mut auth, server, &leg);
                part = Part::Auth(auth.capabilities);
                let mut masked = Vec::new();
                auth.encode(&mut masked);
                payload = Cow::Owned(masked);
                receiver.origin = Origin::Client(id);
            }
            (Role::Client(client), Role::Server(server)) if kind == PacketKind::Command => {
                let other = translation::command(client, server, &payload)?;
                if let Translated::Other(other) = other {
                    payload = Cow::Owned(other);
                }
            }
            _ => {}
        }
        let leaving = Leaving::new(part, &payload);
        self.deliver(to, leaving.numbered(received.numbering))
    }

    fn put_on_client(
        &mut self,
        id: ConnId,
        to: ConnId,
        received: &Received<'_>,
    ) -> Result<Delivered, String> {
        let step = received.step;
        let Some((from, receiver)) = self.pair_mut(id, to) else {
            return Ok(Delivered::default());
        };
        let guarded = !from.options.allow_redirect && !receiver.options.allow_redirect;
        let Role::Client(session) = &mut receiver.role else {
            return Ok(Delivered::default());
        };
        if received.unsolicited && session.authenticated() {
            return self.deliver(to, Leaving::new(Part::Unsolicited, &received.payload));
        }
        if step.kind == PacketKind::Handshake {
            let handshake = Handshake::decode(&received.payload);
            let mut handshake = handshake.map_err(|error| error.to_string())?;
            negotiation::offer(&mut handshake, &receiver.options);
            let mut offer = Vec::new();
            handshake.encode(&mut offer);
            let part = Part::Handshake(handshake.capabilities);
            return self.deliver(to, Leaving::new(part, &offer));
        }
        if received.is_behind_columns()
            && session.capabilities().contains(Capabilities::DEPRECATE_EOF)
        {
            session.swallow_eof();
            let opens_cursor = step.done && session.response().is_some_and(|r| r.in_rows());
            if step.done
                && let Some(delivered) = self.end_withheld(to)
            {
                return Ok(delivered);
            }
            if !opens_cursor {
                return Ok(Delivered::default());
            }
        }
        self.put_answer(to, received, guarded)
    }

    /// Puts a server's answer on a client. `guarded`: without what would send it elsewhere.
    fn put_answer(
        &mut self,
        to: ConnId,
        received: &Received<'_>,
        guarded: bool,
    ) -> Result<Delivered, String> {
        let kind = received.step.kind;
        let mut payload = Cow::Borrowed(&*received.payload);
        let Some(session) = self.open_mut(to).and_then(Conn::client) else {
            return Ok(Delivered::default());
        };
        let login = !session.authenticated();
        if !login && session.response().is_none() {
            // The client waits for no answer, so the packet is not forwarded.
            return Ok(Delivered::default());
        }
        let owes_eof = session.response().is_some_and(|r| r.owes_columns_eof())
            && !matches!(
                kind,
                PacketKind::Eof | PacketKind::Err | PacketKind::Progress
            );
        let columns_eof = match owes_eof {
            true => late_columns_eof(session, &payload, received)?,
            false => None,
        };
        if owes_eof && columns_eof.is_none() {
            // Only this EOF is sent.
            payload = Cow::Owned(cursor_eof(&payload, received.capabilities)?);
        } else {
            if let Some(eof) = columns_eof {
                let eof = Leaving::new(Part::Forwarded(PacketKind::Eof), &eof);
                self.deliver(to, eof.numbered(received.numbering))?;
            }
            let mut buffer = std::mem::take(&mut self.encoded);
            let Some(session) = self.open_mut(to).and_then(Conn::client) else {
                return Ok(Delivered::default());
            };
            match translation::answer(session, &payload, received, &mut buffer)? {
                Translated::Same => self.keep_encoded(buffer),
                Translated::Nothing => return Ok(Delivered::default()),
                Translated::Other(other) => payload = Cow::Owned(other),
            }
        }
        if guarded
            && kind == PacketKind::Ok
            && let Some(session) = self.open_mut(to).and_then(Conn::client)
            && let Some(other) = redirect::without_in(&payload, session, login)?
        {
            payload = Cow::Owned(other);
        }
        let leaving = Leaving::new(Part::Forwarded(kind), &payload);
        let leaving = leaving
            .numbered(received.numbering)
            .ends(received.step.done);
        let delivered = self.deliver(to, leaving);
        if let Cow::Owned(buffer) = payload {
            self.keep_encoded(buffer);
        }
        delivered
    }

    /// Sends the EOF after columns to a client that needs it, if the server sent none.
    pub(crate) fn insert_eof(&mut self, id: ConnId, eof: &Eof) -> EventSet {
        let Some(session) = self.open_mut(id).and_then(Conn::client) else {
            return EventSet::NONE;
        };
        if !session.response().is_some_and(|r| r.owes_columns_eof()) {
            return EventSet::NONE;
        }
        let mut payload = Vec::new();
        eof.encode(session.capabilities(), &mut payload);
        let eof = Leaving::new(Part::Forwarded(PacketKind::Eof), &payload);
        let delivered = self.deliver(id, eof);
        delivered.map_or(EventSet::NONE, |delivered| delivered.events)
    }
}
