//! The object that holds a library's functions.

use std::rc::Rc;

use super::functions::PackageInfo;
use mlua::{AnyUserData, Function, Lua, UserData, UserDataFields, Value};

use crate::proxy::ConnId;
use crate::script::lua::error::ScriptError;
use crate::script::lua::function::{Args, Methods, Raiser, nothing, one};
use crate::script::runtime::Runtime;
use crate::session::{Event, EventSet};

/// The first argument of `register`: a state.
pub fn state_argument(args: &Args) -> Result<Event, ScriptError> {
    args.integer(0, "state", u64::MAX)
        .ok()
        .and_then(Event::from_number)
        .ok_or_else(|| args.expected(0, "state", "a state such as dpm.MYC_SENT_CMD"))
}

/// The object of `dpm.new_callback()`. Its functions are in its user values rather than held by
/// Rust, so that a function may refer to the object without keeping it alive for ever.
#[derive(Debug, Default)]
pub struct CallbackObject(Rc<PackageInfo>);

impl CallbackObject {
    /// A new one, without functions.
    pub fn create(lua: &Lua) -> mlua::Result<AnyUserData> {
        lua.create_userdata(CallbackObject::default())
    }

    /// Its information.
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
