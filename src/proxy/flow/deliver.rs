//! The one way out: how a packet leaves by a connection.
//!
//! The source of a packet (a server whose answer is forwarded, a script that wires one, the proxy
//! with an ERR of its own) encodes it for its receiver, and then says here what it is ([`Part`]).
//! All packets are then handled alike:
//!
//! 1. **The session is stepped.** A packet that is not allowed at this point of the receiver's
//!    exchange is refused, and nothing is sent.
//! 2. **The packet is queued**, with the connection's next number.
//! 3. **What follows is settled**: the receiver's state, the events that fire there, whether its
//!    login is over, whether it may send again.
//!
//! A packet that is [streamed](super::streaming) goes the same way, except for the second step: it is
//! forwarded before it is complete, its bytes go from buffer to socket, and what follows is settled
//! when the last of them has passed. The rows of a result are an exception: they change no
//! session's state and have no effect on their receiver, so they are
//! [skimmed](crate::session::rows::skim) in whole spans.
//!
//! Events are returned, not fired: no hook may be called while the core is borrowed.

use crate::proxy::id::ConnId;
use crate::proxy::table::conn::{Conn, Course, Role};
use crate::proxy::table::core::Core;
use crate::proxy::table::sides::{Numbering, Stopped};
use crate::session::{Event, EventSet, Head, PacketKind, Sent};
use crate::wire::Capabilities;

/// What a packet is to its receiver.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Part {
    /// The greeting of a client, which offers these.
    Handshake(Capabilities),
    /// The login at a server, which asks for these.
    Auth(Capabilities),
    /// A packet from the other end: it is whatever its receiver expects next.
    Forwarded(PacketKind),
    /// A script's or the proxy's own packet, of this kind: the receiver must expect that kind.
    Own(PacketKind),
    /// An ERR that answers no command, and so is not part of an exchange.
    Unsolicited,
}

impl Part {
    fn kind(self) -> PacketKind {
        match self {
            Part::Handshake(_) => PacketKind::Handshake,
            Part::Auth(_) => PacketKind::Auth,
            Part::Forwarded(kind) | Part::Own(kind) => kind,
            Part::Unsolicited => PacketKind::Err,
        }
    }

    /// How its frames are numbered.
    fn numbering(self) -> Numbering {
        match self {
            Part::Unsolicited => Numbering::From(0),
            _ if self.kind() == PacketKind::Command => Numbering::Restarts,
            _ => Numbering::GoesOn,
        }
    }
}

/// A packet to be sent to a connection.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Leaving<'a> {
    part: Part,
    payload: &'a [u8],
    numbering: Numbering,
    complete: bool,
}

impl<'a> Leaving<'a> {
    /// A packet after which the source has nothing more to send in the exchange, if it ends the
    /// exchange for its receiver.
    pub fn new(part: Part, payload: &'a [u8]) -> Leaving<'a> {
        Leaving {
            part,
            payload,
            numbering: part.numbering(),
            complete: true,
        }
    }

    /// The same packet, with this numbering.
    pub fn numbered(self, numbering: Numbering) -> Leaving<'a> {
        Leaving { numbering, ..self }
    }

    /// The same packet; `complete`: its source has ended the exchange with it.
    pub fn ends(self, complete: bool) -> Leaving<'a> {
        Leaving { complete, ..self }
    }
}

/// The effect of a packet at its receiver.
#[derive(Debug, Default)]
pub(crate) struct Delivered {
    /// The armed events that fire there.
    pub events: EventSet,
    /// Whether it refused the client's login, after which the connection closes.
    pub refused: bool,
}

impl Conn {
    /// Steps the session for a packet that is about to leave. `complete`: its source has ended the
    /// exchange if this ends it for the receiver. A client without the EOF after columns may have a
    /// whole answer before the server has sent that EOF; the exchange is over only then.
    #[inline(always)] // It is on the hot path, where the part is known.
    pub fn step_out(&mut self, part: Part, head: Head<'_>, complete: bool) -> Result<Sent, String> {
        self.info.note_sent(part.kind(), head);
        match &mut self.role {
            Role::Client(session) => {
                let sent = match part {
                    Part::Forwarded(_) => session.send(head, None)?,
                    Part::Own(kind) => session.send(head, Some(kind))?,
                    Part::Handshake(offered) => session.send_handshake(offered)?,
                    Part::Unsolicited => return Ok(Sent::default()),
                    Part::Auth(_) => return Err("an auth packet goes to a server".into()),
                };
                if sent.done && !complete {
                    session.withhold_end();
                    return Ok(Sent::default());
                }
                Ok(sent)
            }
            Role::Server(session) => {
                let events = match part {
                    Part::Auth(asked) => session.send_auth(asked)?,
                    Part::Forwarded(PacketKind::Command) | Part::Own(PacketKind::Command) => {
                        let events = session.send_command(head)?;
                        self.info.tallies.command(head.first().unwrap_or_default());
                        events
                    }
                    Part::Forwarded(PacketKind::AuthData) | Part::Own(PacketKind::AuthData) => {
                        session.send_auth_data()?
                    }
                    _ => session.send_data(head.len == 0)?,
                };
                Ok(Sent {
                    events,
                    ..Sent::default()
                })
            }
            Role::Listener(_) => Err("a listener takes no packets".into()),
        }
    }
}

