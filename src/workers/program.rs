//! What there is one of per program, and the life of its workers.

use std::cell::Cell;
use std::fmt;
use std::io;
use std::num::NonZero;
use std::sync::atomic::{AtomicBool, AtomicU32, AtomicUsize, Ordering};
use std::sync::{Arc, Condvar, Mutex, OnceLock, PoisonError};
use std::thread;
use std::time::Duration;

use super::acceptor::{Acceptor, hand_over};
use super::channels::Channels;
use super::claims::Claims;
use super::commons::Commons;
use super::desks::{Desk, Desks};
use super::listeners::Listeners;
use super::mailbox::{HandedOver, Message, Stop};
use super::once::Once;
use super::pulse::{Patience, Pulse};
use super::rollouts::Rollouts;
use super::room::Room;
use super::shared::Dictionaries;
use super::upgrade::{Arrivals, Executable, Predecessor, UpgradeError, Upgrades};
use super::{MAX_WORKERS, SERIAL_BITS, lock};
use crate::net::LastResort;

/// How many connections the process before may still make without that their numbers are those of this one's.
const APART: u32 = 1 << 20;

thread_local! {
    /// The number of the worker that this thread is.
    static CURRENT: Cell<Option<usize>> = const { Cell::new(None) };
}

/// The worker that this thread is, if its program has several.
pub fn current() -> Option<usize> {
    CURRENT.get()
}

/// How many workers use all processors that this process may use, as far as the system limits it: by an
/// affinity or by a control group's quota.
pub fn parallelism() -> usize {
    let processors = thread::available_parallelism().map_or(1, NonZero::get);
    processors.min(MAX_WORKERS)
}

/// Who says how many workers there are.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Setting {
    /// Nobody: there is one.
    Alone,
    /// The command line has said it.
    CommandLine,
    /// The startfile may say it.
    Open,
    /// It cannot be said any more.
    Closed,
}

/// Why the number of workers cannot be set.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum CountError {
    /// The loop is one of a program that has not been made for several.
    Alone,
    /// There is a listener, or there are other workers already.
    Late,
}

impl fmt::Display for CountError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            CountError::Alone => "this program has one loop only",
            CountError::Late => {
                "the number of workers is to be set in the startfile, before the first listener"
            }
        })
    }
}

/// How far a worker is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Phase {
    /// It has not yet run its startfile.
    Starting,
    Serving,
    Ended,
}

#[derive(Debug)]
struct Crew {
    setting: Setting,
    phases: Vec<Phase>,
    /// The first failure of a worker while it was starting.
    failure: Option<String>,
    /// How many workers there were to be, once they serve.
    begun: Option<usize>,
}

/// What a worker's thread does, given the worker's number.
struct Body(Box<dyn Fn(usize) -> Result<(), String> + Send + Sync>);

impl fmt::Debug for Body {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Body")
    }
}

/// What there is one of per program.
#[derive(Debug)]
pub struct Program {
    pub(super) desks: Arc<Desks>,
    pub(super) room: Arc<Room>,
    pub(super) claims: Arc<Claims>,
    pub(super) channels: Channels,
    pub(super) once: Once,
    pub(super) rollouts: Rollouts,
    pub(super) dictionaries: Dictionaries,
    pub(super) commons: Commons,
    count: AtomicUsize,
    crew: Mutex<Crew>,
    /// How workers begin.
    body: OnceLock<Body>,
    /// A worker's phase has changed.
    changed: Condvar,
    /// Accepts clients where there are several workers, from the first listener on.
    acceptor: Mutex<Option<Acceptor>>,
    patience: Mutex<Patience>,
    last_resort: OnceLock<LastResort>,
    /// Those that this process conducts.
    pub(super) upgrades: Upgrades,
    /// The numbers of connections are higher than this one, the bits for their workers left out.
    pub(super) first_serial: OnceLock<u32>,
    /// The highest number of a connection so far.
    pub(super) last_serial: AtomicU32,
    /// The connections of the process whose place this one has taken.
    arrivals: OnceLock<Arc<Arrivals>>,
    is_stopping: AtomicBool,
    /// A worker has ended by a failure.
    has_failed: AtomicBool,
}

