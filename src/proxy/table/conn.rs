//! One connection: its socket, its session, what is queued, and what is left of it afterwards.

use std::collections::HashMap;
use std::fmt;
use std::io;
use std::net::IpAddr;
use std::rc::Rc;

use bitflags::bitflags;

use super::channel::{Channel, Expect, Turn};
use super::login::Login;
use super::sides::{Deferred, Numbering, ReadSide, WriteSide};
use crate::net::{Listener, Stream, TimerId, TlsClient, TlsSession};
use crate::proxy::id::ConnId;
use crate::proxy::info::ConnInfo;
use crate::proxy::login::login_relay::LoginRelay;
use crate::proxy::options::Options;
use crate::session::{ClientSession, EventSet, PacketKind, Response, ServerSession};
use crate::wire::{Capabilities, Com, frame};

/// Above this many queued bytes whoever fills the queue is read no further…
pub(crate) const HIGH_WATER: usize = 256 << 10;
/// …until it has fallen below this many.
pub(crate) const LOW_WATER: usize = 64 << 10;

/// The socket in its stages.
#[derive(Debug)]
pub(crate) enum Socket {
    Listening(Box<Listener>),
    /// A name is being resolved.
    Resolving,
    Connecting(Stream),
    Open(Channel),
    None,
}

impl Socket {
    /// Whether it takes up a descriptor of the process.
    pub fn has_descriptor(&self) -> bool {
        match self {
            Socket::Listening(_) | Socket::Connecting(_) | Socket::Open(_) => true,
            Socket::Resolving | Socket::None => false,
        }
    }
}

/// Which end of the protocol we talk to.
#[derive(Debug)]
pub(crate) enum Role {
    Listener(Box<ListenerState>),
    Client(ClientSession),
    Server(ServerSession),
}

/// Whom a listener has let in.
#[derive(Debug, Default)]
pub(crate) struct ListenerState {
    /// How many clients it has.
    pub clients: usize,
    /// How many of them come from each address, if that is limited.
    pub by_address: HashMap<IpAddr, usize>,
    /// It sends nothing, so its packets' number is never looked at.
    seq: u8,
}

/// How far a connection is from its end.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Life {
    Open,
    /// Nothing is read any more; what is queued is still flushed.
    Closing,
    /// It stands in the list of those to be freed.
    Over,
}

/// What a link has come to beyond forwarding packet by packet.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Course {
    /// Its packets are followed.
    Followed,
    /// Bytes are passed on without being understood: an unknown command went before.
    Opaque,
    /// A server with an exchange in flight whose client has been unlinked.
    Orphaned,
}

bitflags! {
    /// In which lists of the loop a connection stands.
    #[derive(Debug, Clone, Copy, PartialEq, Eq)]
    pub(crate) struct Listed: u8 {
        const TO_PUMP = 1;
        const TO_FLUSH = 2;
    }
}

/// Where a connection comes from.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Origin {
    Unknown,
    /// The listener that a client came by.
    Listener(ConnId),
    /// The client that a server's login came from.
    Client(ConnId),
}

/// The time limits that a connection has at the moment.
#[derive(Debug, Default)]
struct Limits {
    /// For the connect, the login, a change of user, the last flush.
    deadline: Option<TimerId>,
    /// When silence is looked at.
    idle: Option<TimerId>,
}

pub(crate) struct Conn {
    pub info: Rc<ConnInfo>,
    pub options: Rc<Options>,
    pub role: Role,
    pub socket: Socket,
    pub read: ReadSide,
    pub write: WriteSide,
    pub peer: Option<ConnId>,
    /// The events that a hook wants to see.
    pub armed: EventSet,
    /// Its login, until that is over.
    pub login: Option<Box<Login>>,
    /// The login that passes through to a server; afterwards, what a change of user needs of it.
    pub relay: Option<Box<LoginRelay>>,
    limits: Option<Box<Limits>>,
    pub origin: Origin,
    pub course: Course,
    pub life: Life,
    pub listed: Listed,
    /// Bytes moved, either way, since the idle time-out was last looked at.
    pub active: bool,
}

