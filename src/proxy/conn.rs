//! One connection: its socket, its session, what is queued, and what is left of it afterwards.

use std::cell::{Cell, RefCell};
use std::collections::{HashMap, VecDeque};
use std::fmt;
use std::io;
use std::net::{IpAddr, SocketAddr};
use std::rc::Rc;

use bytes::BytesMut;

use super::channel::{Channel, Expect, Turn};
use super::id::ConnId;
use super::login_relay::LoginRelay;
use super::options::Options;
use super::transit::Transit;
use crate::net::{Listener, Stream, TimerId, TlsClient, TlsInfo, TlsServer, TlsSession};
use crate::session::{ClientSession, Event, EventSet, PacketKind, Response, ServerSession};
use crate::wire::compressed::Algorithm;
use crate::wire::{Capabilities, Com, frame};

/// Above this many queued bytes whoever fills the queue is read no further…
pub(super) const HIGH_WATER: usize = 256 << 10;
/// …until it has fallen below this many.
pub(super) const LOW_WATER: usize = 64 << 10;

/// What a connection is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum ConnKind {
    /// A listening TCP socket.
    TcpListener,
    /// A listening unix socket.
    UnixListener,
    /// A client is at the far end.
    Client,
    /// A server is at the far end.
    Server,
}

impl ConnKind {
    /// Whether it only listens.
    pub fn is_listener(self) -> bool {
        matches!(self, ConnKind::TcpListener | ConnKind::UnixListener)
    }
}

/// Where an end of a connection is. It is shown as text: "localhost" on a unix socket.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Address {
    /// An IP address, an IPv4 one always in IPv4's form.
    Ip(IpAddr),
    /// This machine, by way of a unix socket.
    Local,
    /// The name of a host that is yet to be connected to, the path of a listener's unix socket, or
    /// "*": all addresses.
    Name(Rc<str>),
}

impl Address {
    /// The IP address, if it is one.
    pub fn ip(&self) -> Option<IpAddr> {
        match self {
            Address::Ip(ip) => Some(*ip),
            Address::Local | Address::Name(_) => None,
        }
    }
}

impl From<Option<IpAddr>> for Address {
    /// As [`Peer`](crate::net::Peer) has it: without an IP address it is a unix socket.
    fn from(ip: Option<IpAddr>) -> Address {
        ip.map_or(Address::Local, Address::Ip)
    }
}

impl From<&str> for Address {
    fn from(name: &str) -> Address {
        Address::Name(name.into())
    }
}

impl fmt::Display for Address {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Address::Ip(ip) => ip.fmt(f),
            Address::Local => f.write_str("localhost"),
            Address::Name(name) => f.write_str(name),
        }
    }
}

/// What can be read of a connection; it outlives the socket.
#[derive(Debug)]
pub struct ConnInfo {
    /// Its name.
    pub id: ConnId,
    /// What it is.
    pub kind: ConnKind,
    /// The number of the linked peer, also after that has closed; 0 if there has been none, or
    /// the link was undone.
    pub remote_id: Cell<u32>,
    /// Whether it has begun to close.
    pub closed: Cell<bool>,
    /// Why it closed.
    pub close_reason: RefCell<Option<Rc<str>>>,
    /// The far end's address; a listener's own.
    pub address: RefCell<Address>,
    /// The far end's port; a listener's own.
    pub port: Cell<u16>,
    /// Whether nobody can listen in on what goes over it: TLS, or a unix socket.
    pub secure: Cell<bool>,
    /// The TLS session on it, once there is one.
    pub tls: RefCell<Option<Rc<TlsInfo>>>,
    /// The SHA-256 of the certificate that we have shown to a client.
    pub own_certificate: Cell<Option<[u8; 32]>>,
    /// What a listener's clients are offered of TLS.
    pub tls_server: Option<TlsServer>,
    /// What has been negotiated.
    pub capabilities: Cell<Capabilities>,
    /// How what goes over it is compressed.
    pub compression: Cell<Option<Algorithm>>,
    /// The last event on it.
    pub state: Cell<Option<Event>>,
}

impl ConnInfo {
    /// Why it closed, in words fit for a log.
    pub fn reason(&self) -> String {
        self.close_reason
            .borrow()
            .as_deref()
            .unwrap_or("no reason was given")
            .to_string()
    }
}

