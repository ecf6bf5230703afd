//! Listening sockets that the service manager has made (socket activation): `LISTEN_FDS`, `LISTEN_PID`
//! and `LISTEN_FDNAMES`.
//!
//! They are the whole process's, as descriptors are. A listener of the same address takes one over
//! instead of making its own; when it closes, the next one may. So one stays here for as long as
//! the process lives, and what a listener has is a duplicate: a closed listener's clients wait for the next
//! listener, or for the next process, as they do with every socket that systemd holds.

use std::io;
use std::net::{self, SocketAddr};
use std::os::unix::net as unix;
use std::path::Path;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError, Weak};

use listenfd::ListenFd;
use socket2::Socket;

static SOCKETS: Mutex<Vec<Inherited>> = Mutex::new(Vec::new());

/// A socket that was handed over.
struct Inherited {
    socket: Socket,
    /// As the service manager calls it.
    name: String,
    taken: Weak<Taken>,
}

/// The right to the socket: a listener has it while it lives.
#[derive(Debug)]
pub struct Taken;

/// Takes the descriptors over that were handed to this process. To be called once, and before there are
/// threads, since it changes the environment: programs that scripts start are not to believe that
/// these are theirs.
pub fn inherit_sockets() {
    // Without this variable they may be meant for another process.
    if std::env::var_os("LISTEN_PID").is_none() {
        return;
    }
    let mut descriptors = ListenFd::from_env();
    let names = std::env::var("LISTEN_FDNAMES").unwrap_or_default();
    let mut names = names.split(':');
    for index in 0..descriptors.len() {
        let name = names.next().unwrap_or_default();
        match listening(&mut descriptors, index) {
            Ok(socket) => sockets().push(Inherited {
                socket,
                name: name.to_owned(),
                taken: Weak::new(),
            }),
            Err(error) => log::warn!(
                "the service manager's descriptor {index} ({name}) is of no use: {error}"
            ),
        }
    }
}

/// The socket that listens on this TCP address.
pub(super) fn tcp(address: SocketAddr) -> Option<io::Result<(net::TcpListener, Arc<Taken>)>> {
    take(|socket| {
        let own = socket.local_addr().ok().and_then(|own| own.as_socket());
        own.is_some_and(|own| (own.ip(), own.port()) == (address.ip(), address.port()))
    })
}

/// The socket that listens on this path.
pub(super) fn unix(path: &Path) -> Option<io::Result<(unix::UnixListener, Arc<Taken>)>> {
    let path = std::path::absolute(path).ok()?;
    take(|socket| {
        let own = socket.local_addr().ok();
        own.is_some_and(|own| own.as_pathname() == Some(&path))
    })
}

/// The addresses on which nothing listens.
pub fn unused_sockets() -> Vec<String> {
    let sockets = sockets();
    let unused = sockets
        .iter()
        .filter(|inherited| inherited.taken.strong_count() == 0);
    unused
        .map(|inherited| {
            let address = inherited.socket.local_addr().ok();
            let tcp = address.as_ref().and_then(|address| address.as_socket());
            let path = address.as_ref().and_then(|address| address.as_pathname());
            let shown = match (tcp, path) {
                (Some(tcp), _) => tcp.to_string(),
                (_, Some(path)) => path.display().to_string(),
                _ => "a socket without a name".to_owned(),
            };
            format!("{shown} ({})", inherited.name)
        })
        .collect()
}

fn take<T: From<Socket>>(fits: impl Fn(&Socket) -> bool) -> Option<io::Result<(T, Arc<Taken>)>> {
    let mut sockets = sockets();
    let mut free = sockets
        .iter_mut()
        .filter(|inherited| inherited.taken.strong_count() == 0);
    let inherited = free.find(|inherited| fits(&inherited.socket))?;
    let taken = Arc::new(Taken);
    inherited.taken = Arc::downgrade(&taken);
    let duplicate = inherited.socket.try_clone();
    Some(duplicate.map(|socket| (socket.into(), taken)))
}

fn listening(descriptors: &mut ListenFd, index: usize) -> io::Result<Socket> {
    let socket = match descriptors.take_tcp_listener(index) {
        Ok(Some(listener)) => Socket::from(listener),
        _ => match descriptors.take_unix_listener(index)? {
            Some(listener) => Socket::from(listener),
            None => return Err(io::ErrorKind::NotFound.into()),
        },
    };
    #[cfg(target_os = "linux")]
    if !socket.is_listener()? {
        return Err(io::Error::other("it does not listen"));
    }
    socket.set_nonblocking(true)?;
    Ok(socket)
}

fn sockets() -> MutexGuard<'static, Vec<Inherited>> {
    SOCKETS.lock().unwrap_or_else(PoisonError::into_inner)
}
