//! Listening, accepting and connecting.

use std::io;
use std::path::Path;
use std::rc::Rc;
use std::time::{Duration, Instant};

use crate::net::{Peer, Stream, TlsClient, numeric_address};
use crate::proxy::Proxy;
use crate::proxy::error::ProxyError;
use crate::proxy::hooks::Verdict;
use crate::proxy::id::ConnId;
use crate::proxy::info::{ConnInfo, ConnKind};
use crate::proxy::options::Options;
use crate::proxy::table::channel::Channel;
use crate::proxy::table::conn::{Conn, Role, Socket};
use crate::proxy::table::core::{Core, TimerKey};
use crate::session::{Event, ServerSession};
use crate::workers::{ListenerClients, Listening};

/// How many sets of options are remembered, so that connections can share them.
const KNOWN_OPTIONS: usize = 16;

/// The least time that an address of a server is given, even if its name took long to be found.
const LEAST_SHARE: Duration = Duration::from_millis(50);

/// The delay before a unix socket whose queue is full is tried again.
const UNIX_RETRY: Duration = Duration::from_millis(20);

impl Proxy {
    /// Listens on a TCP port; without an address, on all.
    ///
    /// # Errors
    /// The address is not ours or is taken.
    pub fn listen_tcp(
        &self,
        ip: Option<&str>,
        port: u16,
        options: Options,
    ) -> Result<Rc<ConnInfo>, ProxyError> {
        let failed = |source: io::Error| ProxyError::Listen {
            address: format!("{}:{port}", ip.unwrap_or("*")),
            source,
        };
        let core = &mut *self.core();
        let listener = core.worker.listen_tcp(ip, port).map_err(failed)?;
        let port = match &listener {
            Listening::Own(listener) => listener.local_port(),
            Listening::Shared(membership) => membership.port,
        };
        let address = (ip.unwrap_or("*"), port);
        core.listen(ConnKind::TcpListener, listener, options, address)
            .map_err(failed)
    }

    /// Listens on a unix socket with this file mode.
    ///
    /// # Errors
    /// The path is taken by a live socket or another kind of file, or cannot be written.
    pub fn listen_unix(
        &self,
        path: &str,
        mode: u32,
        options: Options,
    ) -> Result<Rc<ConnInfo>, ProxyError> {
        let failed = |source: io::Error| ProxyError::Listen {
            address: path.to_string(),
            source,
        };
        let core = &mut *self.core();
        let listener = core
            .worker
            .listen_unix(Path::new(path), mode)
            .map_err(failed)?;
        core.listen(ConnKind::UnixListener, listener, options, (path, 0))
            .map_err(failed)
    }

    /// Begins to connect to a server. A failure arrives as the connection's closing, after this
    /// has returned.
    ///
    /// # Errors
    /// The connection cannot even be entered into the table.
    pub fn connect_tcp(
        &self,
        host: &str,
        port: u16,
        options: Options,
    ) -> Result<Rc<ConnInfo>, ProxyError> {
        let info = self.begin_tcp(host, port, options)?;
        self.tell_opened(&info);
        Ok(info)
    }

    fn begin_tcp(
        &self,
        host: &str,
        port: u16,
        options: Options,
    ) -> Result<Rc<ConnInfo>, ProxyError> {
        let mut core = self.core();
        let tls = core.tls_towards(&options, Some((host, port)))?;
        let info = core.new_server(options, tls, (host, port))?;
        let begun = match numeric_address(host, port) {
            Some(address) => core.connect_next(info.id, vec![address]),
            None => {
                core.resolving.insert(info.id.serial(), info.id);
                core.resolver.request(host, port, info.id.serial())
            }
        };
        if let Err(error) = begun {
            core.close_soon
                .push((info.id, format!("cannot connect to {host}:{port}: {error}")));
        }
        Ok(info)
    }

    /// Begins to connect to a server's unix socket, like [`connect_tcp`](Self::connect_tcp).
    ///
    /// # Errors
    /// As for `connect_tcp`.
    pub fn connect_unix(&self, path: &str, options: Options) -> Result<Rc<ConnInfo>, ProxyError> {
        let info = {
            let mut core = self.core();
            let tls = core.tls_towards(&options, None)?;
            let info = core.new_server(options, tls, ("localhost", 0))?;
            if let Some(login) = core.get_mut(info.id).and_then(|conn| conn.login.as_mut()) {
                login.unix_path = Some(path.into());
            }
            core.try_unix(info.id);
            info
        };
        self.tell_opened(&info);
        Ok(info)
    }

