//! The handle of a function that was added to a connection: takes it away again.

use std::cell::Cell;
use std::rc::Rc;

use mlua::{UserData, UserDataFields, Value};

use super::answers;
use super::error::Answer;
use super::function::{Methods, Raiser, nothing, one};
use super::refs::Place;
use super::runtime::Runtime;
use crate::proxy::ConnId;

/// What the function was added with.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Added {
    /// `conn:listen` or `conn:on_close`.
    Callback,
    /// `server:on_answer`.
    Watcher,
}

/// What `listen`, `on_close` and `on_answer` return.
#[derive(Debug)]
pub struct HandleObject {
    conn: ConnId,
    added: Added,
    /// Where the function is, until it is removed.
    place: Cell<Option<Place>>,
}

impl HandleObject {
    /// The handle of the function in this place, as the result of the method that added it.
    pub fn answer(runtime: &Runtime, conn: ConnId, added: Added, place: Place) -> Answer {
        let place = Cell::new(Some(place));
        let handle = HandleObject { conn, added, place };
        one(Value::UserData(runtime.create_lean(handle)?))
    }

    /// On a connection that has closed there is nothing left to remove: its name is not used again.
    fn remove(&self, runtime: &Rc<Runtime>) {
        let Some(place) = self.place.take() else {
            return;
        };
        match self.added {
            Added::Callback => {
                let function = runtime.entry(self.conn, |entry| entry.own.remove(place));
                runtime.refs.release(function.flatten());
                runtime.rearm(self.conn);
            }
            Added::Watcher => answers::remove(runtime, self.conn, place),
        }
    }
}

impl UserData for HandleObject {
    fn add_fields<F: UserDataFields<Self>>(fields: &mut F) {
        fields.add_meta_field("__name", "handle");
        fields.add_meta_field_with("__index", |lua| {
            let raiser = Raiser::of(lua)?;
            let runtime = Runtime::of(lua)?;
            let methods = Methods::new(lua, &raiser, "handle")?;
            methods.add::<HandleObject>("remove", move |_, handle, _| {
                handle.remove(&runtime);
                nothing()
            })?;
            Ok(methods.table)
        });
    }
}
