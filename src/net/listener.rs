//! Sockets that accept connections.

use std::io;
use std::net::{Ipv4Addr, Ipv6Addr, SocketAddr};
use std::path::Path;
use std::sync::Arc;

use mio::event::Source;
use mio::net::{TcpListener, UnixListener};
use mio::{Interest, Registry, Token};
use socket2::{Domain, Socket, Type};

use super::BACKLOG;
use super::inherited::{self, Found, Taken};
use super::listening::{self, Open, Wanted};
use super::resolver::numeric_address;
use super::unix_socket::{self, SocketFile};
use super::{Peer, Stream};

/// A socket that accepts connections, until it is dropped.
#[derive(Debug)]
pub enum Listener {
    /// On TCP.
    Tcp {
        /// The socket.
        socket: TcpListener,
        /// The port it is bound to.
        port: u16,
        /// What others know of it.
        known: Known,
    },
    /// On a unix domain socket.
    Unix {
        // Declared before the socket in order to be dropped before it: see `SocketFile`.
        /// The file, unlinked with the listener if it is still this listener's. The service manager's
        /// files are not.
        file: Option<SocketFile>,
        /// The socket.
        socket: UnixListener,
        /// What others know of it.
        known: Known,
    },
}

/// That there is a listener, as others know it, for as long as there is.
#[derive(Debug)]
pub struct Known {
    /// For a process that takes the place of this one.
    _open: Arc<Open>,
    /// Its socket is the service manager's.
    _manager: Option<Arc<Taken>>,
}

impl Known {
    fn of(
        socket: &impl std::os::fd::AsFd,
        wanted: Wanted,
        manager: Option<(Arc<Taken>, String)>,
    ) -> io::Result<Known> {
        let duplicate = socket.as_fd().try_clone_to_owned()?;
        let (manager, name) = manager.unzip();
        Ok(Known {
            _open: listening::note(duplicate.into(), wanted, name),
            _manager: manager,
        })
    }
}

impl Listener {
    /// Listens on one address, or with `None` on all of them, IPv6 and IPv4. Port 0 lets the system
    /// choose one: see [`local_port`](Listener::local_port). A socket with this address is taken over that is the service
    /// manager's, or of the process whose place this one takes.
    pub fn bind_tcp(ip: Option<&str>, port: u16) -> io::Result<Listener> {
        let wanted = Wanted::Tcp(ip.map(str::to_owned), port);
        if let Some(text) = ip {
            let address = numeric_address(text, port).filter(|_| !text.starts_with('['));
            let address = address.ok_or_else(|| {
                io::Error::new(
                    io::ErrorKind::InvalidInput,
                    format!("'{text}' is not an IP address to listen on"),
                )
            })?;
            return bind_tcp(address, wanted);
        }
        let all_of_v4 = (Ipv4Addr::UNSPECIFIED, port).into();
        if let Some(inherited) = inherited_tcp(all_of_v4, &wanted) {
            return inherited;
        }
        match bind_tcp((Ipv6Addr::UNSPECIFIED, port).into(), wanted.clone()) {
            // Not after these two errors: IPv4 would fail in the same way, or hide the problem.
            Err(error)
                if !matches!(
                    error.kind(),
                    io::ErrorKind::AddrInUse | io::ErrorKind::PermissionDenied
                ) =>
            {
                log::debug!("IPv6 is not available ({error}), listening on IPv4 only");
                bind_tcp(all_of_v4, wanted)
            }
            result => result,
        }
    }

    /// Listens on a unix socket whose file has the permissions `mode` before the first client can
    /// connect, whatever the umask.
    ///
    /// A socket at this path that was handed over is taken as it is, with its mode. A file that
    /// a dead process left behind is replaced. If a process listens on it, or if it is
    /// not a socket, that is an error, and the file stays.
    pub fn bind_unix(path: &Path, mode: u32) -> io::Result<Listener> {
        let wanted = Wanted::Unix(std::path::absolute(path)?);
        let (file, socket, manager) = match inherited::unix(path) {
            Some(inherited) => {
                let Found { socket, manager } = inherited?;
                let file = match manager {
                    Some(_) => None,
                    None => SocketFile::of(path)?,
                };
                (file, socket, manager)
            }
            None => {
                let (file, socket) = unix_socket::bind(path, mode)?;
                (Some(file), socket, None)
            }
        };
        let known = Known::of(&socket, wanted, manager)?;
        Ok(Listener::Unix {
            file,
            socket: UnixListener::from_std(socket),
            known,
        })
    }

