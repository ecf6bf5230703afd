//! The thread that accepts clients for several workers, and hands them over.
//!
//! A thread of its own, since whichever worker did it would keep new clients from the others while one of its
//! callbacks takes long. `SO_REUSEPORT` would need no thread, but the kernel deals clients out by a hash of their
//! addresses, and keeps giving them to a worker that does not come to accept them (doc/PERFORMANCE.md has what was
//! measured).

use std::io;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Weak};
use std::thread;
use std::time::Duration;

use super::desks::Desks;
use super::listeners::Listeners;
use super::mailbox::{HandedOver, Message};
use crate::net::{Poller, WakeHandle, is_out_of_descriptors};

/// How many clients are accepted at one listener before the others have their turn.
const ACCEPT_BATCH: usize = 64;

/// How long accepting is paused when descriptors have run out.
const ACCEPT_PAUSE: Duration = Duration::from_millis(100);

/// The thread, as seen by others. It ends when this is dropped.
#[derive(Debug)]
pub struct Acceptor {
    /// What it accepts from.
    pub listeners: Arc<Listeners>,
    work: Arc<Work>,
    wake: WakeHandle,
}

#[derive(Debug)]
struct Work {
    desks: Arc<Desks>,
    /// All workers have run their startfiles.
    begun: AtomicBool,
}

impl Acceptor {
    /// Starts the thread. It accepts nothing before [`begin`](Acceptor::begin).
    pub fn start(desks: Arc<Desks>) -> io::Result<Acceptor> {
        let poller = Poller::new()?;
        let acceptor = Acceptor {
            listeners: Arc::new(Listeners::new(poller.registrar()?)),
            work: Arc::new(Work {
                desks,
                begun: AtomicBool::new(false),
            }),
            wake: poller.wake_handle(),
        };
        let listeners = Arc::downgrade(&acceptor.listeners);
        let work = Arc::downgrade(&acceptor.work);
        thread::Builder::new()
            .name("acceptor".to_owned())
            .spawn(move || serve(poller, &listeners, &work))?;
        Ok(acceptor)
    }

    /// From now on clients are accepted.
    pub fn begin(&self) {
        self.work.begun.store(true, Ordering::SeqCst);
        self.wake();
    }

    /// Clients that have come meanwhile were not seen.
    pub fn accept_again(&self) {
        self.listeners.note_all_ready();
        self.wake();
    }

    fn wake(&self) {
        if let Err(error) = self.wake.wake() {
            log::error!("the thread that accepts clients cannot be woken: {error}");
        }
    }
}

impl Drop for Acceptor {
    fn drop(&mut self) {
        self.work = Arc::new(Work {
            desks: Arc::default(),
            begun: AtomicBool::new(false),
        });
        self.wake();
    }
}

/// Gives a client to the worker with the fewest of those that listen where it came by.
pub fn hand_over(listeners: &Listeners, desks: &Desks, client: HandedOver) {
    let key = client.listener;
    let load = |worker| {
        let desk = desks.of(worker)?;
        let is_relieved = desk.is_relieved.load(Ordering::Relaxed);
        // A relieved worker is better than none.
        Some((is_relieved, desks.load(worker)?))
    };
    match listeners.choose(key, load) {
        Some(worker) => {
            // (A worker listens no more before it takes nothing more.)
            if desks.deliver(worker, Message::Client(client)).is_err() {
                log::debug!("worker {worker} has ended before it could take a client");
            }
        }
        None => log::debug!("nobody listens any more where a client came by"),
    }
}

fn serve(mut poller: Poller, listeners: &Weak<Listeners>, work: &Weak<Work>) {
    let mut ready = Vec::new();
    let mut timeout = None;
    let mut starved = false;
    loop {
        if let Err(error) = poller.wait(timeout, &mut ready) {
            log::error!("no more clients are accepted: {error}");
            return;
        }
        let (Some(listeners), Some(work)) = (listeners.upgrade(), work.upgrade()) else {
            return;
        };
        for event in &ready {
            listeners.note_ready(event.token);
        }
        timeout = None;
        if !work.begun.load(Ordering::SeqCst) {
            continue;
        }
        let mut accepted = Vec::new();
        let result = listeners.accept(ACCEPT_BATCH, &mut accepted);
        if !accepted.is_empty() && std::mem::take(&mut starved) {
            log::info!("accepting again");
        }
        for client in accepted {
            hand_over(&listeners, &work.desks, client);
        }
        if let Err(error) = result {
            // Clients wait in the system's queue until a descriptor is free again.
            if !std::mem::replace(&mut starved, true) {
                let hint = match is_out_of_descriptors(&error) {
                    true => " (raise the limit on open files, or set max_clients)",
                    false => "",
                };
                log::error!("accepting is paused until connections close: {error}{hint}");
            }
            timeout = Some(ACCEPT_PAUSE);
        } else if listeners.is_any_ready() {
            timeout = Some(Duration::ZERO);
        }
    }
}
