//! One connection: its socket, its session, its queues, and the information that outlives it.

use std::fmt;
use std::io;
use std::rc::Rc;

use bitflags::bitflags;

use super::channel::{Channel, Expect, Turn};
use super::limits::Limits;
use super::login::Login;
use super::sides::{Deferred, FarEnd, Numbering, ReadSide, WriteSide};
use crate::net::{Listener, Stream, TlsClient, TlsSession};
use crate::proxy::id::ConnId;
use crate::proxy::info::ConnInfo;
use crate::proxy::login::login_relay::LoginRelay;
use crate::proxy::options::Options;
use crate::session::{ClientSession, EventSet, PacketKind, Response, ServerSession};
use crate::wire::{Capabilities, Com, frame};
use crate::workers::{ListenerClients, Membership};

/// Above this many queued bytes the proxy stops reading from the source of the queue…
pub(crate) const HIGH_WATER: usize = 256 << 10;
/// …until it has fallen below this many.
pub(crate) const LOW_WATER: usize = 64 << 10;

/// The states of a socket.
#[derive(Debug)]
pub(crate) enum Socket {
    Listening(Box<Listener>),
    /// A listener that other workers have, too: clients are handed over.
    Joined(Box<Membership>),
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
            Socket::Joined(_) | Socket::Resolving | Socket::None => false,
        }
    }
}

/// The protocol's state machine, by what is at the far end.
#[derive(Debug)]
pub(crate) enum Role {
    Listener(Box<ListenerState>),
    Client(ClientSession),
    Server(ServerSession),
}

#[derive(Debug, Default)]
pub(crate) struct ListenerState {
    pub clients: ListenerClients,
    /// Unused: a listener sends no packets.
    seq: u8,
}

impl From<ListenerClients> for ListenerState {
    fn from(clients: ListenerClients) -> ListenerState {
        ListenerState { clients, seq: 0 }
    }
}

/// Whether a connection is open, closing or finished.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Life {
    Open,
    /// Nothing is read any more; what is queued is still flushed.
    Closing,
    /// It is queued for being freed.
    Over,
}

/// How a link is handled.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Course {
    /// Packet by packet.
    Followed,
    /// Bytes are forwarded without being parsed, after an unknown command.
    Opaque,
    /// A server in the middle of an exchange whose client was unlinked.
    Orphaned,
}

bitflags! {
    /// The lists of the loop that a connection is in.
    #[derive(Debug, Clone, Copy, PartialEq, Eq)]
    pub(crate) struct Listed: u8 {
        const TO_PUMP = 1;
        const TO_FLUSH = 2;
    }
}

/// The origin of a connection.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Origin {
    Unknown,
    /// The listener that a client came by.
    Listener(ConnId),
    /// The client that a server's login came from.
    Client(ConnId),
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
    /// The login, until it is over.
    pub login: Option<Box<Login>>,
    /// The login that passes through to a server; afterwards, what a COM_CHANGE_USER needs of it.
    pub relay: Option<Box<LoginRelay>>,
    pub limits: Limits,
    pub origin: Origin,
    pub course: Course,
    pub life: Life,
    pub listed: Listed,
}

// Idle connections should cost little memory, and there may be 100,000. Rarely needed data belongs
// in a box that is freed. (In debug builds mio's sockets are larger.)
const _: () = assert!(size_of::<Conn>() <= if cfg!(debug_assertions) { 264 } else { 256 });

impl fmt::Debug for Conn {
    /// Without its buffers, which may hold secrets.
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
            limits: Limits::default(),
            origin: Origin::Unknown,
            course: Course::Followed,
            life: Life::Open,
            listed: Listed::empty(),
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

    /// The TLS configuration for a server during its login, if TLS may be used.
    pub fn tls_client(&self) -> Option<&Rc<TlsClient>> {
        self.login.as_ref()?.tls.as_ref()
    }

