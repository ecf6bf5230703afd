//! The table of connections, and operations on them that need no hook: everything here changes
//! state at once, under one short borrow, and never calls a hook.

use std::cell::RefCell;
use std::collections::{HashMap, VecDeque};
use std::io;
use std::num::NonZeroU32;
use std::rc::Rc;
use std::sync::Arc;
use std::time::{Duration, Instant};

use bytes::{Buf, BytesMut};
use slab::Slab;

use super::admission::Admission;
use super::certificate_log::CertificateLog;
use super::channel::{Channel, Workshop};
use super::conn::{Conn, HIGH_WATER, LOW_WATER, Listed, Role, Socket};
use super::guests::Guests;
use super::limits::Idle;
use super::remark::Remark;
use super::sides::{FarEnd, Stopped};
use super::slice::Slice;
use super::spare::SpareBuffers;
use super::tls_clients::TlsClients;
use crate::net::{Poller, Resolver, ServiceManager, Signals, Stream, TimerId, Timers};
use crate::proxy::guests::GuestId;
use crate::proxy::id::{ConnId, Serials};
use crate::proxy::info::{Address, ConnInfo, ConnKind};
use crate::proxy::options::Options;
use crate::proxy::stats::Stats;
use crate::proxy::transfer::Departures;
use crate::proxy::usage::groups::Usage;
use crate::session::{Event, EventSet};
use crate::workers::{ListenerKey, Worker};

/// How much of a connection's queue is written in one pass of the loop.
const FLUSHED: usize = 4 << 20;

/// What a timer is for.
#[derive(Debug, Clone, Copy)]
pub(crate) enum TimerKey {
    /// A script's.
    Script(u64),
    /// A connect, a login or a last flush took too long.
    Deadline(ConnId),
    /// Time to check whether a connection has been idle.
    Idle(ConnId),
    /// Time to check how fast a client sends a packet.
    Pace(ConnId),
    /// Accepting was paused because there were no descriptors left.
    Accept(ConnId),
    /// Time to log the clients that were refused since the last log line.
    Refusals,
    /// A unix socket whose queue was full is tried again.
    RetryUnix(ConnId),
    /// Time to look for certificates of our own that expire soon.
    Certificates,
    /// The moment that a guest waits for has come.
    Guest(GuestId),
    /// An observer wants to be asked at the end of this tick.
    Turn,
    /// Time to look which clients can leave for another process.
    Departures,
    /// The time for exchanges in flight is over.
    Drain,
}

/// The result of flushing a queue.
#[derive(Debug, Default)]
pub(crate) struct Flushed {
    /// The queue has fallen below the low-water mark again.
    pub drained: bool,
    /// The socket failed.
    pub error: Option<io::Error>,
}

pub(crate) struct Core {
    pub conns: Slab<Conn>,
    /// Sockets that do not speak MySQL.
    pub guests: Guests,
    serials: Serials,
    pub poller: Poller,
    /// What this loop sees of the program that it is a part of.
    pub worker: Worker,
    /// The listeners that other workers have, too.
    pub joined: HashMap<ListenerKey, ConnId>,
    /// More messages for this worker are left than were taken in this pass.
    pub has_messages: bool,
    pub resolver: Resolver,
    pub signals: Signals,
    /// Is told how the process fares, where there is one.
    pub service_manager: Option<Arc<ServiceManager>>,
    pub timers: Timers<TimerKey>,
    /// The time at which this pass of the loop began: exact enough for time-outs.
    pub now: Instant,
    pub script_timers: usize,
    /// A buffer for packets that are encoded.
    pub encoded: Vec<u8>,
    /// A comment on the command that is being handled.
    pub remark: Remark,
    /// Buffers of queues that have been written.
    pub spare: SpareBuffers,
    /// The present connection's share of this pass.
    pub slice: Slice,
    /// Connections queued for reading.
    pub work: VecDeque<ConnId>,
    /// Connections with bytes to be written.
    pub dirty: Vec<ConnId>,
    /// Connections with more to write in the next tick, after their share of this one.
    pub postponed: Vec<ConnId>,
    /// Connections that are done with, to be freed at the end of the tick.
    pub finished: Vec<ConnId>,
    /// Connections whose server's name is being resolved, by their number.
    pub resolving: HashMap<u32, ConnId>,
    /// Names that are looked up for the layer above: the number of each look-up, and its key.
    pub look_ups: HashMap<u32, u64>,
    /// TLS configurations for servers, cached.
    pub tls_clients: TlsClients,
    /// What has been logged about our own certificates.
    pub certificates: CertificateLog,
    /// Connections that failed when they were made. They are closed soon, but not before their
    /// creator has seen them.
    pub close_soon: Vec<(ConnId, String)>,
    pub defaults: Rc<Options>,
    /// Other options of connections to servers, the last ones in front.
    pub known_options: VecDeque<Rc<Options>>,
    /// What compressed connections share.
    pub workshop: Rc<RefCell<Workshop>>,
    pub stats: Stats,
    /// What listeners, servers and users have done.
    pub usage: Usage,
    /// The part of the layer above that new connections belong to.
    pub present_owner: u32,
    /// Clients of others that wait for nothing, since the layer above has looked.
    pub rested: Vec<ConnId>,
    /// Clients that leave for another process.
    pub departures: Departures,
    /// The number that the next connection is to have, if it is free.
    pub next_serial: Option<u32>,
    /// Decides whether another client is accepted.
    pub admission: Admission,
    pub stopping: bool,
    /// Another worker got the signal by which this one stops, which gets it, too.
    pub signal_is_announced: bool,
    /// A signal told the program to end.
    pub told_to_stop: bool,
    /// The exit code once everything has ended in order.
    pub exit_code: i32,
    /// The loop ends at the end of the tick, with this exit code.
    pub exit: Option<i32>,
}

