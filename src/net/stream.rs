//! One connected, or connecting, socket.

use std::io::{self, IoSlice, Read, Write};
use std::net::{IpAddr, Shutdown, SocketAddr};
use std::os::fd::{AsFd, OwnedFd};
use std::path::Path;
use std::time::Duration;

use mio::event::Source;
use mio::net::{TcpStream, UnixStream};
use mio::{Interest, Registry, Token};
use socket2::{Domain, SockRef, Socket, TcpKeepalive};

use super::tls::{Plain, TlsInfo, TlsSession};

/// How long a TCP connection may be silent before the kernel probes whether the far end is still
/// there. Clients of a database are idle for hours, and firewalls forget connections after minutes.
pub const KEEPALIVE_IDLE: Duration = Duration::from_secs(60);
/// The time between two of these probes.
const KEEPALIVE_INTERVAL: Duration = Duration::from_secs(10);
/// How many unanswered probes mean that the far end is gone.
const KEEPALIVE_RETRIES: u32 = 6;

/// Who is at the far end of a stream.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Peer {
    /// The IP address, an IPv4 one always in IPv4's form; `None` on a unix socket.
    pub ip: Option<IpAddr>,
    /// The TCP port, 0 on a unix socket.
    pub port: u16,
}

impl Peer {
    pub(super) fn tcp(address: SocketAddr) -> Self {
        // A listener on [::] sees IPv4 clients as ::ffff:a.b.c.d, which no access list expects.
        Peer {
            ip: Some(address.ip().to_canonical()),
            port: address.port(),
        }
    }

    pub(super) fn unix() -> Self {
        Peer { ip: None, port: 0 }
    }
}

/// A non-blocking stream of bytes to another process.
///
/// # Reading and writing
///
/// The rules are the same with and without TLS:
///
/// - [`write`](Stream::write) takes some of the bytes, and may buffer them; the buffer is bounded.
///   `WouldBlock` means that it takes nothing now, because the socket takes nothing of the buffered
///   bytes.
/// - While the stream [`wants_write`](Stream::wants_write), [`flush`](Stream::flush) is to be
///   called whenever the socket becomes writable. Reading may make it want to write.
/// - [`read`](Stream::read) may have more although the socket has nothing: only `WouldBlock` means
///   that there is nothing now, or a short read if
///   [`short_read_is_all`](Stream::short_read_is_all). `Interrupted` means that one call's share of
///   the socket's bytes gave no plaintext: call again, after other connections have had their turn.
#[derive(Debug)]
pub enum Stream {
    /// Over TCP, with `TCP_NODELAY` and keep-alive.
    Tcp(TcpStream),
    /// Over a unix domain socket.
    Unix(UnixStream),
    /// TLS inside one of the others.
    Tls(Box<Tls>),
}

/// A TLS session and the socket that it goes over.
#[derive(Debug)]
pub struct Tls {
    session: TlsSession,
    socket: Stream,
}

impl Plain for Stream {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        Stream::read(self, buffer)
    }
    fn write_vectored(&mut self, pieces: &[IoSlice<'_>]) -> io::Result<usize> {
        Stream::write_vectored(self, pieces)
    }
}

impl Stream {
    /// Starts to connect over TCP. The attempt is over when the stream becomes writable:
    /// [`connected`](Stream::connected) tells whether it succeeded.
    pub fn connect_tcp(address: SocketAddr) -> io::Result<Stream> {
        Ok(Stream::tcp(TcpStream::connect(address)?, address))
    }

    /// Connects to a unix socket, which succeeds or fails at once. Callers still register it and
    /// ask whether it is [`connected`](Stream::connected), so that they treat both kinds alike.
    ///
    /// `WouldBlock` means that the listener's queue is full at the moment, and that there is no
    /// connection yet to wait for: call again a little later.
    pub fn connect_unix(path: &Path) -> io::Result<Stream> {
        Ok(Stream::Unix(UnixStream::connect(path)?))
    }