impl Program {
    /// One loop, which cannot have others beside it.
    pub fn alone() -> Arc<Program> {
        Program::with(1, Setting::Alone)
    }

    /// So many workers, or as many as the startfile says, which is one if it does not say.
    pub fn new(count: Option<usize>) -> Arc<Program> {
        match count {
            Some(count) => Program::with(count.clamp(1, MAX_WORKERS), Setting::CommandLine),
            None => Program::with(1, Setting::Open),
        }
    }

    fn with(count: usize, setting: Setting) -> Arc<Program> {
        Arc::new(Program {
            desks: Arc::default(),
            room: Arc::default(),
            claims: Arc::default(),
            channels: Channels::default(),
            once: Once::default(),
            rollouts: Rollouts::default(),
            dictionaries: Dictionaries::default(),
            commons: Commons::default(),
            count: AtomicUsize::new(count),
            crew: Mutex::new(Crew {
                setting,
                phases: vec![Phase::Serving],
                failure: None,
                begun: None,
            }),
            body: OnceLock::new(),
            changed: Condvar::new(),
            acceptor: Mutex::default(),
            patience: Mutex::default(),
            last_resort: OnceLock::new(),
            upgrades: Upgrades::default(),
            first_serial: OnceLock::new(),
            last_serial: AtomicU32::new(0),
            arrivals: OnceLock::new(),
            is_stopping: AtomicBool::new(false),
            has_failed: AtomicBool::new(false),
        })
    }

    /// How many workers there are, or will be once worker 1 has run its startfile.
    pub fn count(&self) -> usize {
        self.count.load(Ordering::Relaxed)
    }

    /// Sets how many there are to be. What the command line says is not changed.
    ///
    /// # Errors
    /// It is too late, or this program has no workers.
    pub fn set_count(&self, count: usize) -> Result<(), CountError> {
        let crew = lock(&self.crew);
        match crew.setting {
            _ if count == self.count() => Ok(()),
            Setting::CommandLine => {
                log::info!("{} workers, as the command line says", self.count());
                Ok(())
            }
            Setting::Open => {
                self.count
                    .store(count.clamp(1, MAX_WORKERS), Ordering::Relaxed);
                Ok(())
            }
            Setting::Alone => Err(CountError::Alone),
            Setting::Closed => Err(CountError::Late),
        }
    }

    /// The number of workers is needed now, and stays.
    pub(super) fn settle_count(&self) -> usize {
        let crew = &mut *lock(&self.crew);
        if crew.setting == Setting::Open {
            crew.setting = Setting::Closed;
        }
        self.count()
    }

    /// Starts the other workers: `body` runs on a thread for each, and says by [`serves`](Self::serves) that it has run
    /// its startfile. Returns when all have, and lets them have clients.
    ///
    /// # Errors
    /// The first failure of any of them.
    pub fn start_others(
        self: &Arc<Self>,
        body: impl Fn(usize) -> Result<(), String> + Send + Sync + 'static,
    ) -> Result<(), String> {
        let count = self.settle_count();
        if count == 1 {
            return Ok(());
        }
        CURRENT.set(Some(1));
        lock(&self.crew).phases.resize(count, Phase::Starting);
        // (They are started once.)
        let _ = self.body.set(Body(Box::new(body)));
        for number in 2..=count {
            if let Err(error) = self.spawn(number) {
                self.close_listeners();
                return Err(format!("worker {number} cannot be started: {error}"));
            }
        }
        self.wait(|crew| crew.failure.is_some() || !crew.phases.contains(&Phase::Starting));
        let failure = lock(&self.crew).failure.take();
        if let Some(failure) = failure {
            self.close_listeners();
            return Err(failure);
        }
        lock(&self.crew).begun = Some(count);
        if let Some(acceptor) = &*lock(&self.acceptor) {
            acceptor.begin();
        }
        Ok(())
    }

