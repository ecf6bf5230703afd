//! Pairs that come from another process.

use std::io;
use std::os::fd::OwnedFd;
use std::rc::Rc;
use std::time::{Duration, Instant};

use super::resting::{Leg, Pair, RestingEnd};
use crate::net::Stream;
use crate::proxy::Proxy;
use crate::proxy::id::ConnId;
use crate::proxy::info::{ConnInfo, ConnKind};
use crate::proxy::login::login_relay::LoginRelay;
use crate::proxy::options::Options;
use crate::proxy::table::channel::Channel;
use crate::proxy::table::conn::{Origin, Role, Socket};
use crate::proxy::table::core::Core;
use crate::session::{ClientSession, Event, ServerSession};
use crate::wire::compressed::Algorithm;
use crate::workers::upgrade::Carried;

/// Why a pair closes again that was refused.
const REFUSED: &str = "it stays with the process that has had it";

/// A connection that was entered into the table without its socket.
struct Arrived {
    info: Rc<ConnInfo>,
    channel: Channel,
    level: u8,
}

impl Proxy {
    /// Takes a pair in, or refuses it.
    pub(crate) fn arrive(&self, carried: Carried) {
        let worker = self.worker();
        let Some(arrivals) = worker.arrivals() else {
            return;
        };
        let serial = carried.serial;
        let arrived = match self.take_in(carried) {
            Ok(arrived) => arrived,
            Err(why) => {
                log::info!("client {serial} of the process before stays there: {why}");
                return arrivals.refuse(serial, &why);
            }
        };
        // From here on it is ours, if that was heard.
        if let Err(error) = arrivals.acknowledge(serial) {
            log::info!("client {serial} of the process before stays there: {error}");
            return self.drop_arrived(&arrived);
        }
        for Arrived {
            info,
            channel,
            level,
        } in arrived
        {
            let begun = self.core().go_on(info.id, channel, level);
            if let Err(error) = begun {
                self.close_for(info.id, &format!("its socket is of no use: {error}"));
            }
        }
    }

    fn take_in(&self, carried: Carried) -> Result<Vec<Arrived>, String> {
        let pair = Pair::read(&carried.record).map_err(|error| error.to_string())?;
        let failed = |error: io::Error| format!("its socket is of no use: {error}");
        let mut sockets = carried.sockets.into_iter();
        let mut next = || -> Result<Channel, String> {
            let socket: OwnedFd = sockets.next().ok_or("it has no socket")?;
            Ok(Channel::new(Stream::of(socket).map_err(failed)?))
        };
        let client_channel = next()?;
        let server_channel = pair.server.as_ref().map(|_| next()).transpose()?;

        let (listener, client) = self.core().enter_client(&pair, carried.serial)?;
        let mut arrived = vec![Arrived {
            info: client.clone(),
            channel: client_channel,
            level: pair.client.level,
        }];
        let result = self.join(&pair, &listener, &client, server_channel, &mut arrived);
        match result {
            Ok(()) => Ok(arrived),
            Err(why) => {
                self.drop_arrived(&arrived);
                Err(why)
            }
        }
    }

    fn join(
        &self,
        pair: &Pair,
        listener: &Rc<ConnInfo>,
        client: &Rc<ConnInfo>,
        server_channel: Option<Channel>,
        arrived: &mut Vec<Arrived>,
    ) -> Result<(), String> {
        let mut server = None;
        if let Some((leg, channel)) = pair.server.as_ref().zip(server_channel) {
            let entered = self.core().enter_server(leg, client.id);
            let info = entered.map_err(|error| error.to_string())?;
            info.owner.set(listener.owner.get());
            arrived.push(Arrived {
                info: info.clone(),
                channel,
                level: leg.level,
            });
            server = Some(info);
        }
        self.tell_opened(client);
        if let Some(server) = &server {
            self.tell_opened(server);
            self.link(client.id, server.id)
                .map_err(|error| error.to_string())?;
        }
        let server = server.map(|server| server.id);
        self.hooks()
            .adopt(listener.id, client.id, server, &pair.text)?;
        for id in [Some(client.id), server].into_iter().flatten() {
            self.rearm(id);
        }
        match self.info(client.id) {
            Some(_) => Ok(()),
            None => Err("the startfile has closed it".to_owned()),
        }
    }

    fn drop_arrived(&self, arrived: &[Arrived]) {
        for Arrived { info, .. } in arrived {
            if let Some(conn) = self.core().get_mut(info.id) {
                conn.drop_buffers();
            }
            self.close_for(info.id, REFUSED);
        }
    }
}

