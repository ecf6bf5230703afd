//! Which clients are let in.
//!
//! Descriptors are the first resource that a process runs out of, and then anything that needs one
//! fails: a connected client that needs a server, the resolver, the log. So clients are counted,
//! over all listeners, and a client for which there is no room gets the ERR of a full server (1040)
//! and is closed. A listener's `max_clients` and `max_clients_per_address` come on top.

use std::io;
use std::net::IpAddr;
use std::rc::Rc;
use std::time::{Duration, Instant};

use bytes::BytesMut;

use super::proxy_header;
use crate::net::{Peer, Stream, is_out_of_descriptors};
use crate::proxy::Proxy;
use crate::proxy::hooks::Verdict;
use crate::proxy::id::ConnId;
use crate::proxy::info::{ConnInfo, ConnKind};
use crate::proxy::table::channel::Channel;
use crate::proxy::table::conn::{Conn, Origin, Role, Socket};
use crate::proxy::table::core::{Core, TimerKey};
use crate::session::ClientSession;
use crate::wire::{Capabilities, ErrPacket, frame};
use crate::workers::{HandedOver, ListenerClients};

/// How many clients are accepted before the loop handles other events.
const ACCEPT_BATCH: usize = 64;

/// How long accepting is paused when descriptors have run out nevertheless.
const ACCEPT_PAUSE: Duration = Duration::from_millis(100);

/// The time between two log lines about refused clients.
const REFUSALS_PAUSE: Duration = Duration::from_secs(1);

/// The result of accepting a client.
enum Accepted {
    /// The script is to be told of it.
    Client {
        listener: Rc<ConnInfo>,
        client: Rc<ConnInfo>,
    },
    /// It was refused, or its PROXY header is still to come.
    Another,
    /// No more clients wait, or none can be accepted now.
    NoMore,
}

impl Conn {
    /// The address under which its listener counts this client, if it counts addresses. Before a
    /// PROXY header has come the client's address is unknown.
    pub fn counted_address(&self) -> Option<IpAddr> {
        if self.awaits_header() || self.options.max_clients_per_address.is_none() {
            return None;
        }
        self.info.address().ip()
    }
}

impl Proxy {
    /// Accepts the clients that wait at a listener.
    pub(crate) fn accept(&self, listener: ConnId) {
        for _ in 0..ACCEPT_BATCH {
            let accepted = self.core().accept_one(listener);
            match accepted {
                Accepted::Client { listener, client } => {
                    // A panic ends this client, and not the listener.
                    self.guarded(Some(client.id), || self.introduce(&listener, &client));
                }
                Accepted::Another => {}
                Accepted::NoMore => return,
            }
            if self.core().slice.is_over() {
                break;
            }
        }
        self.core().schedule(listener);
    }

    /// Takes a client that was accepted for this worker.
    pub(crate) fn take_over(&self, client: HandedOver) {
        let accepted = {
            let mut core = self.core();
            let Some(listener) = core.joined(&client) else {
                core.worker.pass_on(client);
                return;
            };
            core.admit_or_log(listener, client.stream, client.peer)
        };
        if let Accepted::Client { listener, client } = accepted {
            self.guarded(Some(client.id), || self.introduce(&listener, &client));
        }
    }

    /// Tells the hooks of a new client.
    pub(crate) fn introduce(&self, listener: &Rc<ConnInfo>, client: &Rc<ConnInfo>) {
        log::info!(
            "connection {}: accepted from {} on listener {}",
            client.id.serial,
            client.address(),
            listener.id.serial
        );
        self.tell_opened(client);
        match self.hooks().accepted(listener, client) {
            Verdict::Failed => {
                self.close_for(client.id, "its listener's MYC_CONNECT callback failed");
            }
            _ => {
                self.core().stats.callbacks += 1;
            }
        }
    }
}