// An idle connection should cost next to nothing, and there may be 100,000. What is only needed now
// and then belongs into a box that goes. (In debug builds mio's sockets are larger.)
const _: () = assert!(size_of::<Conn>() <= if cfg!(debug_assertions) { 264 } else { 256 });

impl fmt::Debug for Conn {
    /// Without what it has read and is to write, which may hold secrets.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Conn")
            .field("info", &self.info)
            .field("role", &self.role)
            .finish_non_exhaustive()
    }
}

impl Conn {
    pub fn new(info: Rc<ConnInfo>, role: Role, socket: Socket, options: Rc<Options>) -> Conn {
        let login = match role {
            Role::Listener(_) => None,
            Role::Client(_) | Role::Server(_) => Some(Box::default()),
        };
        Conn {
            info,
            role,
            socket,
            options,
            read: ReadSide::new(),
            write: WriteSide::new(),
            peer: None,
            armed: EventSet::NONE,
            login,
            relay: None,
            limits: None,
            origin: Origin::Unknown,
            course: Course::Followed,
            life: Life::Open,
            listed: Listed::empty(),
            active: false,
        }
    }

    /// Whether it has begun to close.
    pub fn closing(&self) -> bool {
        self.life != Life::Open
    }

    /// Whether its login is over. (It may be [authenticated](Self::authenticated) shortly before.)
    pub fn logged_in(&self) -> bool {
        self.login.is_none()
    }

    /// What TLS with a server needs whose login is under way, if there may be any.
    pub fn tls_client(&self) -> Option<&Rc<TlsClient>> {
        self.login.as_ref()?.tls.as_ref()
    }

    /// Whether its PROXY header is still to come.
    pub fn awaits_header(&self) -> bool {
        self.login.as_ref().is_some_and(|it| it.header.is_some())
    }

    /// The client that it serves, if its login came from that client.
    pub fn passthrough(&self) -> Option<ConnId> {
        match self.origin {
            Origin::Client(client) => Some(client),
            Origin::Listener(_) | Origin::Unknown => None,
        }
    }

    /// The listener that it came by.
    pub fn listener(&self) -> Option<ConnId> {
        match self.origin {
            Origin::Listener(listener) => Some(listener),
            Origin::Client(_) | Origin::Unknown => None,
        }
    }

    /// Puts a time limit on it, or lifts it. Returns the timer of the one before.
    pub fn set_deadline(&mut self, timer: Option<TimerId>) -> Option<TimerId> {
        self.set_limit(timer, |limits| &mut limits.deadline)
    }

    /// Whether there is a time limit on what it does now.
    pub fn has_deadline(&self) -> bool {
        self.limits.as_ref().is_some_and(|it| it.deadline.is_some())
    }

    /// Has its silence looked at, or no longer. Returns the timer of before.
    pub fn set_idle_timer(&mut self, timer: Option<TimerId>) -> Option<TimerId> {
        self.set_limit(timer, |limits| &mut limits.idle)
    }

    fn set_limit(
        &mut self,
        timer: Option<TimerId>,
        which: impl Fn(&mut Limits) -> &mut Option<TimerId>,
    ) -> Option<TimerId> {
        if timer.is_none() && self.limits.is_none() {
            return None;
        }
        let limits = self.limits.get_or_insert_default();
        let before = std::mem::replace(which(limits), timer);
        if limits.deadline.is_none() && limits.idle.is_none() {
            self.limits = None;
        }
        before
    }

    pub fn id(&self) -> ConnId {
        self.info.id
    }

    pub fn client(&mut self) -> Option<&mut ClientSession> {
        match &mut self.role {
            Role::Client(session) => Some(session),
            _ => None,
        }
    }

    pub fn listener_state(&mut self) -> Option<&mut ListenerState> {
        match &mut self.role {
            Role::Listener(state) => Some(state),
            _ => None,
        }
    }

    pub fn authenticated(&self) -> bool {
        match &self.role {
            Role::Client(session) => session.authenticated(),
            Role::Server(session) => session.authenticated(),
            Role::Listener(_) => false,
        }
    }

