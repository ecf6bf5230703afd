//! The process's signals as an event source of the loop.

use std::io::{self, Read};
use std::os::unix::net::UnixStream;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use mio::event::Source;
use mio::{Interest, Registry, Token};
use signal_hook::SigId;
use signal_hook::consts::{SIGHUP, SIGINT, SIGTERM, SIGUSR1, SIGUSR2};
use signal_hook::low_level;

/// A signal that the proxy listens to.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Signal {
    /// SIGTERM
    Term,
    /// SIGINT
    Int,
    /// SIGHUP
    Hup,
    /// SIGUSR1
    Usr1,
    /// SIGUSR2
    Usr2,
}

impl Signal {
    /// All of them, the ones that end the process first.
    pub const ALL: [Signal; 5] = [
        Signal::Term,
        Signal::Int,
        Signal::Hup,
        Signal::Usr1,
        Signal::Usr2,
    ];

    /// Its name as `kill` knows it, without the SIG: "TERM", "INT", "HUP", "USR1" or "USR2".
    pub fn name(self) -> &'static str {
        match self {
            Signal::Term => "TERM",
            Signal::Int => "INT",
            Signal::Hup => "HUP",
            Signal::Usr1 => "USR1",
            Signal::Usr2 => "USR2",
        }
    }

    fn number(self) -> i32 {
        match self {
            Signal::Term => SIGTERM,
            Signal::Int => SIGINT,
            Signal::Hup => SIGHUP,
            Signal::Usr1 => SIGUSR1,
            Signal::Usr2 => SIGUSR2,
        }
    }
}

/// Catches the signals of [`Signal::ALL`], which then no longer end the process, and becomes
/// readable when one arrives.
///
/// A handler can do next to nothing safely, so it sets a flag and writes a byte into a socket pair:
/// the byte wakes the loop, the flag tells which signal it was. Several signals of one kind between
/// two calls of [`take`](Signals::take) count as one, as everywhere on Unix.
///
/// SIGPIPE is not caught: Rust's start-up code ignores it, so that writing to a closed socket is an
/// ordinary error. A host program that is not written in Rust has to ignore it itself.
///
/// After this is dropped the signals stay caught, and are ignored.
#[derive(Debug)]
pub struct Signals {
    receiver: mio::net::UnixStream,
    flags: [(Signal, Arc<AtomicBool>); 5],
    actions: Vec<SigId>,
}

impl Signals {
    /// Starts to catch.
    pub fn new() -> io::Result<Self> {
        let (receiver, sender) = UnixStream::pair()?;
        receiver.set_nonblocking(true)?;
        // Made first, so that its drop undoes the registrations if a later one fails.
        let mut signals = Signals {
            receiver: mio::net::UnixStream::from_std(receiver),
            flags: Signal::ALL.map(|signal| (signal, Arc::default())),
            actions: Vec::new(),
        };
        for (signal, flag) in &signals.flags {
            // Actions run in the order of their registration: the flag has to be set before the
            // byte wakes the loop.
            let raise = signal_hook::flag::register(signal.number(), Arc::clone(flag))?;
            signals.actions.push(raise);
            let notify = low_level::pipe::register(signal.number(), sender.try_clone()?)?;
            signals.actions.push(notify);
        }
        Ok(signals)
    }

    /// The signals that came since the last call, each once.
    pub fn take(&mut self) -> Vec<Signal> {
        // Empty the socket before reading the flags: a signal in between then leaves a byte, which
        // costs one needless wake-up. In the other order the signal would be lost.
        let mut bytes = [0; 64];
        loop {
            match self.receiver.read(&mut bytes) {
                Ok(0) => break,
                Ok(_) => {}
                Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
                Err(_) => break,
            }
        }
        let raised = self
            .flags
            .iter()
            .filter(|(_, flag)| flag.swap(false, Ordering::SeqCst));
        raised.map(|(signal, _)| *signal).collect()
    }
}

impl Drop for Signals {
    fn drop(&mut self) {
        for action in self.actions.drain(..) {
            low_level::unregister(action);
        }
    }
}

/// Registered for reading only, whatever interest is asked for: nothing is written here, and an
/// event for writability would only wake the loop.
impl Source for Signals {
    fn register(&mut self, registry: &Registry, token: Token, _: Interest) -> io::Result<()> {
        self.receiver.register(registry, token, Interest::READABLE)
    }

    fn reregister(&mut self, registry: &Registry, token: Token, _: Interest) -> io::Result<()> {
        self.receiver
            .reregister(registry, token, Interest::READABLE)
    }

    fn deregister(&mut self, registry: &Registry) -> io::Result<()> {
        self.receiver.deregister(registry)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::net::Poller;
    use std::time::{Duration, Instant};

    /// One test for everything, because signals belong to the whole process, and tests run in
    /// parallel in it.
    #[test]
    fn wakes_the_loop_and_says_which() {
        let mut poller = Poller::new().unwrap();
        let mut signals = Signals::new().unwrap();
        poller.register(&mut signals, 3).unwrap();
        assert_eq!(signals.take(), []);

        // Raised twice, reported once.
        for signal in [Signal::Usr2, Signal::Hup, Signal::Hup] {
            low_level::raise(signal.number()).unwrap();
        }
        let mut ready = Vec::new();
        let deadline = Instant::now() + Duration::from_secs(10);
        while ready.is_empty() {
            assert!(Instant::now() < deadline);
            poller
                .wait(Some(Duration::from_secs(1)), &mut ready)
                .unwrap();
        }
        assert!(ready[0].token == 3 && ready[0].readable);
        assert_eq!(signals.take(), [Signal::Hup, Signal::Usr2]);
        assert_eq!(signals.take(), []);

        for signal in Signal::ALL {
            low_level::raise(signal.number()).unwrap();
        }
        assert_eq!(signals.take(), Signal::ALL);

        // After the drop a signal still does not end the process.
        drop(signals);
        low_level::raise(SIGUSR1).unwrap();
    }

    #[test]
    fn names() {
        assert_eq!(
            Signal::ALL.map(Signal::name),
            ["TERM", "INT", "HUP", "USR1", "USR2"]
        );
    }
}