impl Core {
    fn accept_one(&mut self, id: ConnId) -> Accepted {
        let Some(conn) = self.open_mut(id) else {
            return Accepted::NoMore;
        };
        let Socket::Listening(listener) = &conn.socket else {
            return Accepted::NoMore;
        };
        if !conn.read.readable || !conn.read.stopped.is_empty() {
            return Accepted::NoMore;
        }
        match listener.accept() {
            Ok((stream, peer)) => self.admit_or_log(id, stream, peer),
            Err(error) if error.kind() == io::ErrorKind::WouldBlock => {
                conn.read.readable = false;
                Accepted::NoMore
            }
            Err(error) if is_out_of_descriptors(&error) => {
                self.pause_accepting(id, &error);
                Accepted::NoMore
            }
            Err(error) => {
                log::warn!("connection {}: accept: {error}", id.serial);
                self.schedule(id);
                Accepted::NoMore
            }
        }
    }

    /// The listener that a client came by which is handed over.
    fn joined(&self, client: &HandedOver) -> Option<ConnId> {
        let id = self.joined.get(&client.listener).copied()?;
        self.open(id).map(Conn::id)
    }

    fn admit_or_log(&mut self, listener: ConnId, stream: Stream, peer: Peer) -> Accepted {
        self.admit(listener, stream, peer).unwrap_or_else(|error| {
            log::warn!("connection {}: accept: {error}", listener.serial);
            Accepted::Another
        })
    }

    fn leave_listener(&mut self, listener: ConnId) {
        if let Some(clients) = self.get_mut(listener).and_then(Conn::listener_clients) {
            clients.leave(None);
        }
    }

    /// Clients wait in the system's queue until a descriptor is free again.
    fn pause_accepting(&mut self, id: ConnId, error: &io::Error) {
        if !std::mem::replace(&mut self.admission.starved, true) {
            log::error!(
                "connection {}: accepting is paused until connections close: {error} \
                 (raise the limit on open files, or set max_clients)",
                id.serial
            );
        }
        let due = Instant::now() + ACCEPT_PAUSE;
        self.timers.insert(due, TimerKey::Accept(id));
    }

    fn admit(&mut self, listener: ConnId, stream: Stream, peer: Peer) -> io::Result<Accepted> {
        if std::mem::take(&mut self.admission.starved) {
            log::info!("connection {}: accepting again", listener.serial);
        }
        self.stats.clients_accepted += 1;
        let has_room = self.admission.room.has_room();
        let Some(conn) = self.open_mut(listener) else {
            return Ok(Accepted::NoMore);
        };
        let options = conn.options.clone();
        let listener_info = conn.info.clone();
        let limit = options.handshake_timeout;
        let has_header = proxy_header::is_wanted(&options, peer.ip);
        let Some(clients) = conn.listener_clients() else {
            return Ok(Accepted::NoMore);
        };
        let full = if !has_room {
            Some("the limit on open files is reached")
        } else if !has_header && is_crowded(clients, peer.ip, options.max_clients_per_address) {
            Some("max_clients_per_address is reached")
        } else if !clients.enter(options.max_clients) {
            Some("max_clients is reached")
        } else {
            None
        };
        if let Some(why) = full {
            self.refuse(listener, stream, peer, why);
            return Ok(Accepted::Another);
        }
        options.set_keepalive(&stream);
        let client = self.insert(
            ConnKind::Client,
            Role::Client(ClientSession::default()),
            Socket::Open(Channel::new(stream)),
            options,
            (peer.ip.into(), peer.port),
        );
        let client = match client {
            Ok(client) => client,
            Err(error) => {
                self.leave_listener(listener);
                return Err(error);
            }
        };
        if let Some(tally) = listener_info.tallies.place() {
            client.tallies.join(tally);
        }
        client.owner.set(listener_info.owner.get());
        if let Some(conn) = self.get_mut(client.id) {
            conn.origin = Origin::Listener(listener);
            conn.write.writable = true;
            if let Some(login) = conn.login.as_mut().filter(|_| has_header) {
                login.header = Some(Vec::new());
            }
        }
        self.arrives(client.id);
        self.set_deadline(client.id, limit);
        if has_header {
            return Ok(Accepted::Another);
        }
        self.count_address(listener, &client);
        Ok(Accepted::Client {
            listener: listener_info,
            client,
        })
    }

