//! The listener's object.

use std::rc::Rc;

use mlua::{Lua, UserData, UserDataFields, Value};

use super::dropped::Dropped;
use super::functions::Functions;
use super::handler::LuaHandler;
use super::options;
use crate::http::HttpListener;
use crate::script::functions::constants;
use crate::script::lua::error::Answer;
use crate::script::lua::function::{Args, Methods, Raiser, nothing, number, one, string};
use crate::script::reloading::staging::{Listening, Opened};
use crate::script::runtime::Runtime;

/// A listener for HTTP. When a script has lost it, it stops listening.
#[derive(Debug)]
struct HttpListenerObject {
    listener: Rc<HttpListener>,
    functions: Rc<Functions>,
    dropped: Dropped,
}

impl Drop for HttpListenerObject {
    fn drop(&mut self) {
        if self.listener.is_open() {
            self.dropped
                .note_listener(self.listener.clone(), self.functions.clone());
        }
    }
}

/// `dpm.http_listener(address, port, fn, options)`. Without an address it listens on this machine's own.
pub fn http_listener(lua: &Lua, runtime: &Rc<Runtime>, args: &Args) -> Answer {
    let address = match args.get(0) {
        Value::Nil => Some("127.0.0.1".to_owned()),
        _ => Some(args.text(0, "address")?).filter(|ip| ip != constants::INADDR_ANY),
    };
    let address = address.as_deref();
    let port = args.integer(1, "port", u16::MAX.into())? as u16;
    let function = args.function_or_nil(2, "fn")?;
    let options = options::argument(args, 3)?;
    let handler = LuaHandler::new(runtime);
    handler.functions.set(lua, &runtime.refs, function)?;
    let place = (format!("http:{}", address.unwrap_or_default()), port);
    let before = runtime.listener_before(&place, |socket| matches!(socket, Listening::Http(_)));
    let listener = match &before {
        Some(Listening::Http(before)) => before.listen_after(options, handler.clone()),
        _ => HttpListener::listen(runtime.proxy(), address, port, options, handler.clone()),
    };
    let listener = Rc::new(listener.map_err(|error| args.error(error))?);
    runtime.staging.note(Opened {
        address: place,
        socket: Listening::Http(listener.clone()),
        before,
    });
    let name = format!("{}:{}", listener.address(), listener.port());
    handler.set_name(format!("the HTTP listener on {name}"));
    let object = runtime.create_lean(HttpListenerObject {
        listener,
        functions: handler.functions.clone(),
        dropped: runtime.http.clone(),
    })?;
    one(Value::UserData(object))
}

impl UserData for HttpListenerObject {
    fn add_fields<F: UserDataFields<Self>>(fields: &mut F) {
        fields.add_meta_field("__name", "http_listener");
        fields.add_meta_field_with("__index", |lua| {
            let raiser = Raiser::of(lua)?;
            let runtime = Runtime::of(lua)?;
            let methods = Methods::new(lua, &raiser, "http_listener")?;
            methods.add::<HttpListenerObject>("address", |lua, this, _| {
                string(lua, this.listener.address())
            })?;
            methods.add::<HttpListenerObject>("port", |_, this, _| {
                number(this.listener.port().into())
            })?;
            methods.add::<HttpListenerObject>("clients", |_, this, _| {
                number(this.listener.clients() as f64)
            })?;
            methods.add::<HttpListenerObject>("is_open", |_, this, _| {
                one(Value::Boolean(this.listener.is_open()))
            })?;
            let rt = runtime.clone();
            methods.add::<HttpListenerObject>("close", move |_, this, _| {
                this.listener.close();
                this.functions.release(&rt.refs);
                nothing()
            })?;
            methods.add::<HttpListenerObject>("handler", move |lua, this, args| {
                if args.is_empty() {
                    return one(this.functions.given(&runtime.refs)?);
                }
                let function = args.function_or_nil(0, "fn")?;
                this.functions.set(lua, &runtime.refs, function)?;
                nothing()
            })?;
            Ok(methods.table)
        });
    }
}