    /// Takes the next connection. `WouldBlock` means that there is none now.
    ///
    /// After any other error the caller must call again, at once or, where
    /// [`is_out_of_descriptors`](super::is_out_of_descriptors) says so, later: an edge-triggered
    /// loop gets no second event for connections that still wait.
    pub fn accept(&self) -> io::Result<(Stream, Peer)> {
        if listening::another_serves() {
            return Err(listening::nobody());
        }
        loop {
            let accepted = match self {
                Listener::Tcp { socket, .. } => socket
                    .accept()
                    .map(|(socket, peer)| (Stream::tcp(socket, peer), Peer::tcp(peer))),
                Listener::Unix { socket, .. } => socket
                    .accept()
                    .map(|(socket, _)| (Stream::Unix(socket), Peer::unix())),
            };
            match accepted {
                Ok(accepted) => return Ok(accepted),
                Err(error) if is_about_one_client(&error) => {}
                Err(error) => return Err(error),
            }
        }
    }

    /// The TCP port, 0 on a unix socket.
    pub fn local_port(&self) -> u16 {
        match self {
            Listener::Tcp { port, .. } => *port,
            Listener::Unix { .. } => 0,
        }
    }
}

/// Registered for reading only, whatever interest is asked for: a listener is never writable.
impl Source for Listener {
    fn register(&mut self, registry: &Registry, token: Token, _: Interest) -> io::Result<()> {
        match self {
            Listener::Tcp { socket, .. } => socket.register(registry, token, Interest::READABLE),
            Listener::Unix { socket, .. } => socket.register(registry, token, Interest::READABLE),
        }
    }

    fn reregister(&mut self, registry: &Registry, token: Token, _: Interest) -> io::Result<()> {
        match self {
            Listener::Tcp { socket, .. } => socket.reregister(registry, token, Interest::READABLE),
            Listener::Unix { socket, .. } => socket.reregister(registry, token, Interest::READABLE),
        }
    }

    fn deregister(&mut self, registry: &Registry) -> io::Result<()> {
        match self {
            Listener::Tcp { socket, .. } => socket.deregister(registry),
            Listener::Unix { socket, .. } => socket.deregister(registry),
        }
    }
}

fn inherited_tcp(address: SocketAddr, wanted: &Wanted) -> Option<io::Result<Listener>> {
    let inherited = inherited::tcp(address, wanted)?;
    Some(inherited.and_then(|Found { socket, manager }| {
        Ok(Listener::Tcp {
            port: socket.local_addr()?.port(),
            known: Known::of(&socket, wanted.clone(), manager)?,
            socket: TcpListener::from_std(socket),
        })
    }))
}

fn bind_tcp(address: SocketAddr, wanted: Wanted) -> io::Result<Listener> {
    if let Some(inherited) = inherited_tcp(address, &wanted) {
        return inherited;
    }
    let socket = Socket::new(Domain::for_address(address), Type::STREAM, None)?;
    if address.is_ipv6() {
        // The system's default differs from machine to machine. It matters for [::] only, where
        // everybody expects IPv4 to be included.
        socket.set_only_v6(false)?;
    }
    // Without it a restart fails for a minute, as long as old connections are in TIME_WAIT.
    socket.set_reuse_address(true)?;
    socket.set_nonblocking(true)?;
    socket.bind(&address.into())?;
    socket.listen(BACKLOG)?;
    let socket = TcpListener::from_std(socket.into());
    let port = socket.local_addr()?.port();
    let known = Known::of(&socket, wanted, None)?;
    Ok(Listener::Tcp {
        socket,
        port,
        known,
    })
}

