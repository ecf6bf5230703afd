//! The functions that scripts register, and the object that holds a library's.

use std::cell::Cell;
use std::rc::Rc;

use mlua::{AnyUserData, Function, Lua, Table, UserData, UserDataFields, Value};

use super::error::ScriptError;
use super::fast::Kept;
use super::function::{Args, Methods, Raiser, nothing, one};
use super::runtime::Runtime;
use crate::session::{Event, EventSet};

/// Functions by event. They are in a Lua table, where one call of the C API finds them; Rust only
/// knows which are there.
#[derive(Debug, Clone)]
pub struct Callbacks(Rc<Inner>);

#[derive(Debug)]
struct Inner {
    functions: Table,
    kept: Kept,
    /// Shared by all who use the same functions.
    set: Rc<Cell<EventSet>>,
}

impl Callbacks {
    /// None yet.
    pub fn new(lua: &Lua) -> mlua::Result<Callbacks> {
        let functions = lua.create_table_with_capacity(Event::ALL.len(), 0)?;
        Callbacks::of(lua, functions, Rc::default())
    }

    fn of(lua: &Lua, functions: Table, set: Rc<Cell<EventSet>>) -> mlua::Result<Callbacks> {
        let kept = Kept::new(lua, &functions)?;
        Ok(Callbacks(Rc::new(Inner {
            functions,
            kept,
            set,
        })))
    }

    /// Which events have a function.
    pub fn set(&self) -> EventSet {
        self.0.set.get()
    }

    /// Where the functions are.
    pub fn functions(&self) -> &Kept {
        &self.0.kept
    }

    /// The function for this event.
    pub fn get(&self, event: Event) -> mlua::Result<Value> {
        self.0.functions.raw_get(index(event))
    }

    /// Puts a function in the place of the one that is there, or takes that away.
    pub fn put(&self, event: Event, function: Option<&Function>) -> mlua::Result<()> {
        self.0.functions.raw_set(index(event), function)?;
        let before = self.0.set.get().0;
        let bit = event.set().0;
        self.0.set.set(EventSet(match function {
            Some(_) => before | bit,
            None => before & !bit,
        }));
        Ok(())
    }

    /// Whether both are the same functions, not merely equal ones.
    pub fn same(&self, other: &Callbacks) -> bool {
        Rc::ptr_eq(&self.0.set, &other.0.set)
    }
}

/// Where an event's function is in the table.
pub fn index(event: Event) -> i32 {
    event as i32 + 1
}

/// The arguments of `register`: a state, and what is to be done with its function. Without a
/// second argument it is only asked for.
pub fn state_argument(args: &Args) -> Result<Event, ScriptError> {
    args.integer(0, "state", u64::MAX)
        .ok()
        .and_then(Event::from_number)
        .ok_or_else(|| args.expected(0, "state", "a state such as dpm.MYC_SENT_CMD"))
}

/// What `dpm.new_callback()` makes. Its functions are in its user value, and not held from Rust, so
/// that one of them may refer to the object without keeping it for ever.
#[derive(Debug)]
pub struct CallbackObject {
    set: Rc<Cell<EventSet>>,
}

impl CallbackObject {
    /// A new one, without functions.
    pub fn create(lua: &Lua) -> mlua::Result<AnyUserData> {
        let set = Rc::default();
        let object = lua.create_userdata(CallbackObject { set })?;
        object.set_user_value(lua.create_table_with_capacity(Event::ALL.len(), 0)?)?;
        Ok(object)
    }

    /// The functions of such an object.
    pub fn callbacks(lua: &Lua, object: &AnyUserData) -> mlua::Result<Callbacks> {
        let set = object.borrow::<CallbackObject>()?.set.clone();
        Callbacks::of(lua, object.user_value()?, set)
    }
}

impl UserData for CallbackObject {
    fn add_fields<F: UserDataFields<Self>>(fields: &mut F) {
        fields.add_meta_field("__name", "callback");
        fields.add_meta_field_with("__index", |lua| {
            let raiser = Raiser::of(lua)?;
            let runtime = Runtime::of(lua)?;
            let methods = Methods::new(lua, &raiser, "callback")?;
            methods.add_raw("register", move |lua, object, args| {
                let callbacks = CallbackObject::callbacks(lua, object).map_err(|_| {
                    args.error("must be called on a callback object, as callback:register()")
                })?;
                let event = state_argument(args)?;
                if args.len() == 1 {
                    return one(callbacks.get(event)?);
                }
                callbacks.put(event, args.function_or_nil(1, "function")?)?;
                runtime.rearm_users(&callbacks);
                nothing()
            })?;
            Ok(methods.table)
        });
    }
}
