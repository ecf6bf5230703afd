//! What can be done to a connection.

use super::conn::ConnObject;
use std::rc::Rc;

use mlua::{Function, MetaMethod, UserData, UserDataFields, UserDataMethods, Value};

use crate::proxy::{ConnInfo, ConnKind};
use crate::script::callbacks::functions::Kind;
use crate::script::callbacks::handle::{Added, HandleObject};
use crate::script::callbacks::package::{CallbackObject, state_argument};
use crate::script::callbacks::registry::{Entry, Package};
use crate::script::lua::error::Answer;
use crate::script::lua::function::{Args, Methods, Raiser, nothing, number, one, string};
use crate::script::lua::option_table::OptionTable;
use crate::script::objects::rowset::RowsetObject;
use crate::script::runtime::Runtime;
use crate::session::Event;

/// What `my_type()` says of the far end.
pub const CONSTANTS: [(&str, u64); 2] = [("MY_CLIENT", MY_CLIENT), ("MY_SERVER", MY_SERVER)];
const MY_CLIENT: u64 = 1;
const MY_SERVER: u64 = 2;

impl UserData for ConnObject {
    fn add_fields<F: UserDataFields<Self>>(fields: &mut F) {
        fields.add_meta_field("__name", "conn");
        fields.add_meta_field_with("__index", |lua| {
            let raiser = Raiser::of(lua)?;
            let runtime = Runtime::of(lua)?;
            let methods = Methods::new(lua, &raiser, "conn")?;
            add_values(&methods)?;
            crate::script::statements::memory::add_methods(&methods, &runtime)?;
            crate::script::callbacks::watched_commands::add_methods(&methods, &runtime)?;
            super::tracked_session::add_methods(&methods, &runtime)?;
            super::tls::add_methods(&methods, &runtime)?;
            add_callbacks(&methods, &runtime)?;
            add_rows(&methods, &runtime)?;
            add_flow(&methods, &runtime)?;
            Ok(methods.table)
        });
    }

    fn add_methods<M: UserDataMethods<Self>>(methods: &mut M) {
        // Mostly for `print`.
        methods.add_meta_method(MetaMethod::ToString, |_, conn, ()| {
            let info = conn.info();
            let kind = match info.kind {
                ConnKind::TcpListener | ConnKind::UnixListener => "listener",
                ConnKind::Client => "client",
                ConnKind::Server => "server",
            };
            let (id, address) = (info.id.serial(), info.address());
            Ok(format!("{kind} {id} ({address}:{})", info.port.get()))
        });
    }
}

/// A method that only reads.
fn add_value(
    methods: &Methods<'_>,
    name: &'static str,
    read: impl Fn(&mlua::Lua, &ConnInfo) -> Answer + 'static,
) -> mlua::Result<()> {
    methods.add::<ConnObject>(name, move |lua, conn, args: &Args| {
        if !args.is_empty() {
            return Err(args.error("expected no argument: it is read-only"));
        }
        read(lua, conn.info())
    })
}

fn add_values(methods: &Methods<'_>) -> mlua::Result<()> {
    add_value(methods, "id", |_, info| number(info.id.serial().into()))?;
    add_value(methods, "remote_id", |_, info| {
        number(info.remote_id.get().into())
    })?;
    add_value(methods, "listener", |_, info| {
        number(match info.kind {
            ConnKind::TcpListener => 1.0,
            ConnKind::UnixListener => 2.0,
            ConnKind::Client | ConnKind::Server => 0.0,
        })
    })?;
    add_value(methods, "my_type", |_, info| {
        number(match info.kind {
            ConnKind::Server => MY_SERVER,
            // For a listener: its far ends are clients.
            _ => MY_CLIENT,
        } as f64)
    })?;
    add_value(methods, "socket_address", |lua, info| {
        string(lua, info.address().to_string())
    })?;
    add_value(methods, "socket_port", |_, info| {
        number(info.port.get().into())
    })?;
    add_value(methods, "user", |lua, info| match info.user() {
        Some(user) => string(lua, user),
        None => one(Value::Nil),
    })?;
    add_value(methods, "compression", |lua, info| {
        match info.compression.get() {
            Some(algorithm) => string(lua, algorithm.name()),
            None => one(Value::Nil),
        }
    })?;
    add_value(methods, "secure", |_, info| {
        one(Value::Boolean(info.secure.get()))
    })?;
    add_value(methods, "state", |_, info| match info.state.get() {
        Some(event) => number(f64::from(event as u8)),
        None => one(Value::Nil),
    })?;
    add_value(methods, "close_reason", |lua, info| {
        match info.closed.get() {
            true => string(lua, info.reason()),
            false => one(Value::Nil),
        }
    })
}

