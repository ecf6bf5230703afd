//! An observer's data about connections.

use std::cell::RefCell;
use std::fmt;

use crate::proxy::id::ConnId;

/// A map from connections to values. A connection without a value takes 8 bytes, and only if one
/// with a higher slot has a value.
pub struct PerConnection<T>(RefCell<Vec<Place<T>>>);

type Place<T> = Option<Box<(ConnId, T)>>;

impl<T> Default for PerConnection<T> {
    fn default() -> Self {
        PerConnection(RefCell::default())
    }
}

impl<T> fmt::Debug for PerConnection<T> {
    /// Without the values, which may be secret.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("PerConnection")
    }
}

impl<T> PerConnection<T> {
    /// An empty map.
    pub fn new() -> PerConnection<T> {
        PerConnection::default()
    }

    /// Sets a connection's value; returns the previous one.
    pub fn insert(&self, id: ConnId, value: T) -> Option<T> {
        let mut places = self.0.borrow_mut();
        if places.len() <= id.slot() {
            places.resize_with(id.slot() + 1, || None);
        }
        let before = places.get_mut(id.slot())?.replace(Box::new((id, value)));
        before.map(|before| before.1)
    }

    /// Removes and returns a connection's value. To be called when the connection closes: otherwise
    /// the value stays until another connection has its slot.
    pub fn remove(&self, id: ConnId) -> Option<T> {
        let mut places = self.0.borrow_mut();
        let place = places.get_mut(id.slot())?;
        place.take_if(|of| of.0 == id).map(|of| of.1)
    }

    /// Calls `f` with a connection's value, if it has one. `f` must not use `self`.
    pub fn with<R>(&self, id: ConnId, f: impl FnOnce(&mut T) -> R) -> Option<R> {
        let mut places = self.0.borrow_mut();
        let place = places.get_mut(id.slot())?.as_mut()?;
        (place.0 == id).then(|| f(&mut place.1))
    }

    /// Runs `f` on what is kept of a connection, which is the default if nothing was. `f` must not
    /// use `self`.
    pub fn with_default<R>(&self, id: ConnId, f: impl FnOnce(&mut T) -> R) -> R
    where
        T: Default,
    {
        let mut places = self.0.borrow_mut();
        if places.len() <= id.slot() {
            places.resize_with(id.slot() + 1, || None);
        }
        let mut fresh = None;
        let place = places.get_mut(id.slot()).unwrap_or(&mut fresh);
        if place.as_ref().is_some_and(|of| of.0 != id) {
            *place = None;
        }
        f(&mut place.get_or_insert_with(|| Box::new((id, T::default()))).1)
    }

    /// Calls `f` with each value and its connection. `f` must not use `self`.
    pub fn each(&self, mut f: impl FnMut(ConnId, &T)) {
        for (id, value) in self.0.borrow().iter().flatten().map(|place| &**place) {
            f(*id, value);
        }
    }

    /// Whether a connection has a value.
    pub fn has(&self, id: ConnId) -> bool {
        self.with(id, |_| ()).is_some()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_slot_that_is_used_again_has_nothing() {
        let id = |serial| ConnId::of(serial, 3);
        let kept = PerConnection::new();
        assert_eq!(kept.insert(id(1), "one"), None);
        assert_eq!(kept.with(id(1), |kept| *kept), Some("one"));
        assert_eq!(kept.with(id(2), |kept| *kept), None);
        assert_eq!(kept.remove(id(2)), None);
        assert!(kept.has(id(1)));
        assert_eq!(kept.insert(id(2), "two"), Some("one"));
        assert_eq!(kept.remove(id(1)), None);
        assert_eq!(kept.remove(id(2)), Some("two"));
        assert!(!kept.has(ConnId::of(9, 9)));
        kept.with_default(id(3), |kept| assert_eq!(*kept, ""));
        kept.with_default(id(3), |kept| *kept = "three");
        kept.with_default(id(3), |kept| assert_eq!(*kept, "three"));
        kept.with_default(id(4), |kept| assert_eq!(*kept, ""));
        assert!(!kept.has(id(3)));
    }
}