    /// Starts the thread of a worker.
    fn spawn(self: &Arc<Self>, number: usize) -> io::Result<()> {
        let program = self.clone();
        let thread = thread::Builder::new().name(format!("worker {number}"));
        thread.spawn(move || {
            CURRENT.set(Some(number));
            let mut life = WorkersLife {
                program: program.clone(),
                number,
                failure: Some("it panicked, which is a bug".to_owned()),
            };
            life.failure = program.body.get().and_then(|body| body.0(number).err());
        })?;
        Ok(())
    }

    /// Starts another worker, if fewer take new clients than there were to be. What one that hangs has cannot be taken away
    /// from it, so there are more then; but no more than twice as many as there were to be.
    fn start_another(self: &Arc<Self>) {
        let number = {
            let crew = &mut *lock(&self.crew);
            let Some(wanted) = crew.begun.filter(|_| !self.is_stopping()) else {
                return;
            };
            let takes_clients = |(number, phase): (usize, &Phase)| {
                let is_relieved = |desk: &Desk| desk.is_relieved.load(Ordering::SeqCst);
                *phase != Phase::Ended && !self.desks.of(number).is_some_and(is_relieved)
            };
            let serving = (1..).zip(&crew.phases).filter(|each| takes_clients(*each));
            if serving.count() >= wanted {
                return;
            }
            if crew.phases.len() >= (2 * wanted).min(MAX_WORKERS) {
                log::warn!(
                    "no other worker is started: there have been {} already",
                    crew.phases.len()
                );
                return;
            }
            crew.phases.push(Phase::Starting);
            self.count.store(crew.phases.len(), Ordering::Relaxed);
            crew.phases.len()
        };
        log::info!("worker {number} is started in its place");
        if let Err(error) = self.spawn(number) {
            log::error!("worker {number} cannot be started: {error}");
            self.set_phase(number, Phase::Ended);
        }
    }

    /// The worker has run its startfile.
    pub fn serves(&self, number: usize) {
        self.set_phase(number, Phase::Serving);
    }

    /// The worker's loop has come to its end, or it has failed. Its part goes to others, unless all are ending.
    pub fn ended(&self, number: usize, failure: Option<String>) {
        if let Some(failure) = failure {
            let crew = &mut *lock(&self.crew);
            let phase = crew.phases.get(number.saturating_sub(1));
            if phase == Some(&Phase::Starting) && crew.begun.is_none() {
                crew.failure.get_or_insert(failure);
            } else {
                log::error!("worker {number} has ended: {failure}");
                self.has_failed.store(true, Ordering::SeqCst);
            }
        }
        if let Some(desk) = self.desks.of(number) {
            desk.mailbox.close();
            self.give_to_others(number);
        }
        self.channels.leave(number);
        self.rollouts.leave(&self.desks, number);
        if !self.is_stopping() {
            self.once.leave(&self.desks, number);
        }
        self.set_phase(number, Phase::Ended);
    }

    /// Hands the clients that wait for a worker over to others.
    pub(super) fn give_to_others(&self, number: usize) {
        let Some(desk) = self.desks.of(number) else {
            return;
        };
        for client in desk.mailbox.take_clients() {
            self.hand_over(client);
        }
    }

    /// Gives a client to a worker that listens where it came by.
    pub(super) fn hand_over(&self, client: HandedOver) {
        if let Some(acceptor) = &*lock(&self.acceptor) {
            hand_over(&acceptor.listeners, &self.desks, client);
        }
    }

    /// Waits until worker 1 is the only one left.
    pub fn wait_for_others(&self) {
        let ended = |phase: &Phase| *phase == Phase::Ended;
        self.wait(|crew| crew.phases.iter().skip(1).all(ended));
    }

