//! The hot path: finds the packets in the bytes that were read, and forwards those that no hook
//! looks at, in whole spans and before they are complete.

use super::flaws;
use super::outcome::{Advance, Carried};
use crate::proxy::id::ConnId;
use crate::proxy::login::exposure::Leg;
use crate::proxy::login::negotiation;
use crate::proxy::table::conn::{Conn, Course, Role};
use crate::proxy::table::core::Core;
use crate::proxy::table::sides::Stopped;
use crate::proxy::translate::{redirect, translation};
use crate::session::{Event, HEAD, Head, PacketKind, Step, rows};
use crate::wire::frame::{HEADER, Header, MAX_PAYLOAD};
use crate::wire::{Capabilities, Com};

/// The longest packet of a login. Only connections that are logged in may make the proxy hold more.
const MAX_LOGIN_PACKET: usize = 1 << 20;

/// Up to this many bytes are queued: copying them is cheaper than a write.
const COPIED: usize = 4 << 10;

impl Core {
    /// Processes the start of `data`, which came from the connection `id`. Returns how many bytes
    /// were processed, and what is to be done about the rest.
    pub fn advance(&mut self, id: ConnId, data: &mut [u8]) -> (usize, Advance) {
        let Some(conn) = self.open(id) else {
            return (0, Advance::Gone);
        };
        // A packet in transit goes on to its original receiver, even if the link has changed since.
        let to = match &conn.read.streaming {
            Some(streaming) => streaming.to,
            None if conn.read.discard > 0 => None,
            None => conn.peer,
        };
        let linked = conn.read.streaming.is_none() || to == conn.peer;
        let to = to.filter(|to| self.open(*to).is_some());
        let mut at = 0;
        let advance = self.scan(id, to, linked, data, &mut at);
        if let (Some(to), Some(span)) = (to, data.get(..at))
            && !span.is_empty()
        {
            // The packet that a callback is to see follows these bytes, and leaves with them.
            match advance {
                Advance::Packet(_) if span.len() <= COPIED => self.forward_span_later(to, span),
                _ => self.forward_span(to, span),
            }
            self.throttle_if_flooded(id, to);
        }
        if let Some(to) = to {
            self.mark_inbound(id, to);
        }
        (at, advance)
    }

    /// Moves `at` past everything that is forwarded unchanged.
    fn scan(
        &mut self,
        id: ConnId,
        to: Option<ConnId>,
        linked: bool,
        data: &mut [u8],
        at: &mut usize,
    ) -> Advance {
        loop {
            let Some(conn) = self.open(id) else {
                return Advance::Gone;
            };
            if conn.course == Course::Opaque {
                *at = data.len();
                return Advance::Wait(0);
            }
            if conn.read.streaming.is_some() {
                match self.carry(id, data, at) {
                    Carried::Partly(need) => return Advance::Wait(need),
                    Carried::Done(streaming) => {
                        if let Some(advance) = self.arrive(&streaming) {
                            return advance;
                        }
                        if !linked || streaming.to.is_none() {
                            return Advance::Again;
                        }
                    }
                }
                continue;
            }
            if !linked {
                return Advance::Again;
            }
            if !self.may_take(id) {
                return Advance::Wait(0);
            }
            if self.skim(id, to, data, at) {
                continue;
            }
            if self.slice.is_over() {
                return Advance::Later;
            }
            if let Some(stop) = self.begin(id, to, data, *at) {
                return stop;
            }
        }
    }

    /// Whether the next packet of this connection may be processed now, or must wait.
    pub fn may_take(&self, id: ConnId) -> bool {
        let Some(conn) = self.open(id) else {
            return false;
        };
        if conn.read.stopped.contains(Stopped::PAUSED) {
            return false;
        }
        let Role::Client(session) = &conn.role else {
            return true;
        };
        if session.may_speak_now() {
            return true;
        }
        // Compressed frames are numbered through command and answer: one exchange at a time, as in
        // a server.
        session.authenticated() && !session.full() && !self.attended(conn) && !conn.compressed()
    }

    /// Skips over the rows at the front, if no hook watches them.
    fn skim(&mut self, id: ConnId, to: Option<ConnId>, data: &mut [u8], at: &mut usize) -> bool {
        let Some(conn) = self.open(id) else {
            return false;
        };
        if !matches!(conn.role, Role::Server(_))
            || !conn.in_rows()
            || conn.armed.has(Event::ServerSendingRows)
        {
            return false;
        }
        let Some(rest) = data.get_mut(*at..) else {
            return false;
        };
        let skimmed = match to {
            None => rows::skim(rest, &mut 0),
            Some(to) => {
                let Some((source, receiver)) = self.pair_mut(id, to) else {
                    return false;
                };
                if receiver.closing()
                    || !receiver.in_rows()
                    || !receiver.fits_rows_of(source)
                    || receiver.write.is_taken_from(id)
                {
                    return false;
                }
                let skimmed = rows::skim(rest, receiver.seq());
                if skimmed.rows > 0
                    && let Some(session) = receiver.client()
                {
                    session.swallow_eof();
                }
                skimmed
            }
        };
        *at += skimmed.bytes;
        if let Some(conn) = self.open(id) {
            conn.info.add_rows(skimmed.rows);
        }
        self.stats.packets += skimmed.rows;
        skimmed.rows > 0
    }