impl Core {
    /// Sends a packet by this connection.
    ///
    /// # Errors
    /// It is not allowed at this point of the receiver's exchange: nothing is sent.
    pub(crate) fn deliver(&mut self, to: ConnId, packet: Leaving<'_>) -> Result<Delivered, String> {
        let Some(conn) = self.open(to) else {
            return Ok(Delivered::default());
        };
        self.takes_whole_packets(conn)?;
        let Some(conn) = self.open_mut(to) else {
            return Ok(Delivered::default());
        };
        let first = packet.payload.first();
        let (fails, enters) = match conn.awaits_login() {
            true => (first == Some(&0xFF), first == Some(&0)),
            false => (false, false),
        };
        let sent = conn.step_out(packet.part, Head::of(packet.payload), packet.complete)?;
        if first == Some(&0xFF) && matches!(conn.role, Role::Client(_)) {
            conn.info.tallies.error(packet.payload);
        }
        if enters && let Some(user) = conn.info.tallies.take_wanted() {
            let info = conn.info.clone();
            info.tallies.join_user(self.usage.users.tally(&user));
        }
        if fails {
            self.stats.failed_logins += 1;
        }
        self.lend_buffer(to);
        let Some(conn) = self.open_mut(to) else {
            return Ok(Delivered::default());
        };
        if let Part::Auth(_) = packet.part {
            conn.upgrade_before_auth(packet.payload, conn.capabilities())?;
        }
        let numbering = match sent.done {
            true => Numbering::Ends,
            false => packet.numbering,
        };
        conn.queue(packet.payload, numbering);
        conn.info.capabilities.set(conn.capabilities());
        self.after_queueing(to);
        self.check_login(to);
        if packet.part.kind().lets_speak() {
            self.resume_client(to);
        }
        Ok(self.settle(to, sent))
    }

    /// Whether a whole packet can be put on the connection at all now.
    #[inline]
    pub(crate) fn takes_whole_packets(&self, conn: &Conn) -> Result<(), String> {
        if conn.course == Course::Opaque {
            return Err("its link has become opaque: an unknown command went over it".into());
        }
        let source = conn.write.source().and_then(|source| self.get(source));
        let inbound = source.and_then(|source| source.read.streaming.as_ref());
        if inbound.is_some_and(|streaming| streaming.done) {
            return Err("the last packet of its answer is on its way".into());
        }
        Ok(())
    }

    /// The EOF has come that was still missing of an answer, and that is not sent to the client:
    /// the answer is complete.
    pub(crate) fn end_withheld(&mut self, to: ConnId) -> Option<Delivered> {
        let session = self.open_mut(to)?.client()?;
        if !session.take_withheld_end() {
            return None;
        }
        let sent = Sent {
            events: Event::ClientWaiting.set(),
            done: true,
            refused: false,
        };
        Some(self.settle(to, sent))
    }

    /// Handles the effects of a packet at its receiver.
    #[inline]
    pub(crate) fn settle(&mut self, to: ConnId, sent: Sent) -> Delivered {
        let Some(conn) = self.open(to) else {
            return Delivered::default();
        };
        if let Some(event) = sent.events.into_iter().last() {
            conn.info.enter(event);
        }
        let delivered = Delivered {
            events: conn.armed.and(sent.events),
            refused: sent.refused,
        };
        if sent.done {
            self.resume_client(to);
        }
        delivered
    }

