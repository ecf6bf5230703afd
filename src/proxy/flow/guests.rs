//! The turns of guests, which are sockets that do not speak MySQL.

use std::io;
use std::rc::Rc;
use std::time::Instant;

use crate::net::Source;
use crate::proxy::Proxy;
use crate::proxy::guests::{Guest, GuestId, Turn};
use crate::proxy::table::core::{Core, TimerKey};
use crate::proxy::table::guests::GUESTS;

impl Proxy {
    /// Takes a guest in, whose socket this is. Its first turn comes soon.
    ///
    /// # Errors
    /// There is no room for another socket, or the system's poller fails.
    pub fn admit(&self, guest: Rc<dyn Guest>, socket: &mut impl Source) -> io::Result<GuestId> {
        let core = &mut *self.core();
        if !core.admission.room.has_room() {
            return Err(io::Error::other("the limit of open files is reached"));
        }
        let id = core.guests.insert(guest);
        if let Err(error) = core.poller.register(socket, GUESTS + id.slot) {
            core.guests.remove(id);
            return Err(error);
        }
        core.admission.room.opened();
        Ok(id)
    }

    /// Lets a guest go, whose socket goes on without it. It is not told.
    pub fn dismiss(&self, id: GuestId, socket: &mut impl Source) {
        let core = &mut *self.core();
        if let Err(error) = core.poller.deregister(socket) {
            log::warn!("a guest's socket cannot be taken out of the poller: {error}");
        }
        core.remove_guest(id);
    }

    /// Gives a guest a turn.
    pub fn wake(&self, id: GuestId) {
        self.core().guests.queue(id);
    }

    /// Gives each guest that waits for one a turn. Those that are queued meanwhile have theirs in the next tick.
    pub(crate) fn guests_turn(&self) {
        let count = self.core().guests.waiting();
        for _ in 0..count {
            let next = self.core().guests.next();
            let Some((id, guest, readiness)) = next else {
                return;
            };
            // What remains if it panics.
            let mut turn = Turn::Over;
            self.guarded(None, || turn = guest.turn(readiness));
            match turn {
                Turn::Wait(until) => self.core().guest_waits(id, until),
                Turn::Again => self.core().guests.queue(id),
                Turn::Over => {
                    let removed = self.core().remove_guest(id);
                    if removed {
                        self.guarded(None, || guest.ended());
                    }
                }
            }
        }
    }
}

impl Core {
    fn guest_waits(&mut self, id: GuestId, until: Option<Instant>) {
        let before = self.guests.timer(id);
        if before.map(|timer| timer.deadline()) == until {
            return;
        }
        if let Some(before) = self.guests.replace_timer(id, None) {
            self.timers.remove(before);
        }
        if let Some(until) = until {
            let timer = self.timers.insert(until, TimerKey::Guest(id));
            self.guests.replace_timer(id, Some(timer));
        }
    }

    /// A guest's moment has come.
    pub fn guest_due(&mut self, id: GuestId) {
        self.guests.replace_timer(id, None);
        self.guests.queue(id);
    }

    fn remove_guest(&mut self, id: GuestId) -> bool {
        let Some((_guest, timer)) = self.guests.remove(id) else {
            return false;
        };
        if let Some(timer) = timer {
            self.timers.remove(timer);
        }
        self.admission.room.closed();
        true
    }
}