    /// Tells all workers but this one to end.
    pub(super) fn stop_others(&self, number: usize, stop: Stop) {
        self.is_stopping.store(true, Ordering::SeqCst);
        for other in (1..=self.count()).filter(|other| *other != number) {
            if self.desks.deliver(other, Message::Stop(stop)).is_err() {
                log::debug!("worker {other} has ended already");
            }
        }
    }

    /// What ends the program if its loops do not, where that is wanted.
    pub(super) fn last_resort(&self) -> Option<&LastResort> {
        self.last_resort.get()
    }

    /// Sets what ends the program if its loops do not.
    pub(super) fn set_last_resort(&self, last_resort: LastResort) {
        // (A second one is dropped, and does nothing.)
        let _ = self.last_resort.set(last_resort);
    }

    /// Lets this program be upgraded.
    pub fn set_executable(&self, executable: Executable) {
        self.upgrades.set_executable(executable);
    }

    /// Begins an upgrade.
    pub(super) fn begin_upgrade(self: &Arc<Self>) -> Result<(), UpgradeError> {
        self.upgrades.begin(self.clone())
    }

    /// All workers have run their startfiles: this process serves from now on in the place of the one before.
    ///
    /// # Errors
    /// That one does not let it.
    pub fn take_over(self: &Arc<Self>, predecessor: Predecessor) -> io::Result<()> {
        let workers: Arc<dyn super::upgrade::Workforce> = self.clone();
        let arrivals = predecessor.take_over(&workers)?;
        // (A program has one predecessor.)
        let _ = self.arrivals.set(arrivals);
        Ok(())
    }

    /// Connections of this process have other numbers than those of the one before. To be called before there are any.
    pub fn number_after(&self, predecessor: &Predecessor) {
        let last = predecessor.last_serial().wrapping_add(APART) & ((1 << SERIAL_BITS) - 1);
        // (A program has one predecessor.)
        let _ = self.first_serial.set(last);
    }

    /// The connections of the process before, if there is one.
    pub(super) fn arrivals(&self) -> Option<&Arc<Arrivals>> {
        self.arrivals.get()
    }

    /// The workers have ended: an upgrade that has not come far ends, too.
    pub fn end_upgrade(&self) {
        self.upgrades.end();
        if let Some(arrivals) = self.arrivals() {
            arrivals.leave();
        }
    }

    /// Clients that have come meanwhile were not seen.
    pub(super) fn accept_again(&self) {
        if let Some(acceptor) = &*lock(&self.acceptor) {
            acceptor.accept_again();
        }
    }

    /// When the watchdog does what.
    pub fn patience(&self) -> Patience {
        *lock(&self.patience)
    }

    /// Says when the watchdog does what.
    pub(super) fn set_patience(&self, patience: Patience) {
        *lock(&self.patience) = patience;
    }

    /// Whether the loop of this worker turns.
    pub(super) fn pulse(&self, number: usize) -> Option<&Pulse> {
        self.desks.of(number).map(|desk| &desk.pulse)
    }

    /// Whether the loops of all workers have turned of late, but for those that were relieved.
    pub(super) fn turns(&self, limit: Duration) -> bool {
        let mut some = false;
        for number in 1..=self.count() {
            let Some(desk) = self.desks.of(number) else {
                continue;
            };
            if desk.is_relieved.load(Ordering::SeqCst) {
                continue;
            }
            if desk.pulse.busy_for().is_some_and(|busy| busy >= limit) {
                return false;
            }
            some = true;
        }
        some
    }

    /// From now on new clients go to other workers, if there are any, and those that wait for this one, and another worker is
    /// started; or no longer.
    pub(super) fn relieve(self: &Arc<Self>, number: usize, is_relieved: bool) {
        let Some(desk) = self.desks.of(number) else {
            return;
        };
        if self.count() == 1 || desk.is_relieved.swap(is_relieved, Ordering::SeqCst) == is_relieved
        {
            return;
        }
        match is_relieved {
            true => {
                log::warn!("worker {number} is relieved: new clients go to others");
                self.give_to_others(number);
                self.start_another();
            }
            false => log::info!("worker {number} gets clients again"),
        }
    }

