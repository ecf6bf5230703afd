//! The script layer's data about each open connection, such as its callbacks.

use std::rc::Rc;

use super::functions::{Callbacks, PackageInfo, index};
use crate::proxy::{ConnId, ConnInfo};
use crate::script::lua::fast::Place;
use crate::script::lua::fast::Target;
use crate::script::lua::refs::Ref;
use crate::session::{Event, EventSet};

/// A package of callbacks that replaces the connection's own.
#[derive(Debug)]
pub struct Package {
    /// The object with its functions.
    pub object: Ref,
    /// Its information.
    pub info: Rc<PackageInfo>,
}

impl Package {
    /// Its function for an event, if there is one.
    fn target(&self, event: Event) -> Option<Target<'static>> {
        let package = self.object.place();
        let has = self.info.set().has(event);
        has.then(|| Target::InPackage(package, index(event)))
    }
}

/// The functions to call for an event.
#[derive(Debug, Clone, Copy)]
pub struct Due {
    /// The first of them: the registered function, or else the first of `listen`.
    pub first: Target<'static>,
    /// There are more, see [`Entry::others`].
    pub more: bool,
}

/// One open connection.
#[derive(Debug)]
pub struct Entry {
    /// The connection's information.
    pub info: Rc<ConnInfo>,
    /// Its own callbacks.
    pub own: Callbacks,
    /// The package in place, if any.
    pub package: Option<Box<Package>>,
    /// The other end of its link.
    pub peer: Option<ConnId>,
}

impl Entry {
    /// Which events have a function that would be called: what the proxy has to show us.
    pub fn wanted(&self) -> EventSet {
        match &self.package {
            Some(package) => package.info.set().with(self.own.set(true)),
            None => self.own.set(false),
        }
    }

    /// The functions to call for this event.
    pub fn due(&self, event: Event) -> Option<Due> {
        let mut own = self.own.at(event, self.covered(event));
        let first = match &self.package {
            None => Target::Kept(own.next()?),
            Some(package) => {
                // `MY_CLOSING` is the connection's own, if it has a function for it.
                let gives_way = self.own.registered(Event::Closing).is_some();
                let target = package.target(event);
                let target = target.filter(|_| self.covered(event) || !gives_way);
                target.or_else(|| own.next().map(Target::Kept))?
            }
        };
        let more = own.next().is_some();
        Some(Due { first, more })
    }

    /// Who else is called, in their order.
    pub fn others(&self, event: Event, due: Due) -> Vec<Place> {
        let own = self.own.at(event, self.covered(event));
        own.filter(|place| due.first != Target::Kept(*place))
            .collect()
    }

    /// Whether its own functions for this event are silent, unless they insist.
    fn covered(&self, event: Event) -> bool {
        self.package.is_some() && event != Event::Closing
    }

    /// Puts a package in place, or removes it. Returns the previous one, which the caller has to
    /// release.
    pub fn lay_over(&mut self, package: Option<Box<Package>>) -> Option<Box<Package>> {
        if let Some(before) = &self.package {
            before.info.remove_user(self.info.id);
        }
        if let Some(package) = &package {
            package.info.add_user(self.info.id);
        }
        std::mem::replace(&mut self.package, package)
    }

    /// All Lua values that it held, to be released.
    pub fn into_refs(self) -> Vec<Ref> {
        let mut refs: Vec<Ref> = self.own.into_refs().collect();
        if let Some(package) = self.package {
            package.info.remove_user(self.info.id);
            refs.push(package.object);
        }
        refs
    }
}

/// The open connections, by their places in the proxy's table.
#[derive(Debug, Default)]
pub struct Registry {
    places: Vec<Option<Entry>>,
    open: usize,
}

impl Registry {
    /// Adds a connection; returns the previous entry of its slot.
    pub fn insert(&mut self, info: Rc<ConnInfo>) -> Option<Entry> {
        let slot = info.id.slot();
        if self.places.len() <= slot {
            self.places.resize_with(slot + 1, || None);
        }
        let before = self.places.get_mut(slot)?.replace(Entry {
            info,
            own: Callbacks::default(),
            package: None,
            peer: None,
        });
        if before.is_none() {
            self.open += 1;
        }
        before
    }

    /// The connection with this id, if it has not closed.
    pub fn get(&self, id: ConnId) -> Option<&Entry> {
        let entry = self.places.get(id.slot())?.as_ref()?;
        (entry.info.id == id).then_some(entry)
    }

    /// The connection with this id, if it has not closed.
    pub fn get_mut(&mut self, id: ConnId) -> Option<&mut Entry> {
        let entry = self.places.get_mut(id.slot())?.as_mut()?;
        (entry.info.id == id).then_some(entry)
    }

    /// Removes a connection; returns its entry, to be dropped without a borrow.
    pub fn remove(&mut self, id: ConnId) -> Option<Entry> {
        let place = self.places.get_mut(id.slot())?;
        let entry = place.take_if(|entry| entry.info.id == id)?;
        self.open -= 1;
        Some(entry)
    }

    /// How many there are.
    pub fn len(&self) -> usize {
        self.open
    }
}