    /// Starts the packet at `at`: either it is in transit afterwards, or the reason to stop is
    /// returned.
    fn begin(
        &mut self,
        id: ConnId,
        to: Option<ConnId>,
        data: &mut [u8],
        at: usize,
    ) -> Option<Advance> {
        let rest = data.get(at..).unwrap_or_default();
        let Some(header) = Header::parse(rest) else {
            return Some(Advance::Wait(HEADER));
        };
        let head_len = header.len.min(HEAD);
        let Some(bytes) = rest.get(HEADER..HEADER + head_len) else {
            return Some(Advance::Wait(HEADER + head_len));
        };
        let head = Head {
            len: header.len,
            bytes,
            seq: header.seq,
        };
        let conn = self.open(id)?;
        let step = match &conn.role {
            Role::Client(session) => session.peek(head),
            Role::Server(session) => session.peek(head),
            Role::Listener(_) => return Some(Advance::Gone),
        };
        let step = match step {
            Ok(step) => step,
            Err(violation) => return Some(Advance::Broken(violation.to_string())),
        };
        // With compression servers check only the compressed frames' numbers.
        if step.kind == PacketKind::Command && header.seq != 0 && !conn.compressed() {
            return Some(Advance::Broken(format!(
                "expected a command numbered 0, got one numbered {}",
                header.seq
            )));
        }
        // Commands that were pipelined before it are still answered.
        if step.kind == PacketKind::Command && flaws::waits_for_answers(head) && !conn.idle() {
            return Some(Advance::Wait(0));
        }
        // MariaDB's connectors execute what they have prepared before they know its id.
        if step.kind == PacketKind::Command
            && !conn.idle()
            && to.is_some_and(|to| self.unknown_statement(conn, to, head).is_some())
        {
            return Some(Advance::Wait(0));
        }
        if step.kind == PacketKind::Command
            && let Some(first) = head.first()
            && !Com(first).is_known()
            && let Some(to) = to
            && !self.attended(conn)
            && self.alike(id, to)
        {
            log::info!(
                "connection {}: unknown command 0x{first:02x}: this link is opaque from here on",
                id.serial
            );
            self.make_opaque(id, to);
            return None;
        }
        if self.wanted_whole(conn, to, &step, head) {
            let max = if conn.authenticated() {
                conn.options.max_packet
            } else {
                conn.options.max_packet.min(MAX_LOGIN_PACKET)
            };
            return Some(match whole_size(rest, max) {
                Ok(size) if size <= rest.len() => Advance::Packet(size),
                Ok(need) => Advance::Wait(need),
                Err(len) => {
                    let why = format!(
                        "a {} packet of at least {len} bytes is longer than max_packet ({max})",
                        step.kind.name()
                    );
                    if step.kind == PacketKind::Command
                        && let Some(session) = self.open_mut(id).and_then(Conn::client)
                        && session.receive(head).is_ok()
                    {
                        return Some(Advance::TooLong(why));
                    }
                    Advance::Broken(why)
                }
            });
        }
        if at > 0 && self.takes_a_turn(id, to, step.kind) {
            return Some(Advance::Again);
        }
        match self.set_out(id, to, step, head) {
            Ok(Some(seq)) => {
                if let Some(number) = data.get_mut(at + 3) {
                    *number = seq;
                }
                None
            }
            // It is not forwarded, but the bytes before it are.
            Ok(None) if to.is_some() => Some(Advance::Again),
            Ok(None) => None,
            Err(stop) => Some(stop),
        }
    }