    /// A connected socket that another process has handed over.
    ///
    /// # Errors
    /// It is neither TCP nor a unix socket.
    pub fn of(socket: OwnedFd) -> io::Result<Stream> {
        let socket = Socket::from(socket);
        socket.set_nonblocking(true)?;
        match socket.local_addr()?.domain() {
            Domain::UNIX => Ok(Stream::Unix(UnixStream::from_std(socket.into()))),
            Domain::IPV4 | Domain::IPV6 => Ok(Stream::Tcp(TcpStream::from_std(socket.into()))),
            _ => Err(io::ErrorKind::Unsupported.into()),
        }
    }

    /// Its socket once more, for another process.
    ///
    /// # Errors
    /// There are no descriptors left.
    pub fn duplicate(&self) -> io::Result<OwnedFd> {
        match self {
            Stream::Tcp(socket) => socket.as_fd().try_clone_to_owned(),
            Stream::Unix(socket) => socket.as_fd().try_clone_to_owned(),
            Stream::Tls(tls) => tls.socket.duplicate(),
        }
    }

    /// A TCP socket with its options set.
    pub(super) fn tcp(socket: TcpStream, peer: SocketAddr) -> Stream {
        if let Err(error) = set_options(&socket) {
            // The connection works without them. Some systems also fail here when the far end has
            // already gone, which the first read reports more clearly.
            log::debug!("cannot set the socket options towards {peer}: {error}");
        }
        Stream::Tcp(socket)
    }

    /// Sets how long a TCP connection may be silent before the kernel probes whether the far end is
    /// still there; `None`: it never does.
    pub fn keep_alive(&self, idle: Option<Duration>) {
        let set = match self {
            Stream::Tcp(socket) => match idle {
                Some(idle) => SockRef::from(socket).set_tcp_keepalive(&keepalive(idle)),
                None => SockRef::from(socket).set_keepalive(false),
            },
            Stream::Unix(_) => Ok(()),
            Stream::Tls(tls) => return tls.socket.keep_alive(idle),
        };
        if let Err(error) = set {
            log::debug!("cannot set keep-alive: {error}");
        }
    }

    /// What has come of the attempt to connect: the far end, `None` if it goes on, or why it failed.
    ///
    /// Readiness alone does not tell: a failed socket is writable too, and the event may be stale.
    pub fn connected(&self) -> io::Result<Option<Peer>> {
        if let Some(error) = self.take_error()? {
            return Err(error);
        }
        let peer = match self {
            Stream::Tcp(socket) => socket.peer_addr().and_then(|peer| {
                if socket.local_addr()? == peer {
                    // Nobody listens on that port of this machine, the kernel picked it for our own
                    // end, and TCP connected the socket to itself.
                    return Err(io::ErrorKind::ConnectionRefused.into());
                }
                Ok(Peer::tcp(peer))
            }),
            Stream::Unix(socket) => socket.peer_addr().map(|_| Peer::unix()),
            Stream::Tls(tls) => return tls.socket.connected(),
        };
        match peer {
            Ok(peer) => Ok(Some(peer)),
            Err(error) if error.kind() == io::ErrorKind::NotConnected => Ok(None),
            Err(error) => Err(error),
        }
    }

