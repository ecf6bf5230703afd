//! What a startfile does to the whole program waits until the startfile is in use.

use std::cell::{Cell, RefCell};
use std::rc::Rc;

use crate::http::HttpListener;
use crate::proxy::{ConnId, Options};

/// Something that is done to the program.
pub type Effect = Box<dyn FnOnce()>;

/// What a startfile has done to the program while it is not in use; and where it listens.
#[derive(Default)]
pub struct Staging {
    waits: Cell<bool>,
    pub effects: RefCell<Vec<Effect>>,
    pub options: RefCell<Option<Options>>,
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