    /// A socket that was connecting has become writable, or failed.
    pub(crate) fn connected(&self, id: ConnId) {
        let outcome = {
            let mut core = self.core();
            core.check_connected(id)
        };
        match outcome {
            Ok(None) => {}
            Ok(Some(info)) => {
                log::info!(
                    "connection {}: connected to {}:{}",
                    id.serial,
                    info.address(),
                    info.port.get()
                );
                let armed = !self.core().armed(id, Event::ServerConnect.set()).is_empty();
                info.enter(Event::ServerConnect);
                if armed && self.fire(&info, Event::ServerConnect, None) == Verdict::Failed {
                    self.callback_failed(id);
                }
                self.core().schedule(id);
            }
            Err(reason) => {
                self.close_for(id, &reason);
            }
        }
    }
}

impl Core {
    fn listen(
        &mut self,
        kind: ConnKind,
        listener: Listening,
        options: Options,
        address: (&str, u16),
    ) -> io::Result<Rc<ConnInfo>> {
        let (socket, clients, key) = match listener {
            Listening::Own(listener) => (
                Socket::Listening(Box::new(listener)),
                ListenerClients::default(),
                None,
            ),
            Listening::Shared(membership) => {
                let clients = ListenerClients::of(membership.clients.clone());
                let key = membership.key;
                (Socket::Joined(Box::new(membership)), clients, Some(key))
            }
        };
        let info = self.insert(
            kind,
            Role::Listener(Box::new(clients.into())),
            socket,
            Rc::new(options),
            (address.0.into(), address.1),
        )?;
        if let Some(key) = key {
            self.joined.insert(key, info.id);
        }
        let tally = self.usage.listeners.tally(&name(address));
        info.tallies.is(tally);
        log::info!(
            "connection {}: listening on {}{}",
            info.id.serial,
            address.0,
            if kind == ConnKind::TcpListener {
                format!(":{}", address.1)
            } else {
                String::new()
            }
        );
        self.warn_of_listener(info.id);
        self.listeners_changed();
        // A client may have connected before the registration.
        self.schedule(info.id);
        Ok(info)
    }

    fn new_server(
        &mut self,
        options: Options,
        tls: Option<Rc<TlsClient>>,
        address: (&str, u16),
    ) -> Result<Rc<ConnInfo>, ProxyError> {
        let limit = options.connect_timeout;
        let header = self.header_to_send(&options);
        let options = self.share_options(options);
        let info = self
            .insert(
                ConnKind::Server,
                Role::Server(ServerSession::default()),
                Socket::Resolving,
                options,
                (address.0.into(), address.1),
            )
            .map_err(|source| ProxyError::Listen {
                address: format!("{}:{}", address.0, address.1),
                source,
            })?;
        let tally = self.usage.servers.tally(&name(address));
        info.tallies.join(tally);
        if let Some(conn) = self.get_mut(info.id) {
            if let Some(login) = &mut conn.login {
                login.tls = tls;
                login.connect_until = (!limit.is_zero()).then(|| Instant::now() + limit);
            }
            conn.write.output.extend_from_slice(&header);
        }
        self.stats.servers_connected += 1;
        self.arrives(info.id);
        self.set_deadline(info.id, limit);
        Ok(info)
    }

    /// Connections with the same options share them. (Where a header tells of the client, no two
    /// have the same.)
    pub fn share_options(&mut self, options: Options) -> Rc<Options> {
        if *self.defaults == options {
            return self.defaults.clone();
        }
        let known = self.known_options.iter().find(|known| ***known == options);
        if let Some(known) = known {
            return known.clone();
        }
        let is_for_one = options
            .proxy_header
            .is_some_and(|(_, client)| client.is_some());
        let options = Rc::new(options);
        if !is_for_one {
            self.known_options.push_front(options.clone());
            self.known_options.truncate(KNOWN_OPTIONS);
        }
        options
    }

    /// If a unix socket's queue is full there is no half-open connection to wait for, so try again
    /// later.
    pub fn try_unix(&mut self, id: ConnId) {
        let login = self.open_mut(id).and_then(|conn| conn.login.as_mut());
        let Some(path) = login.and_then(|login| login.unix_path.take()) else {
            return;
        };
        let result = Stream::connect_unix(Path::new(&*path)).and_then(|s| self.attach(id, s));
        match result {
            Ok(()) => {}
            Err(error) if error.kind() == io::ErrorKind::WouldBlock => {
                if let Some(login) = self.get_mut(id).and_then(|conn| conn.login.as_mut()) {
                    login.unix_path = Some(path);
                }
                let due = Instant::now() + UNIX_RETRY;
                self.timers.insert(due, TimerKey::RetryUnix(id));
            }
            Err(error) => {
                self.close_soon
                    .push((id, format!("cannot connect to {path}: {error}")));
            }
        }
    }