impl Core {
    pub fn new(worker: Worker) -> io::Result<Core> {
        let poller = Poller::new()?;
        worker.begin(poller.wake_handle());
        let first_serial = worker.first_serial();
        let mut signals = Signals::new()?;
        poller.register(&mut signals, SIGNALS)?;
        Ok(Core {
            conns: Slab::new(),
            guests: Guests::default(),
            serials: Serials::of_worker(worker.number(), first_serial),
            encoded: Vec::new(),
            remark: Remark::default(),
            spare: SpareBuffers::default(),
            resolver: Resolver::new(poller.wake_handle()),
            poller,
            signals,
            service_manager: None,
            timers: Timers::new(),
            now: Instant::now(),
            script_timers: 0,
            slice: Slice::of(1),
            work: VecDeque::new(),
            dirty: Vec::new(),
            postponed: Vec::new(),
            finished: Vec::new(),
            resolving: HashMap::new(),
            look_ups: HashMap::new(),
            tls_clients: TlsClients::default(),
            certificates: CertificateLog::default(),
            close_soon: Vec::new(),
            defaults: Rc::new(Options::default()),
            known_options: VecDeque::new(),
            workshop: Rc::default(),
            stats: Stats::default(),
            admission: Admission::new(worker.room()),
            worker,
            joined: HashMap::new(),
            has_messages: true,
            usage: Usage::default(),
            present_owner: 0,
            rested: Vec::new(),
            departures: Departures::default(),
            next_serial: None,
            stopping: false,
            signal_is_announced: false,
            told_to_stop: false,
            exit_code: 0,
            exit: None,
        })
    }

    /// A number that no connection has, and no look-up of a name.
    pub fn new_serial(&mut self) -> NonZeroU32 {
        let (conns, look_ups) = (&self.conns, &self.look_ups);
        let of_conns = || conns.iter().map(|(_, conn)| conn.id().serial());
        let in_use = || of_conns().chain(look_ups.keys().copied());
        let serial = self.serials.give(in_use);
        self.worker.note_serial(serial.get());
        serial
    }

    /// The number that the next connection is to have.
    fn wanted_serial(&mut self) -> Option<NonZeroU32> {
        let wanted = NonZeroU32::new(self.next_serial.take()?)?;
        let conns = self.conns.iter();
        let mut taken = conns.map(|(_, conn)| conn.id().serial());
        (!taken.any(|serial| serial == wanted.get())).then_some(wanted)
    }

    /// Enters a connection into the table.
    pub fn insert(
        &mut self,
        kind: ConnKind,
        role: Role,
        socket: Socket,
        options: Rc<Options>,
        address: (Address, u16),
    ) -> io::Result<Rc<ConnInfo>> {
        let serial = self.wanted_serial().unwrap_or_else(|| self.new_serial());
        let entry = self.conns.vacant_entry();
        let slot = entry.key();
        let id = ConnId {
            serial,
            slot: u32::try_from(slot).map_err(|_| io::Error::other("too many connections"))?,
        };
        let info = Rc::new(ConnInfo::new(id, kind, address.0, address.1));
        info.owner.set(self.present_owner);
        if let Some(tls) = options.tls_server.clone().filter(|_| kind.is_listener()) {
            info.set_tls_server(tls);
        }
        let mut conn = Conn::new(info.clone(), role, socket, options);
        match &mut conn.socket {
            Socket::Listening(listener) => self.poller.register(&mut **listener, slot)?,
            Socket::Connecting(stream) | Socket::Open(Channel { stream, .. }) => {
                self.poller.register(stream, slot)?;
                info.secure.set(stream.is_unix());
            }
            Socket::Joined(_) | Socket::Resolving | Socket::None => {}
        }
        if conn.socket.has_descriptor() {
            self.admission.room.opened();
        }
        entry.insert(conn);
        match kind {
            ConnKind::Client => {
                self.stats.clients += 1;
                self.worker.note_clients(self.stats.clients);
            }
            ConnKind::Server => self.stats.servers += 1,
            _ => self.stats.listeners += 1,
        }
        Ok(info)
    }