    /// Whether the exchange in progress is a COM_CHANGE_USER.
    pub fn changes_user(&self) -> bool {
        let response = match &self.role {
            Role::Client(session) => session.response(),
            Role::Server(session) => session.response(),
            Role::Listener(_) => None,
        };
        response.is_some_and(|response| response.com() == Com::CHANGE_USER)
    }

    /// Whether no exchange is in flight.
    pub fn idle(&self) -> bool {
        match &self.role {
            Role::Client(session) => session.idle(),
            Role::Server(session) => session.idle(),
            Role::Listener(_) => true,
        }
    }

    pub fn capabilities(&self) -> Capabilities {
        match &self.role {
            Role::Client(session) => session.capabilities(),
            Role::Server(session) => session.capabilities(),
            Role::Listener(_) => Capabilities::empty(),
        }
    }

    fn response(&self) -> Option<&Response> {
        match &self.role {
            Role::Client(session) => session.response(),
            Role::Server(session) => session.response(),
            Role::Listener(_) => None,
        }
    }

    /// The command whose answer is under way.
    pub fn answering(&self) -> Option<Com> {
        self.response().map(Response::com)
    }

    /// Whether rows stream over it.
    pub fn in_rows(&self) -> bool {
        self.response().is_some_and(Response::in_rows)
    }

    /// Whether a binlog streams over it.
    pub fn in_binlog(&self) -> bool {
        self.response().is_some_and(Response::is_binlog)
    }

    /// How a packet that was received here, numbered from `first` to `last`, is numbered for the
    /// other end. The two ends of a binlog stream count each in their own way: in semi-synchronous
    /// replication they begin anew behind every packet that asks for an acknowledgement
    /// (`net_clear()` in both servers' sources), and the acknowledgements count for themselves. What
    /// a script has added or dropped since then stays counted.
    pub fn numbering(&mut self, kind: PacketKind, first: u8, last: u8) -> Numbering {
        match kind {
            PacketKind::Command => return Numbering::Restarts,
            PacketKind::Data if self.in_binlog() => {}
            _ => return Numbering::GoesOn,
        }
        let expected = std::mem::replace(&mut self.read.stream_seq, last.wrapping_add(1));
        // Where it is compressed, a server sets its packets' numbers to its frames' (`net_flush()`).
        let expected = expected == first || first > 1 && self.compressed();
        if matches!(self.role, Role::Server(_)) && expected {
            Numbering::GoesOn
        } else {
            Numbering::From(first)
        }
    }

    /// The number of the next packet to be sent.
    pub fn seq(&mut self) -> &mut u8 {
        match &mut self.role {
            Role::Client(session) => &mut session.seq,
            Role::Server(session) => &mut session.seq,
            Role::Listener(state) => &mut state.seq,
        }
    }

    /// Queues one packet, numbered and framed, behind a packet in transit if there is one.
    pub fn queue(&mut self, payload: &[u8], numbering: Numbering) {
        if let Some(inbound) = &mut self.write.inbound {
            inbound.deferred.push(Deferred {
                payload: payload.to_vec(),
                numbering,
            });
            return;
        }
        let mut seq = self.first_number(numbering, payload.first().copied());
        frame::write(payload, &mut seq, &mut self.write.output);
        *self.seq() = seq;
        if numbering == Numbering::Ends
            && let Some(session) = self.client()
        {
            session.finish_exchange();
        }
    }

    /// The number of the first frame of a packet that begins like this, and is next to be sent.
    #[inline(always)] // It is on the hot path, where the numbering is known.
    pub fn first_number(&mut self, numbering: Numbering, first: Option<u8>) -> u8 {
        if self.compressed() {
            self.take_turn(numbering, Com(first.unwrap_or_default()));
        }
        match numbering {
            Numbering::Restarts => 0,
            Numbering::From(seq) => seq,
            Numbering::GoesOn | Numbering::Ends => *self.seq(),
        }
    }

