//! What an upgrade asks of a program's workers.

use std::sync::atomic::Ordering;

use super::mailbox::{Message, Stop};
use super::program::Program;
use super::upgrade::{Moving, Workforce};

impl Workforce for Program {
    fn clients(&self) -> usize {
        let desks = (1..=self.count()).filter_map(|number| self.desks.of(number));
        desks
            .map(|desk| {
                let there = desk.clients.load(Ordering::Relaxed);
                there + desk.mailbox.on_their_way.load(Ordering::Relaxed)
            })
            .sum()
    }

    fn last_serial(&self) -> u32 {
        self.last_serial.load(Ordering::Relaxed)
    }

    fn is_stopping(&self) -> bool {
        Program::is_stopping(self)
    }

    fn tell_all(&self, moving: &dyn Fn() -> Moving) {
        for number in 1..=self.count() {
            self.tell(number, Message::Moving(moving()));
        }
    }

    fn tell_owner(&self, serial: u32, moving: Moving) {
        self.tell(owner(serial), Message::Moving(moving));
    }

    fn tell_first(&self, moving: Moving) {
        self.tell(1, Message::Moving(moving));
    }

    fn tell_owner_or_another(&self, moving: Moving, serial: u32) -> bool {
        let owner = owner(serial);
        if owner <= self.count() {
            return self.tell(owner, Message::Moving(moving));
        }
        let loads = (1..=self.count()).filter_map(|number| {
            let is_relieved = self.desks.of(number)?.is_relieved.load(Ordering::Relaxed);
            Some((is_relieved, self.desks.load(number)?, number))
        });
        let Some((.., number)) = loads.min() else {
            return false;
        };
        self.tell(number, Message::Moving(moving))
    }

    fn listen_again(&self) {
        self.accept_again();
        for number in 1..=self.count() {
            self.tell(number, Message::Listen);
        }
    }

    fn leave(&self) {
        self.stop_others(0, Stop::Exit(0));
    }
}

impl Program {
    fn tell(&self, number: usize, message: Message) -> bool {
        let delivered = self.desks.deliver(number, message);
        if delivered.is_err() {
            log::debug!("worker {number} has ended before it could be told");
        }
        delivered.is_ok()
    }
}

/// The worker whose connections have numbers like this one.
fn owner(serial: u32) -> usize {
    usize::try_from(serial >> super::SERIAL_BITS).map_or(1, |before| before + 1)
}