    /// A reader that stalls stops its writer.
    pub(crate) fn throttle_if_flooded(&mut self, source: ConnId, to: ConnId) {
        if self.flooded(to)
            && let Some(conn) = self.get_mut(source)
        {
            conn.read.stopped.insert(Stopped::THROTTLED);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::proxy::info::{ConnInfo, ConnKind};
    use crate::proxy::table::conn::Socket;
    use crate::proxy::table::sides::{Inbound, Streaming};
    use crate::session::{ClientSession, ServerSession};
    use crate::wire::ErrPacket;
    use std::rc::Rc;

    const OK: &[u8] = b"\0\0\0\x02\0\0\0";

    fn insert(core: &mut Core, kind: ConnKind, role: Role) -> Rc<ConnInfo> {
        let options = core.defaults.clone();
        core.insert(kind, role, Socket::None, options, ("test".into(), 0))
            .unwrap()
    }

    /// A client that is logged in and has sent a query.
    fn asking(core: &mut Core) -> Rc<ConnInfo> {
        let role = Role::Client(ClientSession::default());
        let client = insert(core, ConnKind::Client, role);
        let hello = Leaving::new(Part::Handshake(Capabilities::USUAL), b"hello");
        core.deliver(client.id, hello).unwrap();
        assert_eq!(client.state.get(), Some(Event::ClientWaitAuth));
        receive(core, client.id, b"auth");
        let session = core.open_mut(client.id).unwrap().client().unwrap();
        session.negotiate(Capabilities::USUAL);
        let ok = Leaving::new(Part::Own(PacketKind::Ok), OK);
        core.deliver(client.id, ok).unwrap();
        assert!(core.open(client.id).unwrap().logged_in());
        receive(core, client.id, b"\x03SELECT 1");
        core.note_state(client.id, Event::ClientSentCommand.set());
        client
    }

    fn receive(core: &mut Core, client: ConnId, payload: &[u8]) {
        let session = core.open_mut(client).unwrap().client().unwrap();
        session.receive(Head::of(payload)).unwrap();
    }

    #[test]
    fn an_error_of_the_proxys_own_leaves_as_any_answer_does() {
        let mut core = Core::new(crate::workers::Worker::alone()).unwrap();
        let client = asking(&mut core);
        let conn = core.open_mut(client.id).unwrap();
        conn.armed = Event::ClientWaiting.set();
        let err = ErrPacket::new(1105, b"HY000", "no".into());
        let delivered = core.put_error(client.id, &err).unwrap();
        assert_eq!(delivered.events, Event::ClientWaiting.set());
        assert_eq!(client.state.get(), Some(Event::ClientWaiting));
        assert!(core.has_been_answered(client.id));
        assert!(core.put_error(client.id, &err).is_err(), "nothing is owed");
    }

    #[test]
    fn nothing_goes_behind_the_last_packet_of_an_answer() {
        let mut core = Core::new(crate::workers::Worker::alone()).unwrap();
        let client = asking(&mut core);
        let role = Role::Server(ServerSession::default());
        let server = insert(&mut core, ConnKind::Server, role);
        core.get_mut(server.id).unwrap().read.streaming = Some(Streaming {
            to: Some(client.id),
            left: 1,
            split: false,
            last_seq: 1,
            kind: PacketKind::Ok,
            state: None,
            done: true,
            answered: true,
        });
        core.get_mut(client.id).unwrap().write.inbound = Some(Box::new(Inbound {
            from: server.id,
            deferred: Vec::new(),
        }));
        let pending = core.get(client.id).unwrap().pending();
        let err = ErrPacket::new(1105, b"HY000", "no".into());
        assert!(core.put_error(client.id, &err).is_err());
        assert_eq!(core.get(client.id).unwrap().pending(), pending);
    }

    #[test]
    fn an_opaque_link_takes_no_packets() {
        let mut core = Core::new(crate::workers::Worker::alone()).unwrap();
        let client = asking(&mut core);
        core.get_mut(client.id).unwrap().course = Course::Opaque;
        let ok = Leaving::new(Part::Own(PacketKind::Ok), OK);
        assert!(core.deliver(client.id, ok).is_err());
    }

    #[test]
    fn an_end_is_withheld_until_the_source_has_ended_too() {
        let mut core = Core::new(crate::workers::Worker::alone()).unwrap();
        let client = asking(&mut core);
        let ok = Leaving::new(Part::Forwarded(PacketKind::Ok), OK).ends(false);
        let delivered = core.deliver(client.id, ok).unwrap();
        assert_eq!(delivered.events, EventSet::NONE);
        assert!(!core.has_been_answered(client.id));
        // An ERR in the place of that end would be the client's second answer.
        let err = Leaving::new(Part::Forwarded(PacketKind::Err), b"\xff\x15\x04#HY000no");
        assert!(core.deliver(client.id, err).is_err());
        assert!(core.end_withheld(client.id).is_some());
        assert!(core.has_been_answered(client.id));
        assert_eq!(client.state.get(), Some(Event::ClientWaiting));
        assert!(core.end_withheld(client.id).is_none());
    }
}
