//! Lua values that Rust holds on to, as many as there is memory for.
//!
//! mlua keeps the value of each of its handles (`Function`, `AnyUserData`, `Table`) on one auxiliary
//! stack, which LuaJIT limits to 8,000 slots. So handles are for what lives no longer than a call, and
//! for what there is one of in the whole process. Whatever there is one of for each connection, timer
//! or listening function is an element of one Lua table instead, and Rust has the element's number.

use std::cell::RefCell;
use std::rc::Rc;

use mlua::{IntoLua, Lua, Table, Value};

use super::fast::{Fast, Place};

/// A value in the table. Its owner has to release it with [`Refs::release`]. Drop cannot do so,
/// because it often happens under a borrow, where Lua must not run.
#[derive(Debug, PartialEq, Eq)]
#[must_use = "a value that is not released stays in Lua for ever"]
pub struct Ref(Place);

impl Ref {
    /// Where the value is, until it is released.
    pub fn place(&self) -> Place {
        self.0
    }
}

/// A value in the table that is released by itself. Dropping this only puts it down to be released at the
/// end of the tick, for the same reason.
#[derive(Debug)]
pub struct Owned {
    value: Option<Ref>,
    dropped: Rc<RefCell<Vec<Ref>>>,
}

impl Owned {
    /// Where the value is.
    pub fn place(&self) -> Option<Place> {
        self.value.as_ref().map(Ref::place)
    }
}

impl Drop for Owned {
    fn drop(&mut self) {
        self.dropped.borrow_mut().extend(self.value.take());
    }
}

/// The table, and which of its elements are free.
#[derive(Debug)]
pub struct Refs {
    table: Table,
    places: RefCell<Places>,
    dropped: Rc<RefCell<Vec<Ref>>>,
}

#[derive(Debug, Default)]
struct Places {
    /// How many the table has.
    len: i32,
    free: Vec<Place>,
    /// Places that were released in this tick. They are not reused before its end, so that code
    /// that noted a place before calling Lua finds the same value afterwards, or none.
    released: Vec<Place>,
}

impl Refs {
    /// Those of this state.
    pub fn new(lua: &Lua, fast: &Fast) -> mlua::Result<Refs> {
        Ok(Refs {
            table: fast.refs(lua)?,
            places: RefCell::default(),
            dropped: Rc::default(),
        })
    }

    /// Whether the value is in this table, and not in another state's.
    pub fn has(&self, value: &Owned) -> bool {
        Rc::ptr_eq(&self.dropped, &value.dropped)
    }

    /// Holds on to a value until the result is dropped.
    pub fn own(&self, value: impl IntoLua) -> mlua::Result<Owned> {
        Ok(Owned {
            value: Some(self.keep(value)?),
            dropped: self.dropped.clone(),
        })
    }

    /// Holds on to a value.
    pub fn keep(&self, value: impl IntoLua) -> mlua::Result<Ref> {
        let place = {
            let mut places = self.places.borrow_mut();
            places.free.pop().unwrap_or_else(|| {
                places.len += 1;
                Place(places.len)
            })
        };
        match self.table.raw_set(place.0, value) {
            Ok(()) => Ok(Ref(place)),
            Err(error) => {
                self.places.borrow_mut().free.push(place);
                Err(error)
            }
        }
    }

    /// The value.
    pub fn value(&self, place: Place) -> mlua::Result<Value> {
        self.table.raw_get(place.0)
    }

    /// Replaces the value in this place.
    pub fn replace(&self, place: Place, value: impl IntoLua) -> mlua::Result<()> {
        self.table.raw_set(place.0, value)
    }

    /// Releases values. Finalizers may run, so nothing may be borrowed.
    pub fn release(&self, refs: impl IntoIterator<Item = Ref>) {
        for Ref(place) in refs {
            match self.table.raw_set(place.0, Value::Nil) {
                Ok(()) => self.places.borrow_mut().released.push(place),
                Err(error) => log::error!("a Lua value cannot be released: {error}"),
            }
        }
    }

    /// What was dropped in this tick is released, and can be used again.
    pub fn end_of_tick(&self) {
        let dropped = self.dropped.take();
        self.release(dropped);
        let places = &mut *self.places.borrow_mut();
        places.free.append(&mut places.released);
    }

    /// How many values are held.
    pub fn len(&self) -> usize {
        let places = self.places.borrow();
        let unused = places.free.len() + places.released.len() + self.dropped.borrow().len();
        usize::try_from(places.len).unwrap_or_default() - unused
    }
}
