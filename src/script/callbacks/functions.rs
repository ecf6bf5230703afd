//! The functions that scripts register, and the object that holds a library's.

use std::cell::{Cell, RefCell};
use std::collections::HashSet;

use crate::proxy::ConnId;
use crate::script::lua::fast::Place;
use crate::script::lua::refs::Ref;
use crate::session::{Event, EventSet};

/// How a function of a connection was set, and when it is called.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Kind {
    /// The one that is registered for its event.
    Registered,
    /// A listener: called after the registered one.
    Listening,
    /// A listener that is called also while a callback package is set on the connection.
    Always,
    /// It is called after all others for `MY_CLOSING`.
    OnClose,
}

/// One function of a connection.
#[derive(Debug)]
struct Callback {
    event: Event,
    kind: Kind,
    function: Ref,
}

impl Callback {
    /// Whether it is called for its event; `covered`: while a callback package is set on the connection.
    fn is_shown(&self, covered: bool) -> bool {
        match self.kind {
            Kind::Registered | Kind::Listening => !covered,
            Kind::Always => true,
            Kind::OnClose => false,
        }
    }
}

/// The functions of a connection, the registered ones first: a list of what is there, because most have
/// none or few.
#[derive(Debug, Default)]
pub struct Callbacks(Vec<Callback>);

impl Callbacks {
    /// Which events have a function; `covered`: while a package is over the connection.
    pub fn set(&self, covered: bool) -> EventSet {
        let shown = self.0.iter().filter(|it| it.is_shown(covered));
        shown.fold(EventSet::NONE, |set, it| set.with(it.event.set()))
    }

    /// The functions for this event, in the order in which they are called; `covered`: while a callback
    /// package is set on the connection.
    pub fn at(&self, event: Event, covered: bool) -> impl Iterator<Item = Place> {
        let due = move |it: &&Callback| it.event == event && it.is_shown(covered);
        self.0.iter().filter(due).map(|it| it.function.place())
    }

    /// Whether the function in this place has not been removed.
    pub fn has(&self, place: Place) -> bool {
        let mut places = self.0.iter().map(|callback| callback.function.place());
        places.any(|its| its == place)
    }

    /// Removes the function in this place. The caller has to release it.
    pub fn remove(&mut self, place: Place) -> Option<Ref> {
        let mut places = self.0.iter().map(|callback| callback.function.place());
        let index = places.position(|its| its == place)?;
        Some(self.0.remove(index).function)
    }

    /// The function that is registered for this event.
    pub fn registered(&self, event: Event) -> Option<Place> {
        let index = self.registered_index(event)?;
        self.0.get(index).map(|it| it.function.place())
    }

    /// Removes the function that is registered for this event. The caller has to release it.
    pub fn unregister(&mut self, event: Event) -> Option<Ref> {
        let index = self.registered_index(event)?;
        Some(self.0.remove(index).function)
    }

    fn registered_index(&self, event: Event) -> Option<usize> {
        let mut all = self.0.iter();
        all.position(|it| it.event == event && it.kind == Kind::Registered)
    }

    /// Adds a function.
    pub fn add(&mut self, event: Event, kind: Kind, function: Ref) {
        // Exactly, because there are many connections with a few functions each.
        self.0.reserve_exact(1);
        let at = match kind {
            Kind::Registered => 0,
            _ => self.0.len(),
        };
        let callback = Callback {
            event,
            kind,
            function,
        };
        self.0.insert(at, callback);
    }

    /// The functions that are called after those for `MY_CLOSING`.
    pub fn on_close(&self) -> Vec<Place> {
        let due = self.0.iter().filter(|it| it.kind == Kind::OnClose);
        due.map(|it| it.function.place()).collect()
    }

    /// All of them, to be released.
    pub fn into_refs(self) -> impl Iterator<Item = Ref> {
        self.0.into_iter().map(|callback| callback.function)
    }
}

/// The index of an event's function in a package.
pub fn index(event: Event) -> i32 {
    event as i32 + 1
}

/// What Rust knows about a package: which events have a function, and on which connections it is in
/// place.
#[derive(Debug, Default)]
pub struct PackageInfo {
    pub set: Cell<EventSet>,
    pub users: RefCell<HashSet<ConnId>>,
}

impl PackageInfo {
    /// Which events have a function.
    pub fn set(&self) -> EventSet {
        self.set.get()
    }

    /// The package is in place on this connection now.
    pub fn add_user(&self, id: ConnId) {
        self.users.borrow_mut().insert(id);
    }

    /// The package was removed from this connection.
    pub fn remove_user(&self, id: ConnId) {
        self.users.borrow_mut().remove(&id);
    }
}