/// Whether accepting failed only because that client has already gone, or because a signal came.
fn is_about_one_client(error: &io::Error) -> bool {
    use io::ErrorKind::{ConnectionAborted, ConnectionReset, Interrupted};
    matches!(
        error.kind(),
        ConnectionAborted | ConnectionReset | Interrupted
    )
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::net::Poller;
    use std::net::TcpStream;
    use std::os::unix::net::UnixStream;
    use std::time::{Duration, Instant};

    fn wait_accept(listener: &mut Listener) -> (Stream, Peer) {
        let mut poller = Poller::new().unwrap();
        poller.register(listener, 5).unwrap();
        let deadline = Instant::now() + Duration::from_secs(10);
        loop {
            match listener.accept() {
                Ok(accepted) => return accepted,
                Err(error) => assert_eq!(error.kind(), io::ErrorKind::WouldBlock),
            }
            assert!(Instant::now() < deadline);
            poller
                .wait(Some(Duration::from_secs(1)), &mut Vec::new())
                .unwrap();
        }
    }

    #[test]
    fn accepts_over_tcp_with_options_set() {
        let mut listener = Listener::bind_tcp(Some("127.0.0.1"), 0).unwrap();
        assert_ne!(listener.local_port(), 0);
        assert_eq!(
            listener.accept().unwrap_err().kind(),
            io::ErrorKind::WouldBlock
        );

        let client = TcpStream::connect(("127.0.0.1", listener.local_port())).unwrap();
        let (stream, peer) = wait_accept(&mut listener);
        let port = client.local_addr().unwrap().port();
        assert_eq!(
            peer,
            Peer {
                ip: Some(std::net::IpAddr::from([127, 0, 0, 1])),
                port
            }
        );
        let Stream::Tcp(socket) = &stream else {
            panic!("not TCP")
        };
        assert!(socket.nodelay().unwrap());
    }

    #[test]
    fn all_addresses_include_ipv4_which_looks_like_it() {
        let mut listener = Listener::bind_tcp(None, 0).unwrap();
        let _client = TcpStream::connect(("127.0.0.1", listener.local_port())).unwrap();
        assert_eq!(wait_accept(&mut listener).1.ip, Some([127, 0, 0, 1].into()));
    }

    #[test]
    fn ipv6_works_where_there_is_some() {
        let Ok(mut listener) = Listener::bind_tcp(Some("::1"), 0) else {
            return;
        };
        let _client = TcpStream::connect(("::1", listener.local_port())).unwrap();
        assert_eq!(
            wait_accept(&mut listener).1.ip,
            Some(Ipv6Addr::LOCALHOST.into())
        );
    }

    #[test]
    fn a_port_in_use_is_an_error() {
        let first = Listener::bind_tcp(None, 0).unwrap();
        let error = Listener::bind_tcp(None, first.local_port()).unwrap_err();
        assert_eq!(error.kind(), io::ErrorKind::AddrInUse);
    }

    #[test]
    fn a_port_can_be_bound_again_at_once() {
        let mut listener = Listener::bind_tcp(Some("127.0.0.1"), 0).unwrap();
        let port = listener.local_port();
        let client = TcpStream::connect(("127.0.0.1", port)).unwrap();
        // Our side closes first, and so keeps the connection in TIME_WAIT.
        drop(wait_accept(&mut listener));
        drop(listener);
        drop(client);
        Listener::bind_tcp(Some("127.0.0.1"), port).unwrap();
    }

    #[test]
    fn names_are_not_addresses() {
        for text in ["", "localhost", "127.0.0.1:3306", "[::1]", "1.2.3"] {
            let error = Listener::bind_tcp(Some(text), 0).unwrap_err();
            assert_eq!(error.kind(), io::ErrorKind::InvalidInput);
            assert!(error.to_string().contains(text));
        }
    }

    #[test]
    fn accepts_over_unix() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("s");
        let mut listener = Listener::bind_unix(&path, 0o700).unwrap();
        assert_eq!(listener.local_port(), 0);
        let _client = UnixStream::connect(&path).unwrap();
        let (_, peer) = wait_accept(&mut listener);
        assert_eq!(peer, Peer { ip: None, port: 0 });
        drop(listener);
        assert!(!path.exists());
    }

    #[test]
    fn one_clients_bad_luck_is_not_the_listeners() {
        assert!(is_about_one_client(
            &io::ErrorKind::ConnectionAborted.into()
        ));
        assert!(!is_about_one_client(&io::ErrorKind::WouldBlock.into()));
    }
}
