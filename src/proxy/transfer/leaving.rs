//! Pairs that leave for another process.

use std::os::fd::OwnedFd;
use std::time::{Duration, Instant};

use super::departures::Waiting;
use super::resting::{Leg, Pair, RestingEnd};
use crate::proxy::Proxy;
use crate::proxy::hooks::Packed;
use crate::proxy::id::ConnId;
use crate::proxy::table::channel::Channel;
use crate::proxy::table::conn::{Conn, Course, Role, Socket};
use crate::proxy::table::core::{Core, TimerKey};
use crate::proxy::table::sides::FarEnd;
use crate::wire::Status;
use crate::workers::upgrade::Carried;

/// How many clients are looked at in one pass of the loop.
const SLICE: usize = 16;

/// When those are looked at again that could not leave yet.
const PAUSE: Duration = Duration::from_millis(100);

/// What is left here of a connection that another process has.
const MOVED: &str = "another process goes on with it";

/// Whether a connection can leave.
enum Rest {
    Can,
    /// Not now. Where it may take long, why.
    NotNow(Option<&'static str>),
    Never(&'static str),
}

impl Proxy {
    /// Another process serves: clients may leave for it.
    pub(crate) fn open_departures(&self) {
        let core = &mut *self.core();
        core.departures.is_open = true;
        core.look_at_clients_again();
    }

    /// It takes so many at once.
    pub(crate) fn make_room_for_departures(&self, room: usize) {
        self.core().departures.room += room;
    }

    /// Nothing more leaves.
    pub(crate) fn close_departures(&self) {
        let departures = &mut self.core().departures;
        departures.is_open = false;
        departures.room = 0;
        departures.queue.clear();
        departures.settled.clear();
    }

    /// The other process has failed: all go on here.
    pub(crate) fn call_back(&self) {
        self.close_departures();
        let waiting = std::mem::take(&mut self.core().departures.on_their_way);
        for (_, waiting) in waiting {
            self.core().give_back(waiting);
        }
        let core = self.core();
        for (_, conn) in &core.conns {
            conn.info.set_stays(None);
        }
    }

    /// Lets clients leave that can.
    pub(crate) fn depart(&self) {
        if !self.core().departures.have_work() {
            return;
        }
        for _ in 0..SLICE {
            let next = {
                let departures = &mut self.core().departures;
                let next = departures.queue.pop_front();
                next.filter(|_| departures.room > 0)
            };
            let Some(client) = next else {
                return;
            };
            self.guarded(Some(client), || self.try_to_leave(client));
        }
    }

    fn try_to_leave(&self, client: ConnId) {
        if self.core().departures.settled.contains(&client) || !self.can_leave(client) {
            return;
        }
        if let Some(why) = self.kept_by_observers(client) {
            return self.core().let_stay(client, why);
        }
        let text = match self.hooks().pack(client) {
            Packed::Text(text) => text,
            Packed::NotNow => return,
            Packed::Stays(why) => return self.core().let_stay(client, &why),
        };
        // Packing may have changed anything.
        if !self.can_leave(client) {
            return;
        }
        let worker = self.worker();
        let carried = self.core().take_out(client, text);
        if let Some(Err(carried)) = carried.map(|carried| worker.give(carried)) {
            self.refused(carried.serial, "there is no other process");
        }
    }

    /// Whether a client can leave now; notes why not.
    fn can_leave(&self, client: ConnId) -> bool {
        let core = &mut *self.core();
        match core.rests(client) {
            Rest::Can => return true,
            Rest::NotNow(why) => {
                if let Some(conn) = core.open(client) {
                    conn.info.set_stays(why);
                }
            }
            Rest::Never(why) => core.let_stay(client, why),
        }
        false
    }

    /// The other process has it.
    pub(crate) fn moved(&self, serial: u32) {
        let waiting = {
            let departures = &mut self.core().departures;
            departures.room += 1;
            departures.on_their_way.remove(&serial)
        };
        let Some(waiting) = waiting else {
            return;
        };
        self.hooks().let_go(waiting.client);
        for (id, channel) in waiting.channels {
            self.close_for(id, MOVED);
            drop(channel);
        }
    }

    /// The other process does not take it.
    pub(crate) fn refused(&self, serial: u32, why: &str) {
        let core = &mut *self.core();
        core.departures.room += 1;
        if let Some(waiting) = core.departures.on_their_way.remove(&serial) {
            core.let_stay(waiting.client, why);
            core.give_back(waiting);
        }
    }
}

impl Core {
    /// Something has happened on a connection, after which its client may be able to leave.
    pub(crate) fn note_turn(&mut self, id: ConnId) {
        if !self.departures.is_open {
            return;
        }
        let Some(conn) = self.open(id) else {
            return;
        };
        let client = match conn.role {
            Role::Client(_) => Some(id),
            Role::Server(_) => conn.peer,
            Role::Listener(_) => None,
        };
        if let Some(client) = client.filter(|client| self.open(*client).is_some_and(Conn::idle)) {
            // In front: it may have the next command soon.
            self.departures.queue.push_front(client);
        }
    }

    /// All clients are looked at, now and again.
    pub(crate) fn look_at_clients_again(&mut self) {
        if !self.departures.is_open {
            return;
        }
        if self.departures.queue.is_empty() {
            let all = self.conns.iter().map(|(_, conn)| conn);
            let clients = all.filter(|conn| matches!(conn.role, Role::Client(_)));
            self.departures.queue.extend(clients.map(Conn::id));
        }
        let due = Instant::now() + PAUSE;
        self.timers.insert(due, TimerKey::Departures);
    }

    fn let_stay(&mut self, client: ConnId, why: &str) {
        if let Some(conn) = self.open(client) {
            conn.info.set_stays(Some(why));
            self.departures.settled.insert(client);
        }
    }

    /// Whether a client and its server are between two commands, and nothing is on its way.
    fn rests(&self, client: ConnId) -> Rest {
        let Some(conn) = self.open(client) else {
            return Rest::NotNow(None);
        };
        let server = conn.peer.and_then(|peer| self.open(peer));
        if conn.peer.is_some() && server.is_none() {
            return Rest::NotNow(None);
        }
        for conn in [Some(conn), server].into_iter().flatten() {
            match conn.may_leave() {
                Rest::Can => {}
                other => return other,
            }
        }
        Rest::Can
    }

    /// Takes a pair's sockets out, and writes it down.
    fn take_out(&mut self, client: ConnId, text: Vec<u8>) -> Option<Carried> {
        let conn = self.open(client)?;
        let listener = self.open(conn.listener()?)?;
        let server = conn.peer;
        let user = conn.info.tallies.user();
        let pair = Pair {
            listener: (
                listener.info.address().to_string(),
                listener.info.port.get(),
            ),
            client: conn.leg()?,
            server: server.and_then(|server| self.open(server)?.leg()),
            user: user.map(|user| user.name.to_vec()),
            destination: conn.info.destination(),
            text,
        };
        let record = pair.write()?;
        let ids = [Some(client), server];
        let sockets: Option<Vec<OwnedFd>> = ids
            .into_iter()
            .flatten()
            .map(|id| self.open(id)?.duplicate())
            .collect();
        let sockets = sockets?;
        let mut channels = Vec::new();
        for id in ids.into_iter().flatten() {
            if let Some(channel) = self.take_channel(id) {
                channels.push((id, channel));
            }
        }
        let departures = &mut self.departures;
        departures.room = departures.room.saturating_sub(1);
        let serial = client.serial();
        let waiting = Waiting { client, channels };
        departures.on_their_way.insert(serial, waiting);
        Some(Carried {
            serial,
            record,
            sockets,
        })
    }

    /// A pair goes on here.
    fn give_back(&mut self, waiting: Waiting) {
        for (id, channel) in waiting.channels {
            if let Err(error) = self.put_channel(id, channel) {
                log::error!("connection {}: {error}", id.serial());
                self.close_soon.push((id, error.to_string()));
            }
        }
    }

    fn take_channel(&mut self, id: ConnId) -> Option<Channel> {
        let conn = self.conns.get_mut(id.slot()).filter(|c| c.id() == id)?;
        let socket = std::mem::replace(&mut conn.socket, Socket::None);
        let Socket::Open(mut channel) = socket else {
            conn.socket = socket;
            return None;
        };
        conn.write.writable = false;
        conn.read.readable = false;
        if let Err(error) = self.poller.deregister(&mut channel.stream) {
            log::warn!("connection {}: deregister: {error}", id.serial());
        }
        self.admission.room.closed();
        Some(channel)
    }

    /// Gives a connection its socket, unless it has closed meanwhile.
    pub(super) fn put_channel(&mut self, id: ConnId, mut channel: Channel) -> std::io::Result<()> {
        let Some(conn) = self.conns.get_mut(id.slot()).filter(|c| c.id() == id) else {
            return Ok(());
        };
        if conn.closing() {
            return Ok(());
        }
        self.poller.register(&mut channel.stream, id.slot())?;
        self.admission.room.opened();
        conn.socket = Socket::Open(channel);
        conn.read.readable = true;
        conn.write.writable = true;
        self.schedule(id);
        self.touch(id);
        Ok(())
    }
}

impl Conn {
    /// Whether it is between two commands, and nothing is on its way.
    fn may_leave(&self) -> Rest {
        let Socket::Open(channel) = &self.socket else {
            return Rest::NotNow(None);
        };
        if channel.stream.is_tls() {
            return Rest::Never("its connection is encrypted");
        }
        if self.course == Course::Opaque {
            return Rest::Never("its connection is no longer understood");
        }
        let is_transferred = self.logged_in()
            && self.idle()
            && self.course == Course::Followed
            && self.read.input.is_empty()
            && self.read.streaming.is_none()
            && self.read.far_end == FarEnd::Open
            && self.read.stopped.is_empty()
            && self.read.discard == 0
            && self.write.output.is_empty()
            && self.write.inbound.is_none()
            && self.write.broken.is_none()
            && !self.limits.has_deadline()
            && channel.level_at_rest().is_some();
        if !is_transferred {
            return Rest::NotNow(None);
        }
        match &self.role {
            Role::Server(session) if session.status().contains(Status::IN_TRANS) => {
                Rest::NotNow(Some("it is in a transaction"))
            }
            _ => Rest::Can,
        }
    }

    fn leg(&self) -> Option<Leg> {
        let end = match &self.role {
            Role::Client(session) => RestingEnd::Client(session.rest()?),
            Role::Server(session) => RestingEnd::Server(session.rest()?),
            Role::Listener(_) => return None,
        };
        let Socket::Open(channel) = &self.socket else {
            return None;
        };
        let place = self.info.tallies.place();
        let is_server = matches!(self.role, Role::Server(_));
        let login = self.relay.as_ref();
        Some(Leg {
            end,
            address: self.info.address(),
            port: self.info.port.get(),
            level: channel.level_at_rest()?,
            age: self.info.opened.get().elapsed(),
            place: place.filter(|_| is_server).map(|place| place.name.to_vec()),
            login: login.map(|relay| (relay.plugin.clone(), relay.nonce.clone())),
            bytes: self.info.tallies.bytes(),
            limits: (
                self.options.max_packet as u64,
                self.options.max_queue as u64,
                self.options.idle_timeout,
            ),
        })
    }

    fn duplicate(&self) -> Option<OwnedFd> {
        let Socket::Open(channel) = &self.socket else {
            return None;
        };
        channel.stream.duplicate().ok()
    }
}