/// The socket in its stages.
#[derive(Debug)]
pub(super) enum Socket {
    Listening(Listener),
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
pub(super) enum Role {
    Listener(Box<ListenerState>),
    Client(ClientSession),
    Server(ServerSession),
}

/// Whom a listener has let in.
#[derive(Debug, Default)]
pub(super) struct ListenerState {
    /// How many clients it has.
    pub clients: usize,
    /// How many of them come from each address, if that is limited.
    pub by_address: HashMap<IpAddr, usize>,
    /// It sends nothing, so its packets' number is never looked at.
    seq: u8,
}

/// A packet that waits for another one, in transit to the same connection, to be complete.
pub(super) struct Deferred {
    pub payload: Vec<u8>,
    pub numbering: Numbering,
}

/// How a packet's frames are numbered.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Numbering {
    /// They go on counting.
    GoesOn,
    /// They begin at 0: a command.
    Restarts,
    /// They go on counting, and end an exchange: the next packet belongs to the next one.
    Ends,
    /// They begin here.
    From(u8),
}

pub(super) struct Conn {
    pub info: Rc<ConnInfo>,
    pub role: Role,
    pub socket: Socket,
    pub options: Rc<Options>,
    /// What TLS with the server needs, if there may be any.
    pub tls: Option<Rc<TlsClient>>,
    pub peer: Option<ConnId>,
    /// The events that a hook wants to see.
    pub armed: EventSet,
    /// Bytes that were read and not yet dealt with.
    pub input: BytesMut,
    /// How many bytes the packet at the front of `input` needs to be dealt with.
    pub need: usize,
    /// Bytes to be written.
    pub output: BytesMut,
    /// How many bytes have left `output`, or passed by it.
    pub written: u64,
    /// Where in what is written a compressed channel's frames take another turn.
    pub turns: VecDeque<(u64, Turn)>,
    /// The last of these.
    pub last_turn: Option<Turn>,
    /// What is read has just become compressed: what was read before and lies in the loop's buffer
    /// is, too.
    pub just_compressed: bool,
    /// The level of compression that a client asked for.
    pub zstd_level: Option<u8>,
    /// Packets wired to this connection while another packet was in transit to it.
    pub deferred: Vec<Deferred>,
    /// The packet in transit from here.
    pub transit: Option<Transit>,
    /// Who has a packet in transit to here.
    pub inbound: Option<ConnId>,
    pub readable: bool,
    pub writable: bool,
    /// The far end has said that it will send no more, or is gone.
    pub hung_up: bool,
    /// A script paused reading.
    pub paused: bool,
    /// The peer's queue is full.
    pub throttled: bool,
    /// Above the high-water mark, and not yet below the low one again.
    pub flooded: bool,
    pub closing: bool,
    /// Whether it stands in the list of connections to flush, or to pump.
    pub dirty: bool,
    pub queued: bool,
    /// A time-out: for the connect, the login, the last flush.
    pub deadline: Option<TimerId>,
    /// Bytes are passed on without being understood: an unknown command went before.
    pub opaque: bool,
    /// The login that passes through to a server, or did.
    pub relay: Option<Box<LoginRelay>>,
    /// The client that a server's login came from.
    pub passthrough: Option<ConnId>,
    /// How many of a server's responses, the present one first, nobody wants any more.
    pub discard: usize,
    /// A server with an exchange in flight whose client has been unlinked.
    pub orphaned: bool,
    /// The login is over.
    pub logged_in: bool,
    /// Its user is being changed, which has a time limit.
    pub changing: bool,
    /// It stands in the list of those to be freed.
    pub finished: bool,
    /// Writing failed, and how; what the far end said before that is still to be read.
    pub broken: Option<String>,
    /// When silence is looked at.
    pub idle_timer: Option<TimerId>,
    /// It counts among the [arrivals](super::accept::Arrivals).
    pub arriving: bool,
    /// The listener that a client came by.
    pub listener: Option<ConnId>,
    /// What has come of the PROXY header that is to come before anything else.
    pub header: Option<Vec<u8>>,
    /// What the header says that the client connected to.
    pub destination: Option<SocketAddr>,
    /// Addresses that are still to be tried.
    pub candidates: Vec<SocketAddr>,
    /// Bytes moved, either way, since the idle time-out was last looked at.
    pub active: bool,
    /// The number that a binlog stream's next packet has, unless the server begins anew.
    pub stream_seq: u8,
}

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
        Conn {
            info,
            role,
            socket,
            options,
            tls: None,
            peer: None,
            armed: EventSet::NONE,
            input: BytesMut::new(),
            need: 0,
            output: BytesMut::new(),
            written: 0,
            turns: VecDeque::new(),
            last_turn: None,
            just_compressed: false,
            zstd_level: None,
            deferred: Vec::new(),
            transit: None,
            inbound: None,
            readable: false,
            writable: false,
            hung_up: false,
            paused: false,
            throttled: false,
            flooded: false,
            closing: false,
            dirty: false,
            queued: false,
            deadline: None,
            opaque: false,
            relay: None,
            passthrough: None,
            discard: 0,
            orphaned: false,
            logged_in: false,
            changing: false,
            finished: false,
            broken: None,
            idle_timer: None,
            arriving: false,
            listener: None,
            header: None,
            destination: None,
            candidates: Vec::new(),
            active: false,
            stream_seq: 0,
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
        let expected = std::mem::replace(&mut self.stream_seq, last.wrapping_add(1));
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
        if self.inbound.is_some() {
            self.deferred.push(Deferred {
                payload: payload.to_vec(),
                numbering,
            });
            return;
        }
        let com = Com(payload.first().copied().unwrap_or_default());
        self.take_turn(numbering, com);
        let mut seq = match numbering {
            Numbering::Restarts => 0,
            Numbering::From(seq) => seq,
            Numbering::GoesOn | Numbering::Ends => *self.seq(),
        };
        frame::write(payload, &mut seq, &mut self.output);
        *self.seq() = seq;
        if numbering == Numbering::Ends
            && let Some(session) = self.client()
        {
            session.finish_exchange();
        }
    }

    /// What a frame of a client's that comes now begins.
    pub fn expected(&self) -> Expect {
        match &self.role {
            Role::Client(session) if self.transit.is_some() || !session.authenticated() => {
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
    pub fn take_turn(&mut self, numbering: Numbering, com: Com) {
        if !self.compressed() {
            return;
        }
        let is_server = matches!(self.role, Role::Server(_));
        let turn = match numbering {
            Numbering::Restarts if is_server => Turn::Command {
                answered: com.expects_answer(),
            },
            Numbering::From(number) => Turn::Anew(number),
            _ if is_server && self.last_turn != Some(Turn::More) => Turn::More,
            _ => return,
        };
        self.put_turn(turn);
    }

    /// What is queued from here on takes another turn.
    pub fn put_turn(&mut self, turn: Turn) {
        let at = self.written + self.output.len() as u64;
        self.turns.push_back((at, turn));
        self.last_turn = Some(turn);
    }

    /// How many of the queued bytes can be written in one go. What is next has taken its turn then.
    pub fn writable_len(&mut self) -> usize {
        loop {
            let Some((at, turn)) = self.turns.front().copied() else {
                return self.output.len();
            };
            let before = usize::try_from(at - self.written).unwrap_or(usize::MAX);
            if before > 0 {
                return before.min(self.output.len());
            }
            self.turns.pop_front();
            if self.turns.is_empty() {
                // An idle connection owns no buffer.
                self.turns = VecDeque::new();
            }
            if let Socket::Open(channel) = &mut self.socket {
                channel.turn(turn);
            }
        }
    }

    /// How many bytes are queued.
    pub fn pending(&self) -> usize {
        let deferred = self.deferred.iter().map(|packet| packet.payload.len());
        self.output.len() + deferred.sum::<usize>()
    }

    /// Whether bytes wait to be written, queued or inside the pipe.
    pub fn unsent(&self) -> bool {
        match &self.socket {
            Socket::Open(pipe) => !self.output.is_empty() || pipe.wants_write(),
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
            Ok(()) => self.writable = true,
            Err(error) if error.kind() == io::ErrorKind::WouldBlock => self.writable = false,
            Err(error) => {
                self.output.clear();
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
                self.writable = false;
            }
        }
    }

    /// Puts TLS on the connection: what is queued goes before it in clear, and what was `read`
    /// already belongs to it.
    pub fn start_tls(&mut self, session: TlsSession, read: &[u8]) {
        let before = std::mem::take(&mut self.output).to_vec();
        self.socket = match std::mem::replace(&mut self.socket, Socket::None) {
            Socket::Open(channel) => {
                let stream = channel.stream.with_tls(session, before, read);
                Socket::Open(Channel::new(stream))
            }
            other => other,
        };
        self.info.secure.set(true);
        self.readable = true;
    }

    /// Whether TLS is on it.
    pub fn is_tls(&self) -> bool {
        matches!(&self.socket, Socket::Open(channel) if channel.stream.is_tls())
    }

    /// Whether its socket could be read and somebody wants what would come.
    pub fn may_read(&self) -> bool {
        self.readable && !self.paused && !self.throttled && !self.closing
    }
}