impl Core {
    /// Enters a client into the table. Returns its listener, too.
    fn enter_client(
        &mut self,
        pair: &Pair,
        serial: u32,
    ) -> Result<(Rc<ConnInfo>, Rc<ConnInfo>), String> {
        let (address, port) = &pair.listener;
        let mut conns = self.conns.iter().map(|(_, conn)| conn);
        let listener = conns.find(|conn| {
            let info = &conn.info;
            !conn.closing()
                && info.kind.is_listener()
                && info.port.get() == *port
                && info.address().to_string() == *address
        });
        let listener = listener.ok_or("nobody listens where it has come from")?;
        if !self.admission.room.has_room() {
            return Err("the limit on open files is reached".to_owned());
        }
        let (listener, options) = (listener.info.clone(), listener.options.clone());
        let RestingEnd::Client(rest) = pair.client.end.clone() else {
            return Err("it is no client".to_owned());
        };
        self.next_serial = Some(serial);
        let client = self.insert(
            ConnKind::Client,
            Role::Client(ClientSession::resume(rest)),
            Socket::None,
            options,
            (pair.client.address.clone(), pair.client.port),
        );
        let client = client.map_err(|error| error.to_string())?;
        client.owner.set(listener.owner.get());
        if let Some(tally) = listener.tallies.place() {
            client.tallies.join(tally);
        }
        if let Some(user) = &pair.user {
            client.tallies.join_user(self.usage.users.tally(user));
        }
        if let Some(destination) = pair.destination {
            client.set_destination(destination);
        }
        let clients = self.get_mut(listener.id);
        if let Some(clients) = clients.and_then(|conn| conn.listener_clients()) {
            // It was admitted already.
            clients.enter(None);
        }
        self.is_logged_in(client.id, &pair.client, Event::ClientWaiting);
        if let Some(conn) = self.get_mut(client.id) {
            conn.origin = Origin::Listener(listener.id);
        }
        self.count_address(listener.id, &client);
        Ok((listener, client))
    }

    fn enter_server(&mut self, leg: &Leg, client: ConnId) -> io::Result<Rc<ConnInfo>> {
        let RestingEnd::Server(rest) = leg.end.clone() else {
            return Err(io::ErrorKind::InvalidData.into());
        };
        let (max_packet, max_queue, idle_timeout) = leg.limits;
        let size = |bytes: u64, default: usize| match usize::try_from(bytes) {
            Ok(0) | Err(_) => default,
            Ok(bytes) => bytes,
        };
        let options = Options {
            max_packet: size(max_packet, self.defaults.max_packet),
            max_queue: size(max_queue, self.defaults.max_queue),
            idle_timeout,
            ..(*self.defaults).clone()
        };
        let options = self.share_options(options);
        let server = self.insert(
            ConnKind::Server,
            Role::Server(ServerSession::resume(rest)),
            Socket::None,
            options,
            (leg.address.clone(), leg.port),
        )?;
        if let Some(place) = &leg.place {
            server.tallies.join(self.usage.servers.tally(place));
        }
        self.is_logged_in(server.id, leg, Event::ServerWaitCommand);
        if let Some(conn) = self.get_mut(server.id) {
            conn.origin = Origin::Client(client);
        }
        Ok(server)
    }

    /// Its login was over before it came here.
    fn is_logged_in(&mut self, id: ConnId, leg: &Leg, state: Event) {
        let Some(conn) = self.get_mut(id) else {
            return;
        };
        conn.login = None;
        if let Some((plugin, nonce)) = &leg.login {
            conn.relay = Some(Box::new(LoginRelay::resume(plugin, nonce)));
        }
        let info = &conn.info;
        info.capabilities.set(leg.capabilities());
        info.state.set(Some(state));
        info.tallies.read_before(leg.bytes.0);
        info.tallies.wrote_before(leg.bytes.1);
        let begun = Instant::now().checked_sub(leg.age.min(Duration::from_secs(u32::MAX.into())));
        if let Some(begun) = begun {
            info.opened.set(begun);
        }
        self.watch_idle(id);
    }

    /// It has its socket from here on.
    fn go_on(&mut self, id: ConnId, channel: Channel, level: u8) -> io::Result<()> {
        if let Some(conn) = self.get(id) {
            conn.info.secure.set(channel.stream.is_unix());
        }
        self.put_channel(id, channel)?;
        let agreed = self.open(id).map(|conn| conn.capabilities());
        if let Some(algorithm) = agreed.and_then(Algorithm::agreed) {
            self.compress_at(id, algorithm, level);
            if let Some(conn) = self.open_mut(id) {
                conn.read.just_compressed = false;
            }
        }
        Ok(())
    }
}