fn add_callbacks(methods: &Methods<'_>, runtime: &Rc<Runtime>) -> mlua::Result<()> {
    let rt = runtime.clone();
    methods.add::<ConnObject>("register", move |_, conn, args| {
        let event = state_argument(args)?;
        let id = conn.id();
        if args.len() == 1 {
            let own = rt.entry(id, |entry| entry.own.registered(event));
            return one(match own.flatten() {
                Some(function) => rt.refs.value(function)?,
                None => Value::Nil,
            });
        }
        let function = args.function_or_nil(1, "function")?;
        rt.register(id, event, function)?;
        nothing()
    })?;

    let rt = runtime.clone();
    methods.add::<ConnObject>("package_register", move |_, conn, args| {
        let id = conn.id();
        if args.is_empty() {
            let package = |entry: &mut Entry| Some(entry.package.as_ref()?.object.place());
            return one(match rt.entry(id, package).flatten() {
                Some(object) => rt.refs.value(object)?,
                None => Value::Nil,
            });
        }
        let mut package = match args.get(0) {
            Value::Nil => None,
            Value::UserData(object) if object.is::<CallbackObject>() => {
                let info = object.borrow::<CallbackObject>()?.info();
                let object = rt.refs.keep(object)?;
                Some(Box::new(Package { object, info }))
            }
            _ => return Err(args.expected(0, "", "a callback object or nil")),
        };
        let before = rt.entry(id, |entry| entry.lay_over(package.take()));
        let released = before.flatten().into_iter().chain(package);
        rt.refs.release(released.map(|package| package.object));
        rt.rearm(id);
        nothing()
    })?;

    let rt = runtime.clone();
    methods.add::<ConnObject>("on_close", move |_, conn, args| {
        let function = args.function(0, "")?;
        add(&rt, conn, Event::Closing, Kind::OnClose, function, args)
    })?;

    let rt = runtime.clone();
    methods.add::<ConnObject>("listen", move |_, conn, args| {
        let event = state_argument(args)?;
        let function = args.function(1, "function")?;
        let options = OptionTable::argument(args, 2, &["always"])?;
        let always = options.map(|options| options.boolean("always"));
        let always = always.transpose()?.flatten().unwrap_or_default();
        let kind = match always {
            true => Kind::Always,
            false => Kind::Listening,
        };
        add(&rt, conn, event, kind, function, args)
    })
}

/// Adds a function to a connection, and returns the handle that removes it.
fn add(
    rt: &Runtime,
    conn: &ConnObject,
    event: Event,
    kind: Kind,
    function: &Function,
    args: &Args,
) -> Answer {
    let id = conn.id();
    match rt.add(id, event, kind, function)? {
        Some(place) => HandleObject::answer(rt, id, Added::Callback(place)),
        None => {
            let (id, reason) = (id.serial(), conn.info().reason());
            Err(args.error(format!("connection {id} is closed ({reason})")))
        }
    }
}

fn add_rows(methods: &Methods<'_>, runtime: &Rc<Runtime>) -> mlua::Result<()> {
    let rt = runtime.clone();
    methods.add::<ConnObject>("collect_rows", move |_, conn, args| {
        let rows = match args.get(0) {
            Value::Nil => None,
            _ => {
                let rows = |rowset: &RowsetObject| rowset.0.clone();
                Some(args.object(0, "", "a rowset or nil", rows)?)
            }
        };
        rt.rows.collect(rt.proxy(), conn.id(), rows);
        nothing()
    })
}

fn add_flow(methods: &Methods<'_>, runtime: &Rc<Runtime>) -> mlua::Result<()> {
    let rt = runtime.clone();
    methods.add::<ConnObject>("pending", move |_, conn, _| {
        number(rt.proxy().pending(conn.id()) as f64)
    })?;
    let rt = runtime.clone();
    methods.add::<ConnObject>("time_left", move |_, conn, _| {
        let left = rt.proxy().time_left(conn.id());
        one(left.map_or(Value::Nil, |left| Value::Number(left.as_secs_f64())))
    })?;
    let rt = runtime.clone();
    methods.add::<ConnObject>("limit_login", move |_, conn, args| {
        let seconds = args.seconds(0, "seconds")?;
        one(Value::Boolean(rt.proxy().limit_login(conn.id(), seconds)))
    })?;
    let rt = runtime.clone();
    methods.add::<ConnObject>("pause", move |_, conn, _| {
        // To a state that it has left it is closed.
        if !conn.info().closed.get() {
            rt.proxy().pause(conn.id());
        }
        nothing()
    })?;
    let rt = runtime.clone();
    methods.add::<ConnObject>("resume", move |_, conn, _| {
        if !conn.info().closed.get() {
            rt.proxy().resume(conn.id());
        }
        nothing()
    })
}