    /// Reads what is there. 0 means that the far end will send nothing more, `WouldBlock` that
    /// there is nothing now, `Interrupted` (with TLS) that there may be.
    pub fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        match self {
            Stream::Tcp(socket) => uninterrupted(|| socket.read(buffer)),
            Stream::Unix(socket) => uninterrupted(|| socket.read(buffer)),
            Stream::Tls(tls) => tls.session.read(&mut tls.socket, buffer),
        }
    }

    /// Whether a read that returned less than there was room for has emptied the socket, so that
    /// its next byte causes an event.
    pub fn short_read_is_all(&self) -> bool {
        match self {
            Stream::Tcp(_) | Stream::Unix(_) => true,
            Stream::Tls(tls) => tls.session.short_read_is_all(),
        }
    }

    /// Whether it has buffered bytes that the socket has not taken.
    pub fn wants_write(&self) -> bool {
        match self {
            Stream::Tcp(_) | Stream::Unix(_) => false,
            Stream::Tls(tls) => tls.session.wants_write(),
        }
    }

    /// Writes the buffered bytes to the socket. `WouldBlock` means that some are left.
    pub fn flush(&mut self) -> io::Result<()> {
        match self {
            Stream::Tcp(_) | Stream::Unix(_) => Ok(()),
            Stream::Tls(tls) => tls.session.flush(&mut tls.socket),
        }
    }

    /// Nothing more will be written: with TLS the far end is told (close_notify), so the stream may
    /// [want to write](Stream::wants_write) once more.
    pub fn finish(&mut self) {
        match self {
            Stream::Tcp(_) | Stream::Unix(_) => {}
            Stream::Tls(tls) => tls.session.finish(),
        }
    }

    /// Whether this is a unix socket, which nobody else can read.
    pub fn is_unix(&self) -> bool {
        match self {
            Stream::Tcp(_) => false,
            Stream::Unix(_) => true,
            Stream::Tls(tls) => tls.socket.is_unix(),
        }
    }

    /// The address that this end has, over TCP.
    pub fn local_addr(&self) -> Option<SocketAddr> {
        match self {
            Stream::Tcp(socket) => socket.local_addr().ok(),
            Stream::Unix(_) => None,
            Stream::Tls(tls) => tls.socket.local_addr(),
        }
    }

    /// Writes as much as the socket takes. `WouldBlock` means that it takes nothing now.
    pub fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        uninterrupted(|| match self {
            Stream::Tcp(socket) => socket.write(bytes),
            Stream::Unix(socket) => socket.write(bytes),
            Stream::Tls(tls) => tls.session.write(&mut tls.socket, bytes),
        })
    }

    /// Like [`write`](Stream::write), from several pieces with one system call.
    pub fn write_vectored(&mut self, pieces: &[IoSlice<'_>]) -> io::Result<usize> {
        uninterrupted(|| match self {
            Stream::Tcp(socket) => socket.write_vectored(pieces),
            Stream::Unix(socket) => socket.write_vectored(pieces),
            Stream::Tls(tls) => match pieces.iter().find(|piece| !piece.is_empty()) {
                Some(piece) => tls.session.write(&mut tls.socket, piece),
                None => Ok(0),
            },
        })
    }

    /// The socket's pending error, if any; clears it.
    pub fn take_error(&self) -> io::Result<Option<io::Error>> {
        match self {
            Stream::Tcp(socket) => socket.take_error(),
            Stream::Unix(socket) => socket.take_error(),
            Stream::Tls(tls) => tls.socket.take_error(),
        }
    }

    /// Shuts down the writing side. What was written before still arrives, and reading goes on.
    pub fn shutdown_write(&self) -> io::Result<()> {
        let result = match self {
            Stream::Tcp(socket) => socket.shutdown(Shutdown::Write),
            Stream::Unix(socket) => socket.shutdown(Shutdown::Write),
            Stream::Tls(tls) => return tls.socket.shutdown_write(),
        };
        match result {
            // The far end has closed already.
            Err(error) if error.kind() == io::ErrorKind::NotConnected => Ok(()),
            result => result,
        }
    }

    /// The same socket, with TLS from now on. `before` is sent in clear ahead of the session's
    /// first byte; `read` was read from the socket already, and is treated as TLS in any case.
    #[must_use]
    pub fn with_tls(self, session: TlsSession, before: Vec<u8>, read: &[u8]) -> Stream {
        let mut session = session.after(before);
        session.feed(read);
        Stream::Tls(Box::new(Tls {
            session,
            socket: self,
        }))
    }

    /// Whether it uses TLS.
    pub fn is_tls(&self) -> bool {
        matches!(self, Stream::Tls(_))
    }

    /// Information about the TLS session: returned once, as soon as it is established.
    pub fn tls_news(&mut self) -> Option<TlsInfo> {
        match self {
            Stream::Tls(tls) => tls.session.news(),
            _ => None,
        }
    }

    /// Why there is no TLS session although there should be one.
    pub fn tls_failure(&self) -> Option<&str> {
        match self {
            Stream::Tls(tls) => tls.session.failure(),
            _ => None,
        }
    }
}