    /// What a frame of a client's that comes now begins.
    pub fn expected(&self) -> Expect {
        match &self.role {
            Role::Client(session) if self.read.transit.is_some() || !session.authenticated() => {
                Expect::More
            }
            Role::Client(session) if session.idle() => Expect::Command,
            Role::Client(_) if self.in_binlog() => Expect::Acknowledgement,
            _ => Expect::More,
        }
    }

    /// Whether what travels over it is compressed.
    pub fn compressed(&self) -> bool {
        matches!(&self.socket, Socket::Open(channel) if channel.compressed())
    }

    /// What is queued, or passed on, from here on is numbered so; `com` is the command if it is one.
    /// Compressed frames have numbers of their own, which restart with the packets'.
    fn take_turn(&mut self, numbering: Numbering, com: Com) {
        let is_server = matches!(self.role, Role::Server(_));
        let turn = match numbering {
            Numbering::Restarts if is_server => Turn::Command {
                answered: com.expects_answer(),
            },
            Numbering::From(number) => Turn::Anew(number),
            _ if is_server && self.last_turn() != Some(Turn::More) => Turn::More,
            _ => return,
        };
        self.put_turn(turn);
    }

    fn last_turn(&self) -> Option<Turn> {
        match &self.socket {
            Socket::Open(channel) => channel.last_turn(),
            _ => None,
        }
    }

    /// What is queued from here on takes another turn.
    pub fn put_turn(&mut self, turn: Turn) {
        let queued = self.write.output.len();
        if let Socket::Open(channel) = &mut self.socket {
            channel.put_turn(queued, turn);
        }
    }

    /// How many of the queued bytes can be written in one go. What is next has taken its turn then.
    pub fn writable_len(&mut self) -> usize {
        let queued = self.write.output.len();
        match &mut self.socket {
            Socket::Open(channel) => channel.writable_len(queued),
            _ => queued,
        }
    }

    /// How many bytes are queued.
    pub fn pending(&self) -> usize {
        let deferred = self.write.inbound.iter().flat_map(|it| &it.deferred);
        let deferred = deferred.map(|packet| packet.payload.len());
        self.write.output.len() + deferred.sum::<usize>()
    }

    /// Whether bytes wait to be written, queued or inside the pipe.
    pub fn unsent(&self) -> bool {
        match &self.socket {
            Socket::Open(pipe) => !self.write.output.is_empty() || pipe.wants_write(),
            _ => false,
        }
    }

    /// Pushes out what is inside the pipe. Returns why it cannot be.
    pub fn flush_channel(&mut self) -> Option<io::Error> {
        let Socket::Open(channel) = &mut self.socket else {
            return None;
        };
        if !channel.wants_write() {
            return None;
        }
        match channel.flush() {
            // It may have refused to take more although the socket did not.
            Ok(()) => self.write.writable = true,
            Err(error) if error.kind() == io::ErrorKind::WouldBlock => self.write.writable = false,
            Err(error) => {
                self.write.output.clear();
                return Some(error);
            }
        }
        None
    }

    /// Everything that was queued is in the pipe, and nothing more will be.
    pub fn finish_writing(&mut self) {
        if let Socket::Open(pipe) = &mut self.socket {
            pipe.finish();
            // What does not go now waits for the socket.
            if pipe.flush().is_err() {
                self.write.writable = false;
            }
        }
    }

    /// Puts TLS on the connection: what is queued goes before it in clear, and what was `read`
    /// already belongs to it.
    pub fn start_tls(&mut self, session: TlsSession, read: &[u8]) {
        let before = std::mem::take(&mut self.write.output).to_vec();
        self.socket = match std::mem::replace(&mut self.socket, Socket::None) {
            Socket::Open(channel) => {
                let stream = channel.stream.with_tls(session, before, read);
                Socket::Open(Channel::new(stream))
            }
            other => other,
        };
        self.info.secure.set(true);
        self.read.readable = true;
    }

    /// Whether TLS is on it.
    pub fn is_tls(&self) -> bool {
        matches!(&self.socket, Socket::Open(channel) if channel.stream.is_tls())
    }

    /// Whether its socket could be read and somebody wants what would come.
    pub fn may_read(&self) -> bool {
        self.read.readable && self.read.stopped.is_empty() && !self.closing()
    }
}
