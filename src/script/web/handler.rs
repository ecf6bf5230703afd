//! The script's function that answers requests.

use std::cell::RefCell;
use std::rc::{Rc, Weak};

use mlua::{Lua, Value};

use super::exchange::ExchangeObject;
use super::functions::Functions;
use super::leaving::Leaving;
use super::values;
use crate::http::{Exchange, Handler, Refusal, Request, Response};
use crate::script::lua::fast::{Arg, Target};
use crate::script::runtime::Runtime;

/// What answers the requests of one listener.
#[derive(Debug)]
pub struct LuaHandler {
    runtime: Weak<Runtime>,
    /// The listener, in messages.
    name: RefCell<String>,
    /// What the script has given.
    pub functions: Rc<Functions>,
    leaving: Rc<Leaving>,
}

impl LuaHandler {
    /// Without a function yet.
    pub fn new(runtime: &Rc<Runtime>) -> Rc<LuaHandler> {
        Rc::new(LuaHandler {
            runtime: Rc::downgrade(runtime),
            name: RefCell::default(),
            functions: Rc::default(),
            leaving: Rc::default(),
        })
    }

    /// How messages name the listener.
    pub fn set_name(&self, name: String) {
        self.name.replace(name);
    }

    fn ask(
        &self,
        runtime: &Rc<Runtime>,
        lua: &Lua,
        request: &Request,
        exchange: &Exchange,
    ) -> mlua::Result<bool> {
        let Some(place) = self.functions.called() else {
            let refusal = Refusal::new(404, "nothing is here");
            exchange.answer(&Response::error(refusal, &[]));
            return Ok(true);
        };
        let table = Value::Table(values::request_table(lua, request)?);
        let object =
            ExchangeObject::new(exchange.clone(), self.leaving.clone(), runtime.http.clone());
        let object = runtime.create_lean(object)?;
        let name = self.name.borrow().clone();
        // The target is the client's text.
        let what = || {
            let target = request.target.chars().take(200);
            let target: String = target.flat_map(char::escape_default).collect();
            format!("of {name} for {} {target}", request.method)
        };
        let args = [Arg::Value(&table), Arg::Object(&object)];
        Ok(runtime.notify(lua, what, Target::Kept(place), &args))
    }
}

impl Handler for LuaHandler {
    fn request(&self, request: Request, exchange: Exchange) {
        let Some(runtime) = self.runtime.upgrade() else {
            return;
        };
        let Some(lua) = runtime.lua() else {
            return;
        };
        let done = self
            .ask(&runtime, &lua, &request, &exchange)
            .unwrap_or_else(|error| {
                log::error!("a request cannot be given to the script: {error}");
                runtime.count_error();
                false
            });
        if !done {
            let refusal = Refusal::new(500, "the script failed");
            if !exchange.answer(&Response::error(refusal, &[])) {
                exchange.finish();
            }
            self.leaving.forget(&runtime.refs, exchange.number());
        }
    }

    fn gone(&self, exchange: u64) {
        let Some(runtime) = self.runtime.upgrade() else {
            return;
        };
        let functions = self.leaving.take(exchange);
        if let Some(lua) = runtime.lua() {
            for function in &functions {
                let what = || format!("on_close of a request of {}", self.name.borrow());
                runtime.notify(&lua, what, Target::Kept(function.place()), &[]);
            }
        }
        runtime.refs.release(functions);
    }
}
