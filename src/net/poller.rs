//! Waiting for many sockets at once.

use std::fmt;
use std::io;
use std::sync::Arc;
use std::time::Duration;

use mio::event::Source;
use mio::{Events, Interest, Poll, Registry, Token, Waker};

/// The token reserved for [`WakeHandle`].
pub const WAKE_TOKEN: usize = usize::MAX;

/// How many events one wait can return. Further ones come with the next wait.
const EVENTS: usize = 1024;

/// What has become possible on one socket since it was last reported.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Ready {
    /// The token that the socket was registered with.
    pub token: usize,
    /// There is something to read: bytes, an end, an error, or a connection to accept.
    pub readable: bool,
    /// Writing is worth a try; on a connecting socket, the attempt is over.
    pub writable: bool,
    /// The far end will send nothing more. Bytes may still be waiting to be read.
    pub read_closed: bool,
    /// The socket has failed; the next read or [`take_error`](super::Stream::take_error) says how.
    pub error: bool,
}

/// Waits until one of many sockets can go on.
///
/// Edge-triggered: a state is reported when it begins, not for as long as it lasts.
pub struct Poller {
    poll: Poll,
    events: Events,
    waker: Arc<Waker>,
}

impl Poller {
    /// A poller that watches nothing yet.
    pub fn new() -> io::Result<Self> {
        let poll = Poll::new()?;
        let waker = Arc::new(Waker::new(poll.registry(), Token(WAKE_TOKEN))?);
        Ok(Poller {
            poll,
            events: Events::with_capacity(EVENTS),
            waker,
        })
    }

    /// Watches a socket under `token`, in both directions.
    ///
    /// The interest never changes: with edge-triggered readiness that would gain nothing, and each
    /// change would cost a system call.
    pub fn register(&self, source: &mut impl Source, token: usize) -> io::Result<()> {
        if token == WAKE_TOKEN {
            return Err(io::Error::new(
                io::ErrorKind::InvalidInput,
                "this token is the waker's",
            ));
        }
        let both = Interest::READABLE | Interest::WRITABLE;
        self.poll.registry().register(source, Token(token), both)
    }

    /// Stops watching a socket. Not needed for one that is dropped.
    ///
    /// Events that an earlier wait returned may still name it.
    pub fn deregister(&self, source: &mut impl Source) -> io::Result<()> {
        self.poll.registry().deregister(source)
    }

    /// Waits for events, for `timeout` at most (`None`: without limit), and replaces the contents
    /// of `ready` with them. Returns whether a [`WakeHandle`] was used.
    ///
    /// It may return early and without events, such as when a signal interrupts it: the caller
    /// checks its timers anyway, and the signal may be one that it handles.
    pub fn wait(&mut self, timeout: Option<Duration>, ready: &mut Vec<Ready>) -> io::Result<bool> {
        ready.clear();
        match self.poll.poll(&mut self.events, timeout) {
            Ok(()) => {}
            Err(error) if error.kind() == io::ErrorKind::Interrupted => return Ok(false),
            Err(error) => return Err(error),
        }

        let mut woken = false;
        for event in &self.events {
            let token = event.token().0;
            if token == WAKE_TOKEN {
                woken = true;
                continue;
            }
            ready.push(Ready {
                token,
                readable: event.is_readable(),
                writable: event.is_writable(),
                read_closed: event.is_read_closed(),
                error: event.is_error(),
            });
        }
        Ok(woken)
    }

    /// Registers sockets from other threads.
    pub fn registrar(&self) -> io::Result<Registrar> {
        let registry = self.poll.registry().try_clone()?;
        Ok(Registrar { registry })
    }

    /// A handle with which other threads end a wait.
    pub fn wake_handle(&self) -> WakeHandle {
        WakeHandle {
            waker: Arc::clone(&self.waker),
        }
    }
}

impl fmt::Debug for Poller {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Poller").finish_non_exhaustive()
    }
}

