//! The handle of a function that was added to a connection, which can remove it.

use std::cell::Cell;
use std::rc::Rc;

use mlua::{UserData, UserDataFields, Value};

use crate::observe::WatchId;
use crate::proxy::ConnId;
use crate::script::lua::error::Answer;
use crate::script::lua::fast::Place;
use crate::script::lua::function::{Methods, Raiser, nothing, one};
use crate::script::runtime::Runtime;

/// What the function was added with.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Added {
    /// `conn:listen` or `conn:on_close`; where the function is.
    Callback(Place),
    /// `server:on_answer`.
    Watcher(WatchId),
}

/// What `listen`, `on_close` and `on_answer` return.
#[derive(Debug)]
pub struct HandleObject {
    conn: ConnId,
    /// Nothing any more once it is removed.
    added: Cell<Option<Added>>,
}

impl HandleObject {
    /// The handle of a function, as the result of the method that added it.
    pub fn answer(runtime: &Runtime, conn: ConnId, added: Added) -> Answer {
        let added = Cell::new(Some(added));
        let handle = HandleObject { conn, added };
        one(Value::UserData(runtime.create_lean(handle)?))
    }

    /// On a connection that has closed there is nothing left to remove: its name is not used again.
    fn remove(&self, runtime: &Rc<Runtime>) {
        match self.added.take() {
            None => {}
            Some(Added::Callback(place)) => {
                let function = runtime.entry(self.conn, |entry| entry.own.remove(place));
                runtime.refs.release(function.flatten());
                runtime.rearm(self.conn);
            }
            Some(Added::Watcher(watch)) => {
                runtime
                    .watched_commands
                    .unwatch(runtime.proxy(), self.conn, watch);
            }
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