    /// Counts a client for its address. False if there are too many from there.
    pub fn count_address(&mut self, listener: ConnId, client: &ConnInfo) -> bool {
        let Some((ip, max)) = self.get(client.id).and_then(|conn| {
            let max = conn.options.max_clients_per_address?;
            Some((conn.counted_address()?, max))
        }) else {
            return true;
        };
        self.get_mut(listener)
            .and_then(Conn::listener_clients)
            .is_none_or(|clients| clients.enter_from(ip) <= max)
    }

    /// Refuses a client as a full server does: with an ERR instead of a handshake. The client is
    /// not entered into the table, and what its socket does not take at once is not sent.
    fn refuse(&mut self, listener: ConnId, mut stream: Stream, peer: Peer, why: &str) {
        let mut payload = Vec::new();
        too_many().encode(Capabilities::PROTOCOL_41, &mut payload);
        let mut packet = BytesMut::new();
        frame::write(&payload, &mut 0, &mut packet);
        if let Err(error) = stream.write(&packet) {
            log::debug!(
                "listener {}: a client was gone before it could be refused: {error}",
                listener.serial
            );
        }
        let address = crate::proxy::Address::from(peer.ip);
        self.note_refusal(format!(
            "from {address} on listener {}: {why}",
            listener.serial
        ));
    }

    /// The same for a client that is in the table already, after its PROXY header has told its
    /// address.
    pub fn turn_away(&mut self, client: &ConnInfo) {
        let why = "max_clients_per_address is reached";
        if self.put_error(client.id, &too_many()).is_err() {
            log::debug!(
                "connection {}: gone before it could be refused",
                client.id.serial
            );
        }
        self.note_refusal(format!("from {}: {why}", client.address()));
        self.close_soon.push((client.id, why.to_string()));
    }

    fn note_refusal(&mut self, who: String) {
        self.stats.clients_refused += 1;
        if let Some(line) = self.admission.refusals.add(who) {
            self.tell_of_refusals(&line);
        }
    }

    /// The pause after a log line about refused clients is over.
    pub fn report_refusals(&mut self) {
        if let Some(line) = self.admission.refusals.pause_over() {
            self.tell_of_refusals(&line);
        }
    }

    fn tell_of_refusals(&mut self, line: &str) {
        log::warn!("{line}");
        let due = Instant::now() + REFUSALS_PAUSE;
        self.timers.insert(due, TimerKey::Refusals);
    }

    /// A connection has begun that is neither logged in nor linked.
    pub fn arrives(&mut self, id: ConnId) {
        if let Some(conn) = self.get_mut(id)
            && let Some(login) = &mut conn.login
            && !std::mem::replace(&mut login.arriving, true)
        {
            let is_client = matches!(conn.role, Role::Client(_));
            self.admission.room.arrives(is_client);
        }
    }

    /// It is logged in or linked now, or closed.
    pub fn arrived(&mut self, id: ConnId) {
        if let Some(conn) = self.get_mut(id)
            && let Some(login) = &mut conn.login
            && std::mem::take(&mut login.arriving)
        {
            let is_client = matches!(conn.role, Role::Client(_));
            self.admission.room.arrived(is_client);
        }
    }
}

/// Whether a listener has as many clients from this address as it may.
fn is_crowded(clients: &ListenerClients, ip: Option<IpAddr>, max: Option<usize>) -> bool {
    let (Some(ip), Some(max)) = (ip, max) else {
        return false;
    };
    clients.from(ip) >= max
}

fn too_many() -> ErrPacket {
    ErrPacket::new(1040, b"08004", "Too many connections".into())
}