impl Source for Stream {
    fn register(&mut self, registry: &Registry, token: Token, what: Interest) -> io::Result<()> {
        match self {
            Stream::Tcp(socket) => socket.register(registry, token, what),
            Stream::Unix(socket) => socket.register(registry, token, what),
            Stream::Tls(tls) => tls.socket.register(registry, token, what),
        }
    }

    fn reregister(&mut self, registry: &Registry, token: Token, what: Interest) -> io::Result<()> {
        match self {
            Stream::Tcp(socket) => socket.reregister(registry, token, what),
            Stream::Unix(socket) => socket.reregister(registry, token, what),
            Stream::Tls(tls) => tls.socket.reregister(registry, token, what),
        }
    }

    fn deregister(&mut self, registry: &Registry) -> io::Result<()> {
        match self {
            Stream::Tcp(socket) => socket.deregister(registry),
            Stream::Unix(socket) => socket.deregister(registry),
            Stream::Tls(tls) => tls.socket.deregister(registry),
        }
    }
}

fn set_options(socket: &TcpStream) -> io::Result<()> {
    // The proxy writes whole packets at once; to hold back the last short segment of an exchange
    // would only add a round trip.
    socket.set_nodelay(true)?;
    SockRef::from(socket).set_tcp_keepalive(&keepalive(KEEPALIVE_IDLE))
}

fn keepalive(idle: Duration) -> TcpKeepalive {
    TcpKeepalive::new()
        .with_time(idle)
        .with_interval(KEEPALIVE_INTERVAL)
        .with_retries(KEEPALIVE_RETRIES)
}

