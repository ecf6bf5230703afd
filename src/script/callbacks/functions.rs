//! The functions that scripts register, and the object that holds a library's.

use std::cell::{Cell, RefCell};
use std::collections::HashSet;
use std::rc::Rc;

use mlua::{AnyUserData, Function, Lua, UserData, UserDataFields, Value};

use crate::proxy::ConnId;
use crate::script::lua::error::ScriptError;
use crate::script::lua::function::{Args, Methods, Raiser, nothing, one};
use crate::script::lua::refs::{Place, Ref};
use crate::script::runtime::Runtime;
use crate::session::{Event, EventSet};

/// When a function of a connection is called.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum When {
    /// At an event: the one function that is registered for it.
    Registered(Event),
    /// At an event, after the registered one, in the order in which they came.
    Listening {
        /// The event.
        event: Event,
        /// Also while a package is laid over the connection.
        always: bool,
    },
    /// After `MY_CLOSING`.
    Closed,
}

impl When {
    /// The event at which it is called; `covered`: while a package is laid over the connection.
    fn event(self, covered: bool) -> Option<Event> {
        match self {
            When::Registered(event) => (!covered).then_some(event),
            When::Listening { event, always } => (always || !covered).then_some(event),
            When::Closed => None,
        }
    }
}

/// One function of a connection.
#[derive(Debug)]
struct Callback {
    when: When,
    function: Ref,
}

/// The functions of a connection, the registered ones first: a list of what is there, because most have
/// none or few.
#[derive(Debug, Default)]
pub struct Callbacks(Vec<Callback>);

impl Callbacks {
    /// Which events have a function; `covered`: while a package is laid over the connection.
    pub fn set(&self, covered: bool) -> EventSet {
        let events = self.0.iter().filter_map(|it| it.when.event(covered));
        events.fold(EventSet::NONE, |set, event| set.with(event.set()))
    }

    /// The functions for this event, in the order in which they are called; `covered`: while a package is
    /// laid over the connection.
    pub fn at(&self, event: Event, covered: bool) -> impl Iterator<Item = Place> {
        let due = move |callback: &&Callback| callback.when.event(covered) == Some(event);
        let callbacks = self.0.iter().filter(due);
        callbacks.map(|callback| callback.function.place())
    }

    /// Whether the function in this place has not been removed.
    pub fn has(&self, place: Place) -> bool {
        let mut places = self.0.iter().map(|callback| callback.function.place());
        places.any(|its| its == place)
    }

    /// Takes away the function in this place. It is to be released.
    pub fn remove(&mut self, place: Place) -> Option<Ref> {
        let mut places = self.0.iter().map(|callback| callback.function.place());
        let index = places.position(|its| its == place)?;
        Some(self.0.remove(index).function)
    }

    /// The function that is registered for this event.
    pub fn registered(&self, event: Event) -> Option<Place> {
        let when = When::Registered(event);
        let mut callbacks = self.0.iter();
        callbacks
            .find(|callback| callback.when == when)
            .map(|callback| callback.function.place())
    }

    /// Takes away the function that is registered for this event. It is to be released.
    pub fn unregister(&mut self, event: Event) -> Option<Ref> {
        let when = When::Registered(event);
        let index = self.0.iter().position(|callback| callback.when == when)?;
        Some(self.0.remove(index).function)
    }

    /// One more function.
    pub fn add(&mut self, when: When, function: Ref) {
        // There are many connections, each with a few.
        self.0.reserve_exact(1);
        let at = match when {
            When::Registered(_) => 0,
            _ => self.0.len(),
        };
        self.0.insert(at, Callback { when, function });
    }

    /// The functions that are called after `MY_CLOSING`.
    pub fn closed(&self) -> Vec<Place> {
        let due = self
            .0
            .iter()
            .filter(|callback| callback.when == When::Closed);
        due.map(|callback| callback.function.place()).collect()
    }

    /// All of them, to be released.
    pub fn into_refs(self) -> impl Iterator<Item = Ref> {
        self.0.into_iter().map(|callback| callback.function)
    }
}

/// Where an event's function is in a package.
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

/// What Rust knows of a package: which events have a function, and which connections it is laid over.
#[derive(Debug, Default)]
pub struct PackageInfo {
    set: Cell<EventSet>,
    users: RefCell<HashSet<ConnId>>,
}

impl PackageInfo {
    /// Which events have a function.
    pub fn set(&self) -> EventSet {
        self.set.get()
    }

    /// It is laid over this connection now.
    pub fn add_user(&self, id: ConnId) {
        self.users.borrow_mut().insert(id);
    }

    /// It is lifted from this connection.
    pub fn remove_user(&self, id: ConnId) {
        self.users.borrow_mut().remove(&id);
    }
}

/// What `dpm.new_callback()` makes. Its functions are in its user values, and not held from Rust, so
/// that one of them may refer to the object without keeping it for ever.
#[derive(Debug, Default)]
pub struct CallbackObject(Rc<PackageInfo>);

impl CallbackObject {
    /// A new one, without functions.
    pub fn create(lua: &Lua) -> mlua::Result<AnyUserData> {
        lua.create_userdata(CallbackObject::default())
    }

    /// What is known of it.
    pub fn info(&self) -> Rc<PackageInfo> {
        self.0.clone()
    }

    fn put(
        &self,
        object: &AnyUserData,
        event: Event,
        function: Option<&Function>,
    ) -> mlua::Result<()> {
        object.set_nth_user_value(user_value(event), function)?;
        let before = self.0.set.get().0;
        let bit = event.set().0;
        self.0.set.set(EventSet(match function {
            Some(_) => before | bit,
            None => before & !bit,
        }));
        Ok(())
    }
}

fn user_value(event: Event) -> usize {
    event as usize + 1
}

impl UserData for CallbackObject {
    fn add_fields<F: UserDataFields<Self>>(fields: &mut F) {
        fields.add_meta_field("__name", "callback");
        fields.add_meta_field_with("__index", |lua| {
            let raiser = Raiser::of(lua)?;
            let runtime = Runtime::of(lua)?;
            let methods = Methods::new(lua, &raiser, "callback")?;
            methods.add_raw("register", move |_, object, args| {
                let package = object.borrow::<CallbackObject>().map_err(|_| {
                    args.error("must be called on a callback object, as callback:register()")
                })?;
                let event = state_argument(args)?;
                if args.len() == 1 {
                    return one(object.nth_user_value::<Value>(user_value(event))?);
                }
                package.put(object, event, args.function_or_nil(1, "function")?)?;
                let users: Vec<ConnId> = package.0.users.borrow().iter().copied().collect();
                for id in users {
                    runtime.rearm(id);
                }
                nothing()
            })?;
            Ok(methods.table)
        });
    }
}
