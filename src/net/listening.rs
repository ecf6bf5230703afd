//! The sockets on which this process listens, as another process may have them that takes its place.
//!
//! They are the whole process's, whatever thread accepts clients from them. While another process
//! serves, [`accept`](super::Listener::accept) finds nobody, and the files of unix sockets stay when listeners close.

use std::io;
use std::path::PathBuf;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError, Weak};

use socket2::Socket;

static OPEN: Mutex<Vec<Weak<Open>>> = Mutex::new(Vec::new());

static ANOTHER_SERVES: AtomicBool = AtomicBool::new(false);

/// Where somebody wanted to listen.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Wanted {
    /// On an IP address, or on all, and a port, which 0 leaves to the system.
    Tcp(Option<String>, u16),
    /// On a path, which is absolute.
    Unix(PathBuf),
}

/// An open listener's socket.
#[derive(Debug)]
pub struct Open {
    /// A duplicate.
    pub(super) socket: Socket,
    /// Where it was wanted.
    pub(super) wanted: Wanted,
    /// As the service manager calls it, if it is the service manager's.
    pub(super) name: Option<String>,
}

/// Notes a listener, until what is returned is dropped.
pub(super) fn note(socket: Socket, wanted: Wanted, name: Option<String>) -> Arc<Open> {
    let open = Arc::new(Open {
        socket,
        wanted,
        name,
    });
    let mut all = all();
    all.retain(|other| other.strong_count() > 0);
    all.push(Arc::downgrade(&open));
    open
}

/// The open listeners, in the order in which they were opened.
pub(super) fn open() -> Vec<Arc<Open>> {
    all().iter().filter_map(Weak::upgrade).collect()
}

/// Whether another process serves in the place of this one.
pub fn another_serves() -> bool {
    ANOTHER_SERVES.load(Ordering::SeqCst)
}

/// From now on another process serves in the place of this one, or no longer.
pub fn let_another_serve(it_does: bool) {
    ANOTHER_SERVES.store(it_does, Ordering::SeqCst);
}

/// What a listener finds while another process serves.
pub(super) fn nobody() -> io::Error {
    io::ErrorKind::WouldBlock.into()
}

fn all() -> MutexGuard<'static, Vec<Weak<Open>>> {
    OPEN.lock().unwrap_or_else(PoisonError::into_inner)
}
