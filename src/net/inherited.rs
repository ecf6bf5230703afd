//! Listening sockets that this process has not made: the service manager's (socket activation: `LISTEN_FDS`,
//! `LISTEN_PID` and `LISTEN_FDNAMES`), and those of the process whose place it takes.
//!
//! They are the whole process's, as descriptors are. A listener of the same address takes one over
//! instead of making its own. The service manager's stay here for as long as the process lives, and what a listener
//! has is a duplicate: a closed listener's clients wait for the next listener, or for the next process, as
//! they do with every socket that systemd holds. Those of another process are the listener's that takes them, and those that none
//! has taken when all startfiles have run are closed.

use std::io;
use std::net::{self, SocketAddr};
use std::os::fd::OwnedFd;
use std::os::unix::net as unix;
use std::path::Path;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError, Weak};

use listenfd::ListenFd;
use socket2::Socket;

use super::listening::{self, Open, Wanted};

static SOCKETS: Mutex<Vec<Inherited>> = Mutex::new(Vec::new());

/// A socket that was handed over.
struct Inherited {
    socket: Socket,
    from: From,
}

enum From {
    /// The service manager, which calls it so.
    Manager { name: String, taken: Weak<Taken> },
    /// The process before, in which somebody wanted to listen there.
    Process(Wanted),
}

/// The right to a socket of the service manager's: a listener has it while it lives.
#[derive(Debug)]
pub struct Taken;

/// A socket for a listener.
pub(super) struct Found<T> {
    pub socket: T,
    /// It is the service manager's, which calls it so.
    pub manager: Option<(Arc<Taken>, String)>,
}

impl Inherited {
    fn is_free(&self) -> bool {
        match &self.from {
            From::Manager { taken, .. } => taken.strong_count() == 0,
            From::Process(_) => true,
        }
    }
}

/// A listening socket on its way to another process.
#[derive(Debug)]
pub struct HandedOver {
    /// The socket.
    pub socket: OwnedFd,
    /// Where somebody wants to listen on it.
    pub wanted: Option<Wanted>,
    /// As the service manager calls it, if it is the service manager's.
    pub name: Option<String>,
}

/// Takes the descriptors over that the service manager has handed to this process. To be called once, and before
/// there are threads, since it changes the environment: programs that scripts start are not to believe that
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
                from: From::Manager {
                    name: name.to_owned(),
                    taken: Weak::new(),
                },
            }),
            Err(error) => log::warn!(
                "the service manager's descriptor {index} ({name}) is of no use: {error}"
            ),
        }
    }
}

/// Takes a socket over from the process whose place this one takes.
///
/// # Errors
/// It does not listen.
pub fn take_over_socket(handed_over: HandedOver) -> io::Result<()> {
    let socket = Socket::from(handed_over.socket);
    check(&socket)?;
    let from = match (handed_over.name, handed_over.wanted) {
        (Some(name), _) => From::Manager {
            name,
            taken: Weak::new(),
        },
        (None, Some(wanted)) => From::Process(wanted),
        (None, None) => return Err(io::ErrorKind::InvalidInput.into()),
    };
    sockets().push(Inherited { socket, from });
    Ok(())
}

/// All listening sockets of this process, for the one that takes its place.
///
/// # Errors
/// There are no descriptors left.
pub fn sockets_to_hand_over() -> io::Result<Vec<HandedOver>> {
    let mut all = Vec::new();
    for inherited in sockets().iter().filter(|inherited| inherited.is_free()) {
        if let From::Manager { name, .. } = &inherited.from {
            all.push(HandedOver {
                socket: inherited.socket.try_clone()?.into(),
                wanted: None,
                name: Some(name.clone()),
            });
        }
    }
    for open in listening::open() {
        let Open {
            socket,
            wanted,
            name,
        } = &*open;
        all.push(HandedOver {
            socket: socket.try_clone()?.into(),
            wanted: Some(wanted.clone()),
            name: name.clone(),
        });
    }
    Ok(all)
}

