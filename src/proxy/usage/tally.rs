//! The counters of a listener, a server or a user.

use std::cell::{Cell, OnceCell, RefCell};
use std::rc::Rc;

use crate::wire::Com;

/// How many different errors are counted one by one.
const MAX_ERRORS: usize = 100;

/// The counters of one of them. Connections hold those that they are counted by, so counting needs no look-up.
#[derive(Debug)]
pub(crate) struct Tally {
    /// The name of what is counted.
    pub name: Box<[u8]>,
    /// Connections that there are.
    pub connections: Cell<u64>,
    /// Connections that there have been.
    pub opened: Cell<u64>,
    pub bytes_in: Cell<u64>,
    pub bytes_out: Cell<u64>,
    /// Microseconds in callbacks.
    pub lua_us: Cell<u64>,
    commands: [Cell<u64>; 256],
    errors: RefCell<Errors>,
}

/// How often each error has occurred.
#[derive(Debug, Default)]
struct Errors {
    by_number: Vec<(u16, u64)>,
    /// How many others there were.
    others: u64,
}

fn add(to: &Cell<u64>, more: u64) {
    to.set(to.get().saturating_add(more));
}

impl Tally {
    pub fn new(name: &[u8]) -> Tally {
        Tally {
            name: name.into(),
            connections: Cell::default(),
            opened: Cell::default(),
            bytes_in: Cell::default(),
            bytes_out: Cell::default(),
            lua_us: Cell::default(),
            commands: [const { Cell::new(0) }; 256],
            errors: RefCell::default(),
        }
    }

    fn error(&self, number: u16) {
        let errors = &mut *self.errors.borrow_mut();
        let is_full = errors.by_number.len() >= MAX_ERRORS;
        let mut known = errors.by_number.iter_mut();
        match known.find(|(of, _)| *of == number) {
            Some((_, count)) => *count += 1,
            None if is_full => errors.others += 1,
            None => errors.by_number.push((number, 1)),
        }
    }

    /// The commands that there have been, and how many of each.
    pub fn commands(&self) -> impl Iterator<Item = (Com, u64)> {
        let counts = self.commands.iter().enumerate();
        let counts = counts.map(|(com, count)| (Com(com as u8), count.get()));
        counts.filter(|(_, count)| *count > 0)
    }

    /// The numbers of errors that there have been, and how many of each; without a number those that are not counted one
    /// by one.
    pub fn errors(&self) -> Vec<(Option<u16>, u64)> {
        let errors = self.errors.borrow();
        let known = errors.by_number.iter();
        let mut all: Vec<_> = known
            .map(|(number, count)| (Some(*number), *count))
            .collect();
        all.sort_unstable();
        if errors.others > 0 {
            all.push((None, errors.others));
        }
        all
    }
}

/// The counters of a connection: a client's are those of its listener and of its user, a server's those of the server.
#[derive(Debug, Clone, Default)]
pub(crate) struct Tallies {
    /// Of the listener or the server.
    place: OnceCell<Rc<Tally>>,
    /// Of the user that a client has logged in as.
    user: RefCell<Option<Rc<Tally>>>,
    bytes_in: Cell<u64>,
    bytes_out: Cell<u64>,
    /// The user that a client wants to be, while it is not known whether it may.
    wanted: RefCell<Option<Box<[u8]>>>,
}

impl Tallies {
    /// The connection is of this listener or server.
    pub fn join(&self, place: Rc<Tally>) {
        let place = self.place.get_or_init(|| place);
        add(&place.connections, 1);
        add(&place.opened, 1);
    }

    /// A listener is counted itself, without being a connection of its own.
    pub fn is(&self, place: Rc<Tally>) {
        self.place.get_or_init(|| place);
    }

    /// The client wants to log in as this user.
    pub fn wants_user(&self, name: &[u8]) {
        *self.wanted.borrow_mut() = Some(name.into());
    }

    /// The user that it wanted to be: it may.
    pub fn take_wanted(&self) -> Option<Box<[u8]>> {
        self.wanted.take()
    }

    /// The client has logged in as this user.
    pub fn join_user(&self, user: Rc<Tally>) {
        add(&user.connections, 1);
        add(&user.opened, 1);
        leave(self.user.replace(Some(user)));
    }

    /// The connection is gone.
    pub fn leave(&self) {
        leave(self.place.get().cloned());
        leave(self.user.take());
    }

    pub fn place(&self) -> Option<Rc<Tally>> {
        self.place.get().cloned()
    }

    pub fn user(&self) -> Option<Rc<Tally>> {
        self.user.borrow().clone()
    }

    fn each(&self, count: impl Fn(&Tally)) {
        if let Some(place) = self.place.get() {
            count(place);
        }
        if let Some(user) = &*self.user.borrow() {
            count(user);
        }
    }

    /// How many bytes the connection itself has read and written.
    pub fn bytes(&self) -> (u64, u64) {
        (self.bytes_in.get(), self.bytes_out.get())
    }

    /// The connection has read that much elsewhere.
    pub fn read_before(&self, bytes: u64) {
        add(&self.bytes_in, bytes);
    }

    /// The connection has written that much elsewhere.
    pub fn wrote_before(&self, bytes: u64) {
        add(&self.bytes_out, bytes);
    }

    pub fn read(&self, bytes: u64) {
        add(&self.bytes_in, bytes);
        self.each(|tally| add(&tally.bytes_in, bytes));
    }

    pub fn wrote(&self, bytes: u64) {
        add(&self.bytes_out, bytes);
        self.each(|tally| add(&tally.bytes_out, bytes));
    }

    pub fn command(&self, com: u8) {
        self.each(|tally| {
            if let Some(count) = tally.commands.get(usize::from(com)) {
                add(count, 1);
            }
        });
    }

    /// An ERR packet. (MariaDB's progress reports look like one.)
    pub fn error(&self, payload: &[u8]) {
        if let [0xFF, low, high, ..] = payload {
            let number = u16::from_le_bytes([*low, *high]);
            if number != u16::MAX {
                self.each(|tally| tally.error(number));
            }
        }
    }

    pub fn lua(&self, us: u64) {
        self.each(|tally| add(&tally.lua_us, us));
    }
}

fn leave(tally: Option<Rc<Tally>>) {
    if let Some(tally) = tally {
        let left = tally.connections.get().saturating_sub(1);
        tally.connections.set(left);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn errors_are_bounded() {
        let tally = Tally::new(b"ann");
        for number in 0..MAX_ERRORS as u16 + 5 {
            tally.error(number);
        }
        tally.error(3);
        let errors = tally.errors();
        assert_eq!(errors.len(), MAX_ERRORS + 1);
        assert_eq!(errors[3], (Some(3), 2));
        assert_eq!(errors.last(), Some(&(None, 5)));
    }

    #[test]
    fn a_client_changes_its_user() {
        let (ann, bob) = (Rc::new(Tally::new(b"ann")), Rc::new(Tally::new(b"bob")));
        let client = Tallies::default();
        client.join_user(ann.clone());
        client.command(3);
        client.join_user(bob.clone());
        client.command(3);
        assert_eq!((ann.connections.get(), bob.connections.get()), (0, 1));
        assert_eq!((ann.opened.get(), bob.opened.get()), (1, 1));
        client.leave();
        assert_eq!(bob.connections.get(), 0);
        assert_eq!(ann.commands().collect::<Vec<_>>(), [(Com::QUERY, 1)]);
    }
}
