//! Packets that are forwarded before they are complete, and what waits until they are.

use super::deliver::Part;
use super::outcome::{Advance, Carried};
use crate::proxy::id::ConnId;
use crate::proxy::table::conn::Role;
use crate::proxy::table::core::Core;
use crate::proxy::table::sides::{FarEnd, Inbound, Streaming};
use crate::session::{Event, EventSet, Head, PacketKind, Sent, Step};
use crate::wire::Com;
use crate::wire::frame::{HEADER, Header, MAX_PAYLOAD};

impl Core {
    /// Starts to forward a packet whose head is known, and steps both sessions. Returns the
    /// sequence number for its frame.
    pub(crate) fn set_out(
        &mut self,
        id: ConnId,
        to: Option<ConnId>,
        step: Step,
        head: Head<'_>,
    ) -> Result<Option<u8>, Advance> {
        let broken = |why: String| Advance::Broken(why);
        self.stats.packets += 1;
        self.note_state(id, step.events);
        let mut streaming = Streaming {
            to: None,
            left: frame_len(head.len),
            split: head.len == MAX_PAYLOAD,
            kind: step.kind,
            last_seq: head.seq,
            state: None,
            done: false,
            answered: step.kind != PacketKind::Command
                || head
                    .first()
                    .is_some_and(|first| Com(first).expects_answer()),
        };
        let mut seq = None;
        let mut conn = self.get_mut(id).ok_or(Advance::Gone)?;
        let received = match &mut conn.role {
            Role::Client(session) => session.receive(head),
            Role::Server(session) => session.receive(head),
            Role::Listener(_) => return Err(Advance::Gone),
        };
        received.map_err(|violation| broken(violation.to_string()))?;
        conn.info.count(step.kind, head);
        if step.kind == PacketKind::Command {
            conn.info.tallies.command(head.first().unwrap_or_default());
        }
        if step.done && matches!(conn.role, Role::Server(_)) {
            self.check_change(id);
            conn = self.get_mut(id).ok_or(Advance::Gone)?;
        }
        let numbering = conn.numbering(step.kind, head.seq, head.seq);
        if let Some(to) = to {
            let (from, receiver) = self.pair_mut(id, to).ok_or(Advance::Gone)?;
            conn = from;
            let is_for_it = match &receiver.role {
                // One that has asked for nothing is sent nothing.
                Role::Client(session) => session.response().is_some(),
                Role::Server(_) => true,
                Role::Listener(_) => false,
            };
            if is_for_it {
                let part = Part::Forwarded(step.kind);
                let sent = receiver.step_out(part, head, step.done).map_err(broken)?;
                streaming.to = Some(to);
                streaming.state = sent.events.into_iter().last();
                streaming.done = sent.done;
                let first = receiver.first_number(numbering, head.first());
                *receiver.seq() = first.wrapping_add(1);
                seq = Some(first);
            }
        }
        conn.read.streaming = Some(streaming);
        if step.kind == PacketKind::Command {
            self.stats.commands += 1;
        }
        Ok(seq)
    }

    /// Moves `at` past the bytes of the packet in transit.
    pub(crate) fn carry(&mut self, id: ConnId, data: &mut [u8], at: &mut usize) -> Carried {
        loop {
            let Some(conn) = self.get_mut(id) else {
                return Carried::Partly(0);
            };
            let Some(streaming) = &mut conn.read.streaming else {
                return Carried::Partly(0);
            };
            let there = data.len().saturating_sub(*at);
            let step = streaming.left.min(u32::try_from(there).unwrap_or(u32::MAX));
            streaming.left -= step;
            *at += step as usize;
            if streaming.left > 0 {
                return Carried::Partly(0);
            }
            if !streaming.split {
                return match conn.read.streaming.take() {
                    Some(streaming) => Carried::Done(streaming),
                    None => Carried::Partly(0),
                };
            }
            // The next frame of a split packet is never classified by its first byte.
            let Some(header) = data.get(*at..).and_then(Header::parse) else {
                return Carried::Partly(HEADER);
            };
            streaming.left = frame_len(header.len);
            streaming.split = header.len == MAX_PAYLOAD;
            streaming.last_seq = header.seq;
            let last_seq = header.seq;
            conn.read.stream_seq = last_seq.wrapping_add(1);
            let (to, kind) = (streaming.to, streaming.kind);
            if !streaming.split
                && streaming.answered
                && let Some(session) = conn.client()
            {
                session.received_until(last_seq, kind);
            }
            if let Some(receiver) = to.and_then(|to| self.open_mut(to)) {
                let next = receiver.seq();
                let seq = *next;
                *next = next.wrapping_add(1);
                if let Some(number) = data.get_mut(*at + 3) {
                    *number = seq;
                }
            }
        }
    }

    /// A packet has been forwarded completely: returns what follows at its receiver.
    pub(crate) fn arrive(&mut self, streaming: &Streaming) -> Option<Advance> {
        let to = streaming.to?;
        let receiver = self.open_mut(to)?;
        let inbound = receiver.write.inbound.as_ref();
        let held_up = inbound.is_some_and(|inbound| !inbound.deferred.is_empty());
        if !streaming.done && !held_up && streaming.state.is_none() {
            return None;
        }
        if streaming.done
            && let Some(session) = receiver.client()
        {
            session.finish_exchange();
        }
        let sent = Sent {
            events: streaming.state.map_or(EventSet::NONE, Event::set),
            done: streaming.done,
            refused: false,
        };
        let events = self.settle(to, sent).events;
        (held_up || !events.is_empty()).then_some(Advance::Arrived { to, events })
    }

    /// The client may send again: processes what it has sent meanwhile.
    pub fn resume_client(&mut self, id: ConnId) {
        self.check_change(id);
        self.note_rest(id);
        if self.open(id).is_some_and(|conn| {
            !conn.read.input.is_empty() || conn.read.readable || conn.read.far_end != FarEnd::Open
        }) {
            self.schedule(id);
        }
    }

    /// Notes that a packet is in transit to `to`, so that packets that are wired there wait until
    /// it is complete.
    pub(crate) fn mark_inbound(&mut self, id: ConnId, to: ConnId) {
        let is_streaming = self
            .get(id)
            .and_then(|conn| conn.read.streaming.as_ref())
            .is_some_and(|streaming| streaming.to == Some(to));
        let Some(receiver) = self.get_mut(to) else {
            return;
        };
        let source = receiver.write.source();
        if is_streaming && source != Some(id) {
            receiver.write.inbound = Some(Box::new(Inbound {
                from: id,
                deferred: Vec::new(),
            }));
        } else if !is_streaming && source == Some(id) {
            self.release_deferred(to);
        }
    }

    /// Queues what was wired to a connection while a packet was in transit to it.
    pub fn release_deferred(&mut self, id: ConnId) {
        let Some(conn) = self.get_mut(id) else {
            return;
        };
        let Some(inbound) = conn.write.inbound.take() else {
            return;
        };
        if inbound.deferred.is_empty() {
            return;
        }
        for packet in &inbound.deferred {
            conn.queue(&packet.payload, packet.numbering);
        }
        self.after_queueing(id);
        self.resume_client(id);
    }
}

/// How long a frame is, header included: its length has 24 bits.
fn frame_len(payload: usize) -> u32 {
    u32::try_from(HEADER + payload).unwrap_or(u32::MAX)
}
