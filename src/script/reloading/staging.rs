//! What a startfile does to the whole program waits until the startfile is in use.

use std::cell::{Cell, RefCell};
use std::rc::Rc;

use crate::http::HttpListener;
use crate::proxy::{ConnId, Options};
use crate::script::runtime::Runtime;

type Effect = Box<dyn FnOnce(&Runtime)>;

/// What a startfile has done to the program while it is not in use; and where it listens.
#[derive(Default)]
pub struct Staging {
    waits: Cell<bool>,
    effects: RefCell<Vec<Effect>>,
    options: RefCell<Option<Options>>,
    listeners: RefCell<Vec<Opened>>,
}

/// A listener that a startfile has opened.
#[derive(Debug, Clone)]
pub struct Opened {
    /// Where it wanted to listen: port 0 stands for any.
    pub address: (String, u16),
    pub socket: Listening,
    /// The one of the startfile before whose place it takes.
    pub before: Option<Listening>,
}

/// One of the kinds of listeners.
#[derive(Debug, Clone)]
pub enum Listening {
    MySql(ConnId),
    Http(Rc<HttpListener>),
}

impl Listening {
    /// Whether it is the same listener.
    pub fn is(&self, other: &Listening) -> bool {
        match (self, other) {
            (Listening::MySql(id), Listening::MySql(other)) => id == other,
            (Listening::Http(listener), Listening::Http(other)) => Rc::ptr_eq(listener, other),
            _ => false,
        }
    }
}

impl std::fmt::Debug for Staging {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("Staging")
    }
}

impl Staging {
    /// Of a startfile that is not in use yet.
    pub fn waiting() -> Staging {
        Staging {
            waits: Cell::new(true),
            ..Staging::default()
        }
    }

    /// Whether the startfile is not in use yet.
    pub fn waits(&self) -> bool {
        self.waits.get()
    }

    /// The startfile is in use: what waits is to be done.
    pub fn end(&self) -> (Vec<Effect>, Option<Options>) {
        self.waits.set(false);
        (self.effects.take(), self.options.take())
    }

    /// A listener was opened.
    pub fn note(&self, opened: Opened) {
        self.listeners.borrow_mut().push(opened);
    }

    /// The listeners that were opened, in their order.
    pub fn listeners(&self) -> Vec<Opened> {
        self.listeners.borrow().clone()
    }
}

impl Runtime {
    /// Does something to the whole program, as soon as the startfile is in use.
    pub fn when_in_use(&self, effect: impl FnOnce(&Runtime) + 'static) {
        match self.staging.waits() {
            true => self.staging.effects.borrow_mut().push(Box::new(effect)),
            false => effect(self),
        }
    }

    /// The options of connections that are made without any of their own.
    pub fn options(&self) -> Options {
        let staged = self.staging.waits();
        match staged {
            true => (self.staging.options.borrow().clone()).unwrap_or_default(),
            false => self.proxy().defaults(),
        }
    }

    /// Sets them.
    pub fn set_options(&self, options: Options) {
        match self.staging.waits() {
            true => *self.staging.options.borrow_mut() = Some(options),
            false => self.proxy().set_defaults(options),
        }
    }

    /// The listener of the startfile before whose place one at this address takes, if this startfile is not in use yet.
    pub fn listener_before(
        &self,
        address: &(String, u16),
        is_kind: impl Fn(&Listening) -> bool,
    ) -> Option<Listening> {
        let before = self.predecessor.upgrade()?;
        if !self.staging.waits() {
            return None;
        }
        let same = |opened: &&Opened| opened.address == *address && is_kind(&opened.socket);
        let taken = self.staging.listeners.borrow();
        let taken = taken.iter().filter(same).count();
        let all = before.staging.listeners.borrow();
        let mut open = all
            .iter()
            .filter(same)
            .filter(|opened| match &opened.socket {
                Listening::MySql(id) => self.proxy().info(*id).is_some(),
                Listening::Http(listener) => listener.is_open(),
            });
        open.nth(taken).map(|opened| opened.socket.clone())
    }
}