    /// Tries the next of these addresses, and keeps the others for when it fails. Each has its share of the
    /// time that is left, so that one that answers nothing does not take it from the others.
    pub fn connect_next(
        &mut self,
        id: ConnId,
        mut addresses: Vec<std::net::SocketAddr>,
    ) -> io::Result<()> {
        let mut last = io::Error::new(io::ErrorKind::NotFound, "the name has no address");
        while !addresses.is_empty() {
            let address = addresses.remove(0);
            match Stream::connect_tcp(address).and_then(|stream| self.attach(id, stream)) {
                Ok(()) => {
                    let shares =
                        u32::try_from(addresses.len()).map_or(u32::MAX, |others| others + 1);
                    let login = self.get_mut(id).and_then(|conn| conn.login.as_mut());
                    let until = login.and_then(|login| {
                        login.candidates = addresses;
                        [login.connect_until, login.until]
                            .into_iter()
                            .flatten()
                            .min()
                    });
                    if let Some(until) = until {
                        let left = until.saturating_duration_since(Instant::now());
                        self.set_login_deadline(id, (left / shares).max(LEAST_SHARE));
                    }
                    return Ok(());
                }
                Err(error) => last = error,
            }
        }
        Err(last)
    }

    /// Goes on to the next address of a server where the one that is being tried has had its time. False if
    /// there is none.
    pub fn give_up_address(&mut self, id: ConnId) -> bool {
        let Some(conn) = self.open_mut(id) else {
            return false;
        };
        let (Socket::Connecting(_), Some(login)) = (&conn.socket, &mut conn.login) else {
            return false;
        };
        let candidates = std::mem::take(&mut login.candidates);
        if candidates.is_empty() {
            return false;
        }
        // The timer has gone off.
        conn.limits.set_deadline(None);
        self.drop_socket(id);
        self.connect_next(id, candidates).is_ok()
    }

    fn check_connected(&mut self, id: ConnId) -> Result<Option<Rc<ConnInfo>>, String> {
        let Some(conn) = self.open_mut(id) else {
            return Ok(None);
        };
        let Socket::Connecting(stream) = &conn.socket else {
            return Ok(None);
        };
        match stream.connected() {
            Ok(None) => Ok(None),
            Ok(Some(Peer { ip, port })) => {
                conn.info.set_address(ip.into(), port);
                if let Socket::Connecting(stream) =
                    std::mem::replace(&mut conn.socket, Socket::None)
                {
                    conn.options.set_keepalive(&stream);
                    conn.socket = Socket::Open(Channel::new(stream));
                }
                let info = conn.info.clone();
                let limit = conn.limit_login();
                self.set_login_deadline(id, limit);
                if self.get(id).is_some_and(Conn::unsent) {
                    self.touch(id);
                }
                Ok(Some(info))
            }
            Err(error) => {
                let (host, port) = (conn.info.address(), conn.info.port.get());
                let login = conn.login.as_mut();
                let candidates = login.map(|login| std::mem::take(&mut login.candidates));
                let candidates = candidates.unwrap_or_default();
                self.drop_socket(id);
                if !candidates.is_empty() && self.connect_next(id, candidates).is_ok() {
                    return Ok(None);
                }
                Err(if port == 0 {
                    format!("cannot connect to {host}: {error}")
                } else {
                    format!("cannot connect to {host}:{port}: {error}")
                })
            }
        }
    }
}

/// The name of a listener or a server in figures.
fn name(address: (&str, u16)) -> Vec<u8> {
    match address.1 {
        0 => address.0.into(),
        port => format!("{}:{port}", address.0).into(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::net::{SocketAddr, TcpListener, TcpStream};

    /// A listener that answers nothing any more, as a host that is dead: its queue is full.
    fn dead() -> (TcpListener, Vec<TcpStream>, SocketAddr) {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let address = listener.local_addr().unwrap();
        let patience = Duration::from_millis(300);
        let queued = std::iter::from_fn(|| TcpStream::connect_timeout(&address, patience).ok());
        let queued = queued.collect();
        (listener, queued, address)
    }

    #[test]
    fn each_address_of_a_name_has_its_share_of_the_time() {
        let (_listener, _queued, dead) = dead();
        let refused = TcpListener::bind("127.0.0.1:0")
            .unwrap()
            .local_addr()
            .unwrap();
        let alive = TcpListener::bind("127.0.0.1:0").unwrap();
        let server = alive.local_addr().unwrap();
        std::thread::spawn(move || drop(alive.accept()));

        let proxy = Proxy::new().unwrap();
        let options = Options {
            connect_timeout: Duration::from_secs(4),
            ..Options::default()
        };
        let info = {
            let core = &mut *proxy.core();
            let info = core.new_server(options, None, ("name", 1)).unwrap();
            core.connect_next(info.id, vec![dead, refused, dead, server])
                .unwrap();
            info
        };
        let began = Instant::now();
        // Until the server has closed the connection.
        assert_eq!(proxy.run().unwrap(), 0);
        assert_eq!(info.port.get(), server.port(), "{:?}", info.reason());
        // A quarter, and half of the rest.
        assert!(
            began.elapsed() >= Duration::from_millis(2400),
            "{:?}",
            began.elapsed()
        );
    }
}