/// Closes the sockets of the process before on which nothing listens. Returns their addresses.
pub fn close_unused_sockets() -> Vec<String> {
    let is_unused = |inherited: &mut Inherited| matches!(inherited.from, From::Process(_));
    let unused = sockets().extract_if(.., is_unused).collect::<Vec<_>>();
    unused
        .iter()
        .map(|inherited| shown(&inherited.socket))
        .collect()
}

/// The socket that listens on this TCP address. Port 0 is any port that the process before had got for it.
pub(super) fn tcp(
    address: SocketAddr,
    wanted: &Wanted,
) -> Option<io::Result<Found<net::TcpListener>>> {
    take(|inherited| match &inherited.from {
        From::Process(before) if address.port() == 0 => before == wanted,
        _ => {
            let own = inherited.socket.local_addr().ok();
            let own = own.and_then(|own| own.as_socket());
            own.is_some_and(|own| (own.ip(), own.port()) == (address.ip(), address.port()))
        }
    })
}

/// The socket that listens on this path.
pub(super) fn unix(path: &Path) -> Option<io::Result<Found<unix::UnixListener>>> {
    let path = std::path::absolute(path).ok()?;
    take(|inherited| {
        let own = inherited.socket.local_addr().ok();
        own.is_some_and(|own| own.as_pathname() == Some(&path))
            || matches!(&inherited.from, From::Process(Wanted::Unix(own)) if *own == path)
    })
}

/// The service manager's addresses on which nothing listens.
pub fn unused_sockets() -> Vec<String> {
    let sockets = sockets();
    let unused = sockets.iter().filter(|inherited| inherited.is_free());
    unused
        .filter_map(|inherited| match &inherited.from {
            From::Manager { name, .. } => Some(format!("{} ({name})", shown(&inherited.socket))),
            From::Process(_) => None,
        })
        .collect()
}

fn shown(socket: &Socket) -> String {
    let address = socket.local_addr().ok();
    let tcp = address.as_ref().and_then(|address| address.as_socket());
    let path = address.as_ref().and_then(|address| address.as_pathname());
    match (tcp, path) {
        (Some(tcp), _) => tcp.to_string(),
        (_, Some(path)) => path.display().to_string(),
        _ => "a socket without a name".to_owned(),
    }
}

fn take<T>(fits: impl Fn(&Inherited) -> bool) -> Option<io::Result<Found<T>>>
where
    T: std::convert::From<Socket>,
{
    let mut sockets = sockets();
    let found = |inherited: &Inherited| inherited.is_free() && fits(inherited);
    let index = sockets.iter().position(found)?;
    let inherited = sockets.get_mut(index)?;
    if let From::Manager { name, taken } = &mut inherited.from {
        let right = Arc::new(Taken);
        *taken = Arc::downgrade(&right);
        let manager = Some((right, name.clone()));
        let duplicate = inherited.socket.try_clone();
        return Some(duplicate.map(|socket| Found {
            socket: socket.into(),
            manager,
        }));
    }
    let socket = sockets.remove(index).socket.into();
    Some(Ok(Found {
        socket,
        manager: None,
    }))
}

fn listening(descriptors: &mut ListenFd, index: usize) -> io::Result<Socket> {
    let socket = match descriptors.take_tcp_listener(index) {
        Ok(Some(listener)) => Socket::from(listener),
        _ => match descriptors.take_unix_listener(index)? {
            Some(listener) => Socket::from(listener),
            None => return Err(io::ErrorKind::NotFound.into()),
        },
    };
    check(&socket)?;
    Ok(socket)
}

fn check(socket: &Socket) -> io::Result<()> {
    #[cfg(target_os = "linux")]
    if !socket.is_listener()? {
        return Err(io::Error::other("it does not listen"));
    }
    socket.set_nonblocking(true)
}

fn sockets() -> MutexGuard<'static, Vec<Inherited>> {
    SOCKETS.lock().unwrap_or_else(PoisonError::into_inner)
}