/// Registers sockets with its [`Poller`] from anywhere.
#[derive(Debug)]
pub struct Registrar {
    registry: Registry,
}

impl Registrar {
    /// As [`Poller::register`] does.
    pub fn register(&self, source: &mut impl Source, token: usize) -> io::Result<()> {
        let both = Interest::READABLE | Interest::WRITABLE;
        self.registry.register(source, Token(token), both)
    }

    /// As [`Poller::deregister`] does.
    pub fn deregister(&self, source: &mut impl Source) -> io::Result<()> {
        self.registry.deregister(source)
    }
}

/// Ends a wait of its [`Poller`] from anywhere.
#[derive(Debug, Clone)]
pub struct WakeHandle {
    waker: Arc<Waker>,
}

impl WakeHandle {
    /// Makes the current wait, or else the next one, return at once. Several calls may cause a
    /// single return.
    pub fn wake(&self) -> io::Result<()> {
        self.waker.wake()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::io::Write;
    use std::time::Instant;

    const LONG: Option<Duration> = Some(Duration::from_secs(10));
    const NOW: Option<Duration> = Some(Duration::ZERO);

    fn pair() -> (mio::net::UnixStream, std::os::unix::net::UnixStream) {
        let (watched, other) = std::os::unix::net::UnixStream::pair().unwrap();
        watched.set_nonblocking(true).unwrap();
        (mio::net::UnixStream::from_std(watched), other)
    }

    #[test]
    fn reports_an_edge_once() {
        let mut poller = Poller::new().unwrap();
        let (mut watched, mut other) = pair();
        poller.register(&mut watched, 7).unwrap();
        let mut ready = Vec::new();

        assert!(!poller.wait(LONG, &mut ready).unwrap());
        assert_eq!(ready.len(), 1);
        assert!(ready[0].token == 7 && ready[0].writable && !ready[0].readable);

        other.write_all(b"x").unwrap();
        poller.wait(LONG, &mut ready).unwrap();
        assert!(ready.len() == 1 && ready[0].readable && !ready[0].read_closed);
        poller.wait(NOW, &mut ready).unwrap();
        assert!(ready.is_empty());

        drop(other);
        poller.wait(LONG, &mut ready).unwrap();
        assert!(ready.len() == 1 && ready[0].readable && ready[0].read_closed);
    }

    #[test]
    fn a_deregistered_source_is_silent() {
        let mut poller = Poller::new().unwrap();
        let (mut watched, _other) = pair();
        poller.register(&mut watched, 1).unwrap();
        poller.deregister(&mut watched).unwrap();
        let mut ready = vec![Ready {
            token: 0,
            readable: true,
            writable: true,
            read_closed: false,
            error: false,
        }];
        poller.wait(NOW, &mut ready).unwrap();
        assert!(ready.is_empty(), "and what was in the list before is gone");
    }

    #[test]
    fn another_thread_can_wake_it() {
        let mut poller = Poller::new().unwrap();
        let handle = poller.wake_handle();
        let waker = std::thread::spawn(move || handle.wake());
        let mut ready = Vec::new();
        let start = Instant::now();
        while !poller.wait(LONG, &mut ready).unwrap() {}
        assert!(start.elapsed() < Duration::from_secs(10));
        assert!(ready.is_empty());
        waker.join().unwrap().unwrap();
    }

    #[test]
    fn the_wakers_token_is_taken() {
        let poller = Poller::new().unwrap();
        let (mut watched, _other) = pair();
        let error = poller.register(&mut watched, WAKE_TOKEN).unwrap_err();
        assert_eq!(error.kind(), io::ErrorKind::InvalidInput);
    }

    #[test]
    fn the_timeout_ends_it() {
        let mut poller = Poller::new().unwrap();
        let timeout = Duration::from_millis(5);
        let start = Instant::now();
        assert!(!poller.wait(Some(timeout), &mut Vec::new()).unwrap());
        // Other tests raise signals, which may end it earlier; never much later.
        assert!(start.elapsed() < Duration::from_secs(10));
    }
}
