//! The table of guests: sockets that do not speak MySQL.

use std::collections::VecDeque;
use std::rc::Rc;

use slab::Slab;

use crate::net::{Ready, TimerId};
use crate::proxy::guests::{Guest, GuestId, Readiness};

/// The poller's tokens from here on are guests'; connections use those below it.
pub(crate) const GUESTS: usize = usize::MAX / 2 + 1;

/// All guests.
#[derive(Debug, Default)]
pub(crate) struct Guests {
    all: Slab<Entry>,
    /// Those that are to have a turn.
    queue: VecDeque<GuestId>,
    last_serial: u64,
}

#[derive(Debug)]
struct Entry {
    guest: Rc<dyn Guest>,
    serial: u64,
    readiness: Readiness,
    queued: bool,
    timer: Option<TimerId>,
}

impl Guests {
    pub fn is_empty(&self) -> bool {
        self.all.is_empty()
    }

    /// Whether the end of the program should wait for any of them.
    pub fn are_busy(&self) -> bool {
        self.all.iter().any(|(_, entry)| entry.guest.is_busy())
    }

    /// Whether any guest is to have a turn.
    pub fn are_waiting(&self) -> bool {
        !self.queue.is_empty()
    }

    /// How many are to have a turn.
    pub fn waiting(&self) -> usize {
        self.queue.len()
    }

    pub fn insert(&mut self, guest: Rc<dyn Guest>) -> GuestId {
        self.last_serial += 1;
        let slot = self.all.insert(Entry {
            guest,
            serial: self.last_serial,
            readiness: Readiness::default(),
            queued: false,
            timer: None,
        });
        let id = GuestId {
            slot,
            serial: self.last_serial,
        };
        self.queue(id);
        id
    }

    fn get_mut(&mut self, id: GuestId) -> Option<&mut Entry> {
        let entry = self.all.get_mut(id.slot)?;
        (entry.serial == id.serial).then_some(entry)
    }

    /// Takes a guest out. The timer that it had is to be removed.
    pub fn remove(&mut self, id: GuestId) -> Option<(Rc<dyn Guest>, Option<TimerId>)> {
        self.get_mut(id)?;
        let entry = self.all.try_remove(id.slot)?;
        Some((entry.guest, entry.timer))
    }

    /// It is to have a turn.
    pub fn queue(&mut self, id: GuestId) {
        if let Some(entry) = self.get_mut(id)
            && !std::mem::replace(&mut entry.queued, true)
        {
            self.queue.push_back(id);
        }
    }

    /// All are to have a turn.
    pub fn queue_all(&mut self) {
        let all = self.all.iter();
        let all: Vec<_> = all
            .map(|(slot, entry)| GuestId {
                slot,
                serial: entry.serial,
            })
            .collect();
        all.into_iter().for_each(|id| self.queue(id));
    }

    /// Remembers readiness, which the poller reports only once. An event of a guest that has left may reach its
    /// successor in the same slot, to whom it means no more than a try in vain.
    pub fn note_ready(&mut self, slot: usize, ready: Ready) {
        let Some(entry) = self.all.get_mut(slot) else {
            return;
        };
        let readiness = &mut entry.readiness;
        readiness.readable |= ready.readable || ready.read_closed || ready.error;
        readiness.writable |= ready.writable || ready.error;
        let serial = entry.serial;
        self.queue(GuestId { slot, serial });
    }

    /// Whose turn it is, and what its socket is ready for.
    pub fn next(&mut self) -> Option<(GuestId, Rc<dyn Guest>, Readiness)> {
        loop {
            let id = self.queue.pop_front()?;
            if let Some(entry) = self.get_mut(id) {
                entry.queued = false;
                let readiness = std::mem::take(&mut entry.readiness);
                return Some((id, entry.guest.clone(), readiness));
            }
        }
    }

    /// Replaces a guest's timer. Returns the one before.
    pub fn replace_timer(&mut self, id: GuestId, timer: Option<TimerId>) -> Option<TimerId> {
        let entry = self.get_mut(id)?;
        std::mem::replace(&mut entry.timer, timer)
    }

    /// A guest's timer.
    pub fn timer(&mut self, id: GuestId) -> Option<TimerId> {
        self.get_mut(id)?.timer
    }
}
