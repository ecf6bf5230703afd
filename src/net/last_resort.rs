//! Ends the program on SIGTERM and SIGINT when the loop does not.
//!
//! The loop sees a signal when it comes round. A callback that never returns (`while true do end`) keeps it
//! from that, and not everything can be interrupted. So a thread of its own waits for the same signals: after
//! the first, the loop has its time to end in order; when that is over, or at a second signal, the
//! thread ends the program.

use std::io::{self, Read, Write};
use std::os::unix::net::UnixStream;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicI32, AtomicU64, Ordering};
use std::thread;
use std::time::{Duration, Instant};

use signal_hook::SigId;
use signal_hook::consts::{SIGINT, SIGTERM};
use signal_hook::low_level;

use crate::output;

/// How long a loop that runs has for ending in order at a second signal.
const AT_ONCE: Duration = Duration::from_millis(300);

/// How long the program has, after the loop, for finalizers and last flushes.
const AFTER_THE_LOOP: Duration = Duration::from_secs(3);

/// The thread that ends the program. It stays until the program ends, or this is dropped.
#[derive(Debug)]
pub struct LastResort {
    known: Arc<Known>,
    actions: Vec<SigId>,
    rung: UnixStream,
}

/// What the loop lets the thread know.
#[derive(Debug, Default)]
struct Known {
    drain_ms: AtomicU64,
    exit_code: AtomicI32,
    /// The loop has seen the first signal.
    seen: AtomicBool,
}

impl LastResort {
    /// Starts the thread.
    ///
    /// # Errors
    /// The system allows no more descriptors or threads.
    pub fn new(drain: Duration) -> io::Result<LastResort> {
        let (bell, rung) = UnixStream::pair()?;
        // Made first, so that its drop undoes the first registration if the second one fails.
        let mut last_resort = LastResort {
            known: Arc::default(),
            actions: Vec::new(),
            rung: rung.try_clone()?,
        };
        last_resort.set_drain(drain);
        for signal in [SIGTERM, SIGINT] {
            let action = low_level::pipe::register(signal, rung.try_clone()?)?;
            last_resort.actions.push(action);
        }
        let known = last_resort.known.clone();
        thread::Builder::new()
            .name("last resort".to_owned())
            .spawn(move || watch(Bell(bell), &known))?;
        Ok(last_resort)
    }

    /// The program is told to end in another way: from now on it has as much time as after a signal.
    pub fn ring(&self) {
        if let Err(error) = (&self.rung).write_all(&[0]) {
            log::warn!("the end of the program is not watched: {error}");
        }
    }

    /// How long exchanges in flight may take after the first signal.
    pub fn set_drain(&self, drain: Duration) {
        let ms = u64::try_from(drain.as_millis()).unwrap_or(u64::MAX);
        self.known.drain_ms.store(ms, Ordering::SeqCst);
    }

    /// The program's exit code.
    pub fn set_exit_code(&self, code: i32) {
        self.known.exit_code.store(code, Ordering::SeqCst);
    }

    /// The loop has seen the first signal.
    pub fn note_seen(&self) {
        self.known.seen.store(true, Ordering::SeqCst);
    }
}

impl Drop for LastResort {
    fn drop(&mut self) {
        // The handlers have the other end of the thread's socket: it reads the end then.
        for action in self.actions.drain(..) {
            low_level::unregister(action);
        }
    }
}

/// A byte comes for each signal.
struct Bell(UnixStream);

enum Rung {
    Signal,
    /// None in this time.
    Silence,
    /// Nobody will ring any more.
    Dropped,
}

impl Bell {
    fn wait(&mut self, patience: Option<Duration>) -> Rung {
        let began = Instant::now();
        loop {
            let left = patience.map(|patience| patience.saturating_sub(began.elapsed()));
            if left.is_some_and(|left| left.is_zero()) {
                return Rung::Silence;
            }
            // (Fails for a length of zero only.)
            let read = self
                .0
                .set_read_timeout(left)
                .and_then(|()| self.0.read(&mut [0]));
            match read {
                Ok(0) => return Rung::Dropped,
                Ok(_) => return Rung::Signal,
                Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
                Err(error) if error.kind() == io::ErrorKind::WouldBlock => {}
                Err(_) => return Rung::Dropped,
            }
        }
    }
}

fn watch(mut bell: Bell, known: &Known) {
    let Rung::Signal = bell.wait(None) else {
        return;
    };
    let drain = Duration::from_millis(known.drain_ms.load(Ordering::SeqCst));
    let second = || {
        thread::sleep(AT_ONCE);
        end(known, "told to stop a second time: exiting at once")
    };
    match bell.wait(Some(drain.saturating_add(AT_ONCE))) {
        Rung::Dropped => return,
        Rung::Signal => second(),
        Rung::Silence if !known.seen.load(Ordering::SeqCst) => end(
            known,
            "told to stop, but a callback has not returned since: exiting without it",
        ),
        Rung::Silence => {}
    }
    // The loop may have seen it late, and only then begun to drain.
    match bell.wait(Some(drain.saturating_add(AFTER_THE_LOOP))) {
        Rung::Dropped => {}
        Rung::Signal => second(),
        Rung::Silence => end(
            known,
            "told to stop, but something still runs: exiting without it",
        ),
    }
}

/// Ends the process, without the handlers that C libraries have for its end: these may wait for what
/// the loop's thread holds.
fn end(known: &Known, why: &str) -> ! {
    log::warn!("{why}");
    output::flush();
    low_level::exit(known.exit_code.load(Ordering::SeqCst))
}
