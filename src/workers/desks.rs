//! What others see of each worker, and how they reach it.

use std::sync::atomic::{AtomicBool, AtomicU64, AtomicUsize, Ordering};

use super::MAX_WORKERS;
use super::mailbox::{Mailbox, Message, Published};
use super::pulse::Pulse;

/// One worker.
#[derive(Debug, Default)]
pub struct Desk {
    /// What others have for it.
    pub mailbox: Mailbox,
    /// How many clients it has.
    pub clients: AtomicUsize,
    /// Whether its loop turns.
    pub pulse: Pulse,
    /// It is relieved: new clients go to others.
    pub is_relieved: AtomicBool,
    /// How many published messages it did not get, as too many waited already.
    pub missed: AtomicU64,
}

/// All workers, those included that will never be.
#[derive(Debug)]
pub struct Desks {
    all: Vec<Desk>,
    /// Counts what was put into mailboxes.
    deliveries: AtomicUsize,
}

impl Default for Desks {
    fn default() -> Self {
        Desks {
            all: (0..MAX_WORKERS).map(|_| Desk::default()).collect(),
            deliveries: AtomicUsize::new(0),
        }
    }
}

impl Desks {
    /// The worker with this number, from 1 on.
    pub fn of(&self, worker: usize) -> Option<&Desk> {
        self.all.get(worker.checked_sub(1)?)
    }

    /// Gives a message to a worker; gives it back if that worker takes it not.
    pub fn deliver(&self, worker: usize, message: Message) -> Result<(), Message> {
        let Some(desk) = self.of(worker) else {
            return Err(message);
        };
        let result = desk.mailbox.put(message);
        if let Err(Message::Published(Published { channel, .. })) = &result
            && desk
                .missed
                .fetch_add(1, Ordering::Relaxed)
                .is_power_of_two()
        {
            log::warn!("worker {worker} does not keep up: it misses messages of channel {channel}");
        }
        // After the message: see `all_rest`.
        self.deliveries.fetch_add(1, Ordering::SeqCst);
        result
    }

    /// How many clients a worker has or will have at once.
    pub fn load(&self, worker: usize) -> Option<usize> {
        let desk = self.of(worker)?;
        let on_their_way = desk.mailbox.on_their_way.load(Ordering::Relaxed);
        Some(desk.clients.load(Ordering::Relaxed) + on_their_way)
    }

    /// Whether none of the first workers has anything to wait for but the others' messages.
    ///
    /// They are looked at one after the other: one that rests could be given something, by one that rests when
    /// it is looked at. Whoever gives something counts that before it rests.
    pub fn all_rest(&self, count: usize) -> bool {
        let deliveries = self.deliveries.load(Ordering::SeqCst);
        let mut first = self.all.iter().take(count);
        first.all(|desk| desk.mailbox.rests())
            && self.deliveries.load(Ordering::SeqCst) == deliveries
    }
}