    /// The connection with this id, unless it has been freed.
    pub fn get(&self, id: ConnId) -> Option<&Conn> {
        self.conns.get(id.slot()).filter(|conn| conn.id() == id)
    }

    /// The connection with this id, unless it has been freed.
    pub fn get_mut(&mut self, id: ConnId) -> Option<&mut Conn> {
        self.conns.get_mut(id.slot()).filter(|conn| conn.id() == id)
    }

    /// The ids of all connections that have not begun to close.
    pub fn all_open(&self) -> Vec<ConnId> {
        let open = self.conns.iter().filter(|(_, conn)| !conn.closing());
        open.map(|(_, conn)| conn.id()).collect()
    }

    /// The connection with this id, if it has not begun to close.
    pub fn open(&self, id: ConnId) -> Option<&Conn> {
        self.get(id).filter(|conn| !conn.closing())
    }

    /// The connection with this id, if it has not begun to close.
    pub fn open_mut(&mut self, id: ConnId) -> Option<&mut Conn> {
        self.get_mut(id).filter(|conn| !conn.closing())
    }

    /// The linked peer, if both ends are open.
    pub fn peer(&self, id: ConnId) -> Option<ConnId> {
        let peer = self.open(id)?.peer?;
        self.open(peer).map(Conn::id)
    }

    /// Two different connections at once.
    pub fn pair_mut(&mut self, a: ConnId, b: ConnId) -> Option<(&mut Conn, &mut Conn)> {
        if a.slot() == b.slot() {
            return None;
        }
        let (first, second) = self.conns.get2_mut(a.slot(), b.slot())?;
        (first.id() == a && second.id() == b).then_some((first, second))
    }

    /// Queues the connection for reading.
    pub fn schedule(&mut self, id: ConnId) {
        if let Some(conn) = self.get_mut(id)
            && (!conn.closing() || conn.is_parting())
            && !conn.listed.contains(Listed::TO_PUMP)
        {
            conn.listed.insert(Listed::TO_PUMP);
            self.work.push_back(id);
        }
    }

    /// Queues the connection for a flush at the end of the tick.
    pub fn touch(&mut self, id: ConnId) {
        if let Some(conn) = self.get_mut(id)
            && !conn.listed.contains(Listed::TO_FLUSH)
        {
            conn.listed.insert(Listed::TO_FLUSH);
            self.dirty.push(id);
        }
    }

    /// Uses the memory of a list of connections to be flushed, which is empty now, for the next one.
    pub fn go_on_with(&mut self, flushed: Vec<ConnId>) {
        if self.dirty.capacity() == 0 {
            self.dirty = flushed;
        }
    }

    /// Sets (or lifts: zero) the connection's time limit.
    pub fn set_deadline(&mut self, id: ConnId, limit: Duration) {
        let Some(conn) = self.conns.get_mut(id.slot()).filter(|c| c.id() == id) else {
            return;
        };
        let timer = (!limit.is_zero()).then(|| {
            let due = Instant::now() + limit;
            self.timers.insert(due, TimerKey::Deadline(id))
        });
        if let Some(before) = conn.limits.set_deadline(timer) {
            self.timers.remove(before);
        }
    }

    /// Starts the idle time-out, if the options have one.
    pub fn watch_idle(&mut self, id: ConnId) {
        self.idle_since(id, self.now);
    }

    /// Sets the timer of the idle time-out, if the options have one, for a connection on which
    /// nothing has happened since then.
    fn idle_since(&mut self, id: ConnId, last_active: Instant) {
        let Some(conn) = self.conns.get_mut(id.slot()).filter(|c| c.id() == id) else {
            return;
        };
        if conn.closing() || conn.options.idle_timeout.is_zero() {
            return;
        }
        let due = last_active + conn.options.idle_timeout;
        let timer = self.timers.insert(due, TimerKey::Idle(id));
        conn.limits.set_idle(Some(Idle { timer, last_active }));
    }