    /// Whether any worker was told to end.
    pub fn is_stopping(&self) -> bool {
        self.is_stopping.load(Ordering::SeqCst)
    }

    /// Whether a worker has ended by a failure.
    pub fn has_failed(&self) -> bool {
        self.has_failed.load(Ordering::SeqCst)
    }

    /// Where several workers listen.
    pub(super) fn listeners(&self) -> io::Result<Arc<Listeners>> {
        let acceptor = &mut *lock(&self.acceptor);
        let acceptor = match acceptor {
            Some(acceptor) => acceptor,
            None => {
                let started = Acceptor::start(self.desks.clone())?;
                let crew = lock(&self.crew);
                if crew.phases.len() == self.count() && !crew.phases.contains(&Phase::Starting) {
                    started.begin();
                }
                acceptor.insert(started)
            }
        };
        Ok(acceptor.listeners.clone())
    }

    fn close_listeners(&self) {
        if let Some(acceptor) = &*lock(&self.acceptor) {
            acceptor.listeners.close();
        }
    }

    fn set_phase(&self, number: usize, phase: Phase) {
        let crew = &mut *lock(&self.crew);
        if let Some(known) = crew.phases.get_mut(number.saturating_sub(1)) {
            *known = phase;
        }
        self.changed.notify_all();
    }

    fn wait(&self, until: impl Fn(&Crew) -> bool) {
        let mut crew = lock(&self.crew);
        while !until(&crew) {
            crew = self
                .changed
                .wait(crew)
                .unwrap_or_else(PoisonError::into_inner);
        }
    }
}

/// A worker's thread: when this is dropped, also by a panic, the worker has ended.
struct WorkersLife {
    program: Arc<Program>,
    number: usize,
    failure: Option<String>,
}

impl Drop for WorkersLife {
    fn drop(&mut self) {
        self.program.ended(self.number, self.failure.take());
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn who_says_how_many_there_are() {
        let program = Program::new(Some(3));
        assert_eq!((program.set_count(2), program.count()), (Ok(()), 3));
        assert_eq!(Program::alone().set_count(2), Err(CountError::Alone));
        assert_eq!(Program::alone().set_count(1), Ok(()));
        let program = Program::new(None);
        assert_eq!((program.set_count(2), program.count()), (Ok(()), 2));
        assert_eq!(program.set_count(4), Ok(()));
        assert_eq!(program.settle_count(), 4);
        assert_eq!(program.set_count(4), Ok(()), "as each worker says");
        assert_eq!(program.set_count(2), Err(CountError::Late));
        assert!((1..=MAX_WORKERS).contains(&parallelism()));
    }

    #[test]
    fn the_first_failure_is_the_programs() {
        let program = Program::new(Some(3));
        let result = program.start_others(|number| Err(format!("{number} fails")));
        assert!(result.is_err_and(|failure| failure.ends_with(" fails")));
        program.wait_for_others();
        assert!(!program.has_failed(), "while it served");
    }

    #[test]
    fn a_panic_is_the_end_of_a_worker() {
        let program = Program::new(Some(2));
        let serving = program.clone();
        let result = program.start_others(move |number| {
            serving.once.offer(&serving.desks, number, "x");
            serving.once.offer(&serving.desks, 1, "x");
            serving.serves(number);
            panic!("as the test wants it");
        });
        assert_eq!(result, Ok(()));
        program.wait_for_others();
        assert!(program.has_failed());
        let (mail, _) = program.desks.of(1).unwrap().mailbox.take(9);
        assert!(matches!(&*mail, [Message::Once(name)] if &**name == "x"));
    }
}