/// Repeats a system call that a signal interrupts.
fn uninterrupted(mut call: impl FnMut() -> io::Result<usize>) -> io::Result<usize> {
    loop {
        match call() {
            Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
            result => return result,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::net::Poller;
    use std::net::{Ipv4Addr, TcpListener};
    use std::time::Instant;

    /// Waits for events of the stream, as the loop would, until `done` returns something.
    fn wait_until<T>(stream: &mut Stream, mut done: impl FnMut(&mut Stream) -> Option<T>) -> T {
        let mut poller = Poller::new().unwrap();
        poller.register(stream, 0).unwrap();
        let deadline = Instant::now() + Duration::from_secs(10);
        loop {
            if let Some(result) = done(stream) {
                poller.deregister(stream).unwrap();
                return result;
            }
            assert!(Instant::now() < deadline);
            poller
                .wait(Some(Duration::from_secs(1)), &mut Vec::new())
                .unwrap();
        }
    }

    fn wait_connected(stream: &mut Stream) -> io::Result<Peer> {
        wait_until(stream, |stream| stream.connected().transpose())
    }

    fn wait_read(stream: &mut Stream, buffer: &mut [u8]) -> usize {
        wait_until(stream, |stream| match stream.read(buffer) {
            Err(error) if error.kind() == io::ErrorKind::WouldBlock => None,
            result => Some(result.unwrap()),
        })
    }

    fn tcp_pair() -> (Stream, std::net::TcpStream) {
        let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).unwrap();
        let mut stream = Stream::connect_tcp(listener.local_addr().unwrap()).unwrap();
        wait_connected(&mut stream).unwrap();
        (stream, listener.accept().unwrap().0)
    }

    #[test]
    fn tcp_both_ways() {
        let (mut stream, mut other) = tcp_pair();
        let mut buffer = [0; 16];
        assert_eq!(
            stream.read(&mut buffer).unwrap_err().kind(),
            io::ErrorKind::WouldBlock
        );

        other.write_all(b"hello").unwrap();
        assert_eq!(wait_read(&mut stream, &mut buffer), 5);
        assert_eq!(&buffer[..5], b"hello");

        assert_eq!(stream.write(b"good").unwrap(), 4);
        let pieces = [IoSlice::new(b" day"), IoSlice::new(b"!")];
        assert_eq!(stream.write_vectored(&pieces).unwrap(), 5);
        stream.shutdown_write().unwrap();
        let mut answer = String::new();
        other.read_to_string(&mut answer).unwrap();
        assert_eq!(answer, "good day!");

        drop(other);
        assert_eq!(wait_read(&mut stream, &mut buffer), 0);
        stream.shutdown_write().unwrap();
    }

    #[test]
    fn a_full_socket_would_block() {
        let (mut stream, _other) = tcp_pair();
        let block = vec![0; 1 << 20];
        let error = (0..1024).find_map(|_| stream.write(&block).err()).unwrap();
        assert_eq!(error.kind(), io::ErrorKind::WouldBlock);
    }

    #[test]
    fn tcp_options_are_set() {
        let (stream, _other) = tcp_pair();
        let Stream::Tcp(socket) = &stream else {
            panic!("not TCP")
        };
        assert!(socket.nodelay().unwrap());
        assert!(SockRef::from(socket).keepalive().unwrap());
        assert_eq!(
            SockRef::from(socket).tcp_keepalive_time().unwrap(),
            KEEPALIVE_IDLE
        );
        stream.keep_alive(Some(Duration::from_secs(7)));
        let idle = SockRef::from(socket).tcp_keepalive_time().unwrap();
        assert_eq!(idle, Duration::from_secs(7));
        stream.keep_alive(None);
        assert!(!SockRef::from(socket).keepalive().unwrap());
    }

    #[test]
    fn a_refused_connection_is_an_error() {
        let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).unwrap();
        let address = listener.local_addr().unwrap();
        drop(listener);
        let refused =
            Stream::connect_tcp(address).and_then(|mut stream| wait_connected(&mut stream));
        assert_eq!(
            refused.unwrap_err().kind(),
            io::ErrorKind::ConnectionRefused
        );
    }

    #[test]
    fn a_socket_connected_to_itself_is_refused() {
        let socket = Socket::new(Domain::IPV4, socket2::Type::STREAM, None).unwrap();
        socket
            .bind(&SocketAddr::from((Ipv4Addr::LOCALHOST, 0)).into())
            .unwrap();
        let address = socket.local_addr().unwrap();
        socket.connect(&address).unwrap();
        socket.set_nonblocking(true).unwrap();
        let peer = address.as_socket().unwrap();
        let stream = Stream::tcp(TcpStream::from_std(socket.into()), peer);
        assert_eq!(
            stream.connected().unwrap_err().kind(),
            io::ErrorKind::ConnectionRefused
        );
    }

    #[test]
    fn unix_both_ways() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("s");
        let listener = std::os::unix::net::UnixListener::bind(&path).unwrap();
        let mut stream = Stream::connect_unix(&path).unwrap();
        let peer = wait_connected(&mut stream).unwrap();
        assert_eq!(peer, Peer { ip: None, port: 0 });

        let (mut other, _) = listener.accept().unwrap();
        other.write_all(b"hello").unwrap();
        let mut buffer = [0; 16];
        assert_eq!(wait_read(&mut stream, &mut buffer), 5);
        assert_eq!(stream.write(b"x").unwrap(), 1);
        stream.shutdown_write().unwrap();
        assert_eq!(other.read(&mut buffer).unwrap(), 1);
        assert_eq!(other.read(&mut buffer).unwrap(), 0);
    }

    #[test]
    fn a_missing_unix_socket_is_an_error() {
        let folder = tempfile::tempdir().unwrap();
        let error = Stream::connect_unix(&folder.path().join("none")).unwrap_err();
        assert_eq!(error.kind(), io::ErrorKind::NotFound);
    }

    #[test]
    fn mapped_addresses_print_as_ipv4() {
        let text = |address: &str| Peer::tcp(address.parse().unwrap()).ip.unwrap().to_string();
        assert_eq!(text("[::ffff:192.0.2.7]:1"), "192.0.2.7");
        assert_eq!(text("192.0.2.7:1"), "192.0.2.7");
        assert_eq!(text("[2001:db8::1]:1"), "2001:db8::1");
        assert_eq!(text("[::1]:1"), "::1");
    }

    #[test]
    fn interruptions_are_retried() {
        let mut left = 3;
        let result = uninterrupted(|| {
            left -= 1;
            if left > 0 {
                Err(io::ErrorKind::Interrupted.into())
            } else {
                Ok(42)
            }
        });
        assert_eq!(result.unwrap(), 42);
    }
}