    /// The timer of the idle time-out is due. Returns whether the connection has been idle for that
    /// long; if not, the timer is set for when it will have been.
    pub fn idle_expired(&mut self, id: ConnId) -> bool {
        let now = self.now;
        let Some(conn) = self.open(id) else {
            return false;
        };
        let since = match conn.limits.last_active() {
            Some(last_active) if conn.idle() => last_active,
            _ => now,
        };
        if since + conn.options.idle_timeout > now {
            self.idle_since(id, since);
            return false;
        }
        self.stats.timeouts += 1;
        true
    }

    /// Adds a timer of a script's.
    pub fn add_script_timer(&mut self, delay: Duration, key: u64) -> TimerId {
        self.script_timers += 1;
        let due = Instant::now() + delay;
        self.timers.insert(due, TimerKey::Script(key))
    }

    /// Notes that something waits in the connection's queue.
    pub fn after_queueing(&mut self, id: ConnId) {
        let mut source = None;
        if let Some(conn) = self.get_mut(id)
            && conn.write.output.len() > HIGH_WATER
        {
            conn.write.flooded = true;
            source = conn.peer;
        }
        // Both for forwarded bytes and for those that a callback wires: a client that stops reading
        // stops the server that it is linked to.
        if let Some(conn) = source.and_then(|source| self.open_mut(source))
            && matches!(conn.role, Role::Server(_))
        {
            conn.read.stopped.insert(Stopped::THROTTLED);
        }
        self.touch(id);
    }

    /// Forwards bytes to a connection: to its socket if its queue is empty, and what the socket
    /// does not take to its queue.
    pub fn forward_span(&mut self, to: ConnId, bytes: &[u8]) {
        let (pass, now) = (self.stats.ticks, self.now);
        let Some(conn) = self.get_mut(to) else {
            return;
        };
        let mut written = 0;
        let mut inside = false;
        if conn.write.output.is_empty() {
            conn.writable_len();
        }
        if conn.write.output.is_empty()
            && conn.write.writable
            && let Socket::Open(channel) = &mut conn.socket
        {
            let now = bytes.get(..channel.allowance(pass)).unwrap_or(bytes);
            while let Some(rest) = now.get(written..).filter(|rest| !rest.is_empty()) {
                match channel.write(rest) {
                    Ok(0) => break,
                    Ok(n) => written += n,
                    // The flush will return the error again, and handle it.
                    Err(_) => {
                        conn.write.writable = false;
                        break;
                    }
                }
            }
            inside = channel.compressed() && channel.wants_write();
        }
        conn.limits.is_active(now);
        let rest = bytes.get(written..).unwrap_or_default();
        if !rest.is_empty() {
            conn.write.output.extend_from_slice(rest);
            // So that the flush tries, and sees an error if there was one.
            conn.write.writable = true;
            self.after_queueing(to);
        } else if inside {
            self.touch(to);
        }
        self.stats.bytes_out += written as u64;
        if let Some(conn) = self.get(to) {
            conn.info.tallies.wrote(written as u64);
        }
    }

    /// Gives a connection a buffer for its queue, if it has none.
    pub fn lend_buffer(&mut self, id: ConnId) {
        let needs = self
            .get(id)
            .is_some_and(|conn| conn.write.output.capacity() == 0);
        if needs
            && let Some(buffer) = self.spare.take()
            && let Some(conn) = self.get_mut(id)
        {
            conn.write.output = buffer;
        }
    }

    /// Forwards bytes at the end of the tick.
    pub fn forward_span_later(&mut self, to: ConnId, bytes: &[u8]) {
        let now = self.now;
        self.lend_buffer(to);
        if let Some(conn) = self.get_mut(to) {
            conn.limits.is_active(now);
            conn.write.output.extend_from_slice(bytes);
            self.after_queueing(to);
        }
    }