    /// Whether its PROXY header is still to come.
    pub fn awaits_header(&self) -> bool {
        self.login.as_ref().is_some_and(|it| it.header.is_some())
    }

    /// Whether it is a server whose login is being finished, since its client has left.
    pub fn is_parting(&self) -> bool {
        self.login.as_ref().is_some_and(|it| it.parting.is_some())
    }

    /// The client whose login passed through to it, if any.
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

    pub fn id(&self) -> ConnId {
        self.info.id
    }

    pub fn client(&mut self) -> Option<&mut ClientSession> {
        match &mut self.role {
            Role::Client(session) => Some(session),
            _ => None,
        }
    }

    pub fn listener_clients(&mut self) -> Option<&mut ListenerClients> {
        match &mut self.role {
            Role::Listener(state) => Some(&mut state.clients),
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

    /// Whether it is a client whose login, or change of user, is still to be answered.
    pub fn awaits_login(&self) -> bool {
        match &self.role {
            Role::Client(session) => session.awaits_login() || self.changes_user(),
            Role::Server(_) | Role::Listener(_) => false,
        }
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

    /// Whether the far end has closed its sending side, or is gone.
    pub fn has_hung_up(&self) -> bool {
        self.read.far_end != FarEnd::Open
    }

    /// Whether rows stream over it.
    pub fn in_rows(&self) -> bool {
        self.response().is_some_and(Response::in_rows)
    }

    /// Whether rows of this server have as many values as it expects of each, as far as is known.
    /// They differ if a script has sent another head of the result.
    pub fn fits_rows_of(&self, server: &Conn) -> bool {
        match (self.row_values(), server.row_values()) {
            (Some(own), Some(its)) => own == its,
            _ => true,
        }
    }

    /// How many values each row has, if rows stream over it and that is known.
    pub fn row_values(&self) -> Option<u16> {
        self.response().and_then(Response::row_values)
    }

    /// Whether a binlog streams over it.
    pub fn in_binlog(&self) -> bool {
        self.response().is_some_and(Response::is_binlog)
    }

    /// How a packet that was received here, with the numbers `first` to `last`, is numbered for the
    /// other end. In a binlog stream with semi-synchronous replication the source restarts its
    /// numbers after every packet that asks for an acknowledgement (`net_clear()` in both servers'
    /// sources), and acknowledgements have their own numbers. Packets that a script has added or
    /// dropped since then are counted, too.
    pub fn numbering(&mut self, kind: PacketKind, first: u8, last: u8) -> Numbering {
        match kind {
            PacketKind::Command => return Numbering::Restarts,
            PacketKind::Data if self.in_binlog() => {}
            _ => return Numbering::GoesOn,
        }
        let expected = std::mem::replace(&mut self.read.stream_seq, last.wrapping_add(1));
        // With compression a server sets its packets' numbers to those of its frames
        // (`net_flush()`).
        let expected = expected == first || first > 1 && self.compressed();
        if matches!(self.role, Role::Server(_)) && expected {
            Numbering::GoesOn
        } else {
            Numbering::From(first)
        }
    }

    /// Whether all that its far end has sent was looked at, as far as is known. (A connection may also be listed to be
    /// pumped because of what has become of its link.)
    pub fn is_quiet(&self) -> bool {
        !self.read.readable && self.read.input.is_empty()
    }

    /// The number of the next packet to be sent.
    pub fn seq(&mut self) -> &mut u8 {
        match &mut self.role {
            Role::Client(session) => &mut session.seq,
            Role::Server(session) => &mut session.seq,
            Role::Listener(state) => &mut state.seq,
        }
    }

    /// Queues one packet, numbered and framed, after a packet in transit if there is one.
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

    /// The number of the first frame of the next packet to be sent, if it has this numbering.
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

    /// What a client's next compressed frame begins.
    pub fn expected(&self) -> Expect {
        match &self.role {
            Role::Client(session) if self.read.streaming.is_some() || !session.authenticated() => {
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

    /// Sets the numbering of what is queued or forwarded from here on; `com` is the command if it
    /// is one. Compressed frames have their own numbers, which restart together with the packets'.
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

    /// Changes the numbering of frames for what is queued from here on.
    pub fn put_turn(&mut self, turn: Turn) {
        let queued = self.write.output.len();
        if let Socket::Open(channel) = &mut self.socket {
            channel.put_turn(queued, turn);
        }
    }

    /// How many of the queued bytes can be written at once, that is, with the current numbering.
    /// Switches to the next numbering first if its position has been reached.
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

    /// Drops all that waits to be processed or written.
    pub fn drop_buffers(&mut self) {
        self.read.input.take();
        self.write.output = bytes::BytesMut::new();
        self.write.inbound = None;
        self.login = None;
    }

    /// Whether bytes wait to be written, in the queue or in the channel.
    pub fn unsent(&self) -> bool {
        match &self.socket {
            Socket::Open(pipe) => !self.write.output.is_empty() || pipe.wants_write(),
            _ => false,
        }
    }

    /// All that was queued is in frames. Where a result is complete and another follows, servers set their
    /// packets' number to that of the next frame then (`net_flush()`), and some clients insist on it.
    pub fn number_as_frames(&mut self) {
        let Socket::Open(channel) = &self.socket else {
            return;
        };
        if let Some(number) = channel.next_frame()
            && self.write.output.is_empty()
            && self.write.inbound.is_none()
            && let Role::Client(session) = &mut self.role
            && session.response().is_some_and(Response::between_results)
        {
            session.seq = number;
        }
    }

    /// Flushes the channel. Returns the error, if any.
    pub fn flush_channel(&mut self) -> Option<io::Error> {
        let Socket::Open(channel) = &mut self.socket else {
            return None;
        };
        if !channel.wants_write() {
            return None;
        }
        match channel.flush() {
            // The channel may have refused bytes although the socket can take more.
            Ok(()) => self.write.writable = true,
            Err(error) if error.kind() == io::ErrorKind::WouldBlock => self.write.writable = false,
            Err(error) => {
                self.write.output.clear();
                return Some(error);
            }
        }
        None
    }

    /// Everything queued is in the channel, and nothing more will be written.
    pub fn finish_writing(&mut self) {
        if let Socket::Open(pipe) = &mut self.socket {
            pipe.finish();
            // The rest is written when the socket becomes writable.
            if pipe.flush().is_err() {
                self.write.writable = false;
            }
        }
    }

    /// Tells the far end that nothing more will be sent, while reading goes on. With TLS there is no
    /// close_notify: servers take its bytes for a command that waits, and so for a client that is
    /// still there.
    pub fn end_writing(&mut self) {
        if let Socket::Open(pipe) = &self.socket
            && let Err(error) = pipe.stream.shutdown_write()
        {
            log::debug!("connection {}: shutdown: {error}", self.id().serial);
        }
    }

    /// Starts TLS on the connection: queued bytes are sent before it in clear, and bytes that were
    /// `read` already are part of it.
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

    /// Whether it uses TLS.
    pub fn is_tls(&self) -> bool {
        matches!(&self.socket, Socket::Open(channel) if channel.stream.is_tls())
    }

    /// Whether it is a client that is to get something of what it has asked for, although it sends
    /// nothing more.
    pub fn is_owed(&self) -> bool {
        let Role::Client(session) = &self.role else {
            return false;
        };
        // The last of its commands is not complete, and never will be.
        let cut_short = self.read.streaming.is_some() && session.outstanding() == 1;
        // Of an opaque link nobody knows what is owed.
        let followed = self.course != Course::Opaque;
        followed && session.awaits_answer() && !cut_short || session.idle() && self.unsent()
    }

    /// Whether its socket may have bytes, and they are wanted.
    pub fn may_read(&self) -> bool {
        self.read.readable && self.read.stopped.is_empty() && !self.closing()
    }
}
