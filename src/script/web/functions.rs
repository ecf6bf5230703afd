//! The function that answers the requests of a listener.

use std::cell::RefCell;

use mlua::{Function, Lua, Value};

use crate::script::lua::fast::Place;
use crate::script::lua::refs::{Ref, Refs};

/// What the script has given, and what calls it, if there is any.
#[derive(Debug, Default)]
pub struct Functions(RefCell<Option<Pair>>);

#[derive(Debug)]
struct Pair {
    given: Ref,
    called: Ref,
}

impl Functions {
    /// Sets the function.
    pub fn set(&self, lua: &Lua, refs: &Refs, function: Option<&Function>) -> mlua::Result<()> {
        let pair = match function {
            None => None,
            Some(function) => {
                let source = include_str!("call_handler.lua");
                let wrap: Function = lua.load(source).set_name("=dpm").eval()?;
                let called: Function = wrap.call(function)?;
                Some(Pair {
                    given: refs.keep(function)?,
                    called: refs.keep(called)?,
                })
            }
        };
        self.release(refs);
        self.0.replace(pair);
        Ok(())
    }

    /// The listener is closed: nothing is asked any more.
    pub fn release(&self, refs: &Refs) {
        let pair = self.0.take().map(|pair| [pair.given, pair.called]);
        refs.release(pair.into_iter().flatten());
    }

    /// The function that was set.
    pub fn given(&self, refs: &Refs) -> mlua::Result<Value> {
        let place = self.0.borrow().as_ref().map(|pair| pair.given.place());
        place.map_or(Ok(Value::Nil), |place| refs.value(place))
    }

    /// What is to be called with a request and its exchange.
    pub fn called(&self) -> Option<Place> {
        self.0.borrow().as_ref().map(|pair| pair.called.place())
    }
}