    /// Whether the packet has to be complete before it is handled.
    fn wanted_whole(&self, conn: &Conn, to: Option<ConnId>, step: &Step, head: Head<'_>) -> bool {
        if conn.armed.meets(step.events.with(step.synthesised)) || !conn.authenticated() {
            return true;
        }
        let receiver = to.and_then(|to| self.open(to));
        if receiver.is_some_and(|receiver| receiver.write.is_taken_from(conn.id())) {
            return true;
        }
        match step.kind {
            PacketKind::Err | PacketKind::AuthData => true,
            PacketKind::Command => {
                receiver.is_none()
                    || !head.first().is_some_and(|first| {
                        let com = Com(first);
                        com.is_known()
                            && com != Com::QUIT
                            // COM_CHANGE_USER may have to be translated between unequal legs.
                            && com != Com::CHANGE_USER
                            && !flaws::is_cut_short(head)
                            && !translation::changes_command(com, difference(conn, receiver))
                    })
            }
            PacketKind::Infile if conn.read.discard > 0 => true,
            _ if conn.read.discard > 0 => step.done,
            // The EOF after the columns has to be sent before it, or it cannot be forwarded.
            PacketKind::TextRow | PacketKind::BinaryRow => {
                receiver.is_some_and(|receiver| match &receiver.role {
                    Role::Client(session) => {
                        session.response().is_some_and(|r| r.owes_columns_eof())
                            || !receiver.fits_rows_of(conn)
                    }
                    _ => false,
                })
            }
            PacketKind::Ok
            | PacketKind::Eof
            | PacketKind::ResultsetHeader
            | PacketKind::Column
            | PacketKind::Prepared
            | PacketKind::Progress => {
                let ends = step.kind == PacketKind::Ok
                    || step.kind == PacketKind::Eof
                    || !step.synthesised.is_empty();
                ends && conn.course == Course::Orphaned && step.done
                    || translation::changes(step.kind, ends, difference(conn, receiver))
                    || step.kind == PacketKind::Ok && may_redirect(conn, receiver, head)
            }
            _ => conn.course == Course::Orphaned && step.done,
        }
    }

    /// See [`translation::unknown_statement`].
    pub(crate) fn unknown_statement(
        &self,
        client: &Conn,
        server: ConnId,
        command: Head<'_>,
    ) -> Option<u32> {
        match (&client.role, &self.open(server)?.role) {
            (Role::Client(client), Role::Server(server)) => {
                translation::unknown_statement(client, server, command)
            }
            _ => None,
        }
    }

    /// Whether the numbering of a compressed receiver's frames restarts with this packet: then it
    /// must be the first of its span.
    fn takes_a_turn(&self, id: ConnId, to: Option<ConnId>, kind: PacketKind) -> bool {
        matches!(kind, PacketKind::Command | PacketKind::Data)
            && to
                .and_then(|to| self.open(to))
                .is_some_and(Conn::compressed)
            && (kind == PacketKind::Command || self.open(id).is_some_and(Conn::in_binlog))
    }

    /// Whether bytes may be forwarded between the two without being parsed. Not with compression,
    /// whose frames could not be numbered then; not if the two have negotiated different
    /// capabilities, which need translation; and not between legs that are not equally safe, where
    /// COM_CHANGE_USER has to be checked.
    fn alike(&self, a: ConnId, b: ConnId) -> bool {
        let (Some(a), Some(b)) = (self.open(a), self.open(b)) else {
            return false;
        };
        let differ = a.capabilities() ^ b.capabilities();
        let differ = differ - negotiation::LEG - Capabilities::WISHES;
        !a.compressed() && !b.compressed() && Leg::of(a) == Leg::of(b) && differ.is_empty()
    }

    fn make_opaque(&mut self, a: ConnId, b: ConnId) {
        for id in [a, b] {
            if let Some(conn) = self.get_mut(id) {
                conn.course = Course::Opaque;
            }
        }
    }
}

/// What only one of the two has negotiated.
fn difference(conn: &Conn, receiver: Option<&Conn>) -> Capabilities {
    receiver.map_or(Capabilities::empty(), |receiver| {
        conn.capabilities() ^ receiver.capabilities()
    })
}

/// Whether a server's OK may contain a redirection of the client to another server, which must be
/// removed.
fn may_redirect(conn: &Conn, receiver: Option<&Conn>, head: Head<'_>) -> bool {
    receiver.is_some_and(|receiver| {
        !conn.options.allow_redirect
            && !receiver.options.allow_redirect
            && redirect::tracks(head, conn.capabilities())
    })
}

/// The size of the packet at the front with all its frames. If they are not complete, the size up
/// to the end of the first missing frame (or frame header), which is more than there is. The error
/// is the length known so far, if it is over the limit.
fn whole_size(data: &[u8], max: usize) -> Result<usize, usize> {
    let mut at = 0;
    let mut len = 0;
    loop {
        let Some(header) = data.get(at..).and_then(Header::parse) else {
            return Ok(at + HEADER);
        };
        len += header.len;
        if len > max {
            return Err(len);
        }
        at += HEADER + header.len;
        if at > data.len() || header.len < MAX_PAYLOAD {
            return Ok(at);
        }
    }
}