    /// Writes what the socket takes of the queue.
    pub fn flush(&mut self, id: ConnId) -> Flushed {
        let (pass, now) = (self.stats.ticks, self.now);
        let mut flushed = Flushed::default();
        let Some(conn) = self.get_mut(id) else {
            return flushed;
        };
        conn.listed.remove(Listed::TO_FLUSH);
        // A compressed channel encodes frames when it is flushed, so that comes last.
        let compressed = conn.compressed();
        if !compressed {
            flushed.error = conn.flush_channel();
        }
        let mut written = 0;
        let mut written_buffer = BytesMut::new();
        let mut postponed = false;
        while conn.write.writable && !conn.write.output.is_empty() {
            let len = conn.writable_len();
            let Socket::Open(channel) = &mut conn.socket else {
                return flushed;
            };
            let share = FLUSHED.saturating_sub(written);
            let len = len.min(channel.allowance(pass)).min(share);
            if len == 0 {
                postponed = true;
                break;
            }
            let bytes = conn.write.output.get(..len).unwrap_or_default();
            match channel.write(bytes) {
                Ok(0) => break,
                Ok(n) => {
                    written += n;
                    conn.write.output.advance(n);
                    conn.limits.is_active(now);
                }
                Err(error) if error.kind() == io::ErrorKind::WouldBlock => {
                    conn.write.writable = false
                }
                Err(error) => {
                    conn.write.output.clear();
                    flushed.error = Some(error);
                    break;
                }
            }
        }
        if compressed && flushed.error.is_none() {
            flushed.error = conn.flush_channel();
            conn.number_as_frames();
        }
        if conn.write.output.is_empty() {
            // An idle connection is to hold no buffer.
            written_buffer = std::mem::take(&mut conn.write.output);
            if conn.closing() && flushed.error.is_none() && !conn.is_parting() {
                conn.finish_writing();
            }
        }
        let may_end = conn.read.far_end == FarEnd::Ended && conn.write.output.is_empty();
        if conn.write.flooded && conn.write.output.len() < LOW_WATER {
            conn.write.flooded = false;
            flushed.drained = true;
        }
        if postponed && conn.write.writable && flushed.error.is_none() {
            conn.listed.insert(Listed::TO_FLUSH);
            self.postponed.push(id);
        }
        if may_end {
            self.schedule(id);
        }
        self.spare.keep(written_buffer);
        self.stats.bytes_out += written as u64;
        if let Some(conn) = self.get(id) {
            conn.info.tallies.wrote(written as u64);
        }
        self.account(id);
        flushed
    }

    /// Whether reading for this connection should stop for now.
    pub fn flooded(&self, id: ConnId) -> bool {
        self.get(id).is_some_and(|conn| conn.write.flooded)
    }

    /// Takes the connection out of the poller and drops its socket.
    pub fn drop_socket(&mut self, id: ConnId) {
        let Some(conn) = self.conns.get_mut(id.slot()).filter(|c| c.id() == id) else {
            return;
        };
        if conn.socket.has_descriptor() {
            self.admission.room.closed();
        }
        let result = match std::mem::replace(&mut conn.socket, Socket::None) {
            Socket::Listening(mut listener) => self.poller.deregister(&mut *listener),
            Socket::Connecting(mut stream) | Socket::Open(Channel { mut stream, .. }) => {
                self.poller.deregister(&mut stream)
            }
            Socket::Joined(membership) => {
                self.joined.remove(&membership.key);
                Ok(())
            }
            Socket::Resolving | Socket::None => Ok(()),
        };
        if let Err(error) = result {
            log::warn!("connection {}: deregister: {error}", id.serial);
        }
    }

    /// Gives a connection in the table its socket.
    pub fn attach(&mut self, id: ConnId, mut stream: Stream) -> io::Result<()> {
        self.poller.register(&mut stream, id.slot())?;
        if let Some(conn) = self.get_mut(id) {
            conn.info.secure.set(stream.is_unix());
            conn.socket = Socket::Connecting(stream);
            self.admission.room.opened();
        }
        Ok(())
    }

    /// Whether a hook watches packets of either end, or the client has no link: then only one
    /// exchange may be in progress at a time.
    pub fn attended(&self, client: &Conn) -> bool {
        if client.armed.meets(EventSet::OF_PACKETS) {
            return true;
        }
        match client.peer.and_then(|peer| self.open(peer)) {
            Some(server) => server.armed.meets(EventSet::OF_PACKETS),
            None => true,
        }
    }

    /// The events of this set that a hook wants to see on this connection.
    pub fn armed(&self, id: ConnId, events: EventSet) -> EventSet {
        self.open(id)
            .map_or(EventSet::NONE, |conn| conn.armed.and(events))
    }

    /// Notes the last event on a connection, for `conn:state()`.
    pub fn note_state(&mut self, id: ConnId, events: EventSet) {
        if let Some(conn) = self.get(id)
            && let Some(event) = events.into_iter().last()
            && event != Event::Drained
        {
            conn.info.enter(event);
        }
    }
}

/// The poller's token for signals; connections use their slots.
pub(crate) const SIGNALS: usize = usize::MAX - 1;
