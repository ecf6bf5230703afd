//! The pool object.

use std::rc::Rc;
use std::sync::Arc;

use mlua::{Lua, UserData, UserDataFields, Value};

use super::above::Functions;
use super::handle::PoolObject;
use super::{options, sessions, tables};
use crate::pool::{Access, Adopted, Bell, Doing, Health, Opened, Pool, PoolId, Role, Settings};
use crate::script::connections::conn::connection;
use crate::script::lua::error::Answer;
use crate::script::lua::function::{Args, Methods, Raiser, nothing, one, string};
use crate::script::lua::option_table::OptionTable;
use crate::script::runtime::Runtime;

/// The longest name of a server, an account or a user.
const MAX_NAME: usize = 1024;

/// `dpm.new_pool(functions, options)`
pub fn new_pool(runtime: &Rc<Runtime>, args: &Args) -> Answer {
    let functions = Functions::of(runtime, args, args.table(0, "functions")?)?;
    let table = OptionTable::argument(args, 1, options::NAMES)?;
    let options = table.as_ref().map(options::read).transpose()?;
    let name = table.map(|table| table.text("name")).transpose()?;
    let proxy = runtime.proxy();
    let common = match name.flatten() {
        Some(name) => proxy.worker().common(&name),
        None => Arc::default(),
    };
    let bell = Bell::new(proxy.waker());
    let pool = Pool::new(
        options.unwrap_or_default(),
        Rc::new(functions),
        common,
        bell,
    );
    let id = runtime.pools.add(pool);
    let place = runtime.own_pools.borrow().len();
    runtime.own_pools.borrow_mut().push(id);
    // A pool that takes the place of one that is paused begins so, too.
    let before = runtime.predecessor.upgrade();
    let before = before.and_then(|before| before.own_pools.borrow().get(place).copied());
    if let Some(before) = before.filter(|_| runtime.staging.waits()) {
        let pools = runtime.pools.clone();
        runtime.when_in_use(move || pools.pause(id, pools.is_paused(before)));
    }
    one(Value::UserData(runtime.create_lean(PoolObject(id))?))
}

impl UserData for PoolObject {
    fn add_fields<F: UserDataFields<Self>>(fields: &mut F) {
        fields.add_meta_field("__name", "pool");
        fields.add_meta_field_with("__index", |lua| {
            let raiser = Raiser::of(lua)?;
            let runtime = Runtime::of(lua)?;
            let methods = Methods::new(lua, &raiser, "pool")?;
            add_events(&methods, &runtime)?;
            add_control(&methods, &runtime)?;
            add_kills(&methods, &runtime)?;
            sessions::add(&methods, &runtime)?;
            add_tables(&methods, &runtime)?;
            Ok(methods.table)
        });
    }
}

/// What the script tells the pool.
fn add_events(methods: &Methods<'_>, runtime: &Rc<Runtime>) -> mlua::Result<()> {
    let rt = runtime.clone();
    methods.add::<PoolObject>("adopt", move |_, pool, args| adopt(&rt, pool.0, args))?;
    let rt = runtime.clone();
    methods.add::<PoolObject>("opened", move |_, pool, args| {
        let opened = Opened {
            ticket: args.integer(0, "ticket", u64::MAX)?,
            server: connection(args, 1, "server")?.id,
            thread_id: args.integer(2, "thread_id", u32::MAX.into())? as u32,
            version: args.bytes(3, "version", MAX_NAME)?,
        };
        let was_asked = rt.pools.opened(rt.proxy(), pool.0, opened);
        one(Value::Boolean(was_asked))
    })?;
    let rt = runtime.clone();
    methods.add::<PoolObject>("failed", move |_, pool, args| {
        rt.pools
            .failed(pool.0, args.integer(0, "ticket", u64::MAX)?);
        nothing()
    })?;
    let rt = runtime.clone();
    methods.add::<PoolObject>("login_refused", move |lua, pool, args| {
        let ticket = args.integer(0, "ticket", u64::MAX)?;
        let waiting = rt.pools.login_refused(pool.0, ticket);
        let ids = waiting.iter().map(|client| client.serial());
        one(Value::Table(lua.create_sequence_from(ids)?))
    })?;
    let rt = runtime.clone();
    methods.add::<PoolObject>("tick", move |_, pool, _| {
        rt.pools.tick(rt.proxy(), pool.0);
        nothing()
    })
}

fn adopt(runtime: &Rc<Runtime>, pool: PoolId, args: &Args) -> Answer {
    let client = connection(args, 0, "client")?;
    let known = &[
        "user",
        "account",
        "party",
        "schema",
        "charset",
        "collation",
        "max_connections",
    ];
    let table = OptionTable::of(args, args.table(1, "session")?, "", known)?;
    let text = |name| Ok::<_, crate::script::ScriptError>(table.text(name)?.unwrap_or_default());
    let schema = table
        .bytes("schema", MAX_NAME)?
        .filter(|schema| !schema.is_empty());
    let max_connections = table.integer("max_connections", sessions::MAX_CONNECTIONS)?;
    let max_connections = max_connections.unwrap_or_default();
    let adopted = Adopted {
        client: client.id,
        user: &text("user")?,
        account: &text("account")?,
        party: &text("party")?,
        max_connections: max_connections as usize,
        capabilities: client.capabilities.get(),
        settings: Settings::at_login(schema.as_deref(), &text("charset")?, &text("collation")?),
    };
    runtime.pools.adopt(runtime.proxy(), pool, adopted);
    nothing()
}

/// What the script has the pool do.
fn add_control(methods: &Methods<'_>, runtime: &Rc<Runtime>) -> mlua::Result<()> {
    let rt = runtime.clone();
    methods.add::<PoolObject>("server", move |_, pool, args| {
        let name = args.text(0, "name")?;
        let known = &["role", "weight", "health", "galera"];
        let table = OptionTable::of(args, args.table(1, "server")?, "", known)?;
        let roles = [("primary", Role::Primary), ("replica", Role::Replica)];
        let healths = [
            ("up", Health::Up),
            ("down", Health::Down),
            ("removed", Health::Removed),
        ];
        let role = table.one_of("role", &roles)?.unwrap_or(Role::Primary);
        let weight = table.integer("weight", 1 << 20)?.unwrap_or(1) as u32;
        let health = table.one_of("health", &healths)?.unwrap_or(Health::Up);
        let is_galera = table.boolean("galera")?.unwrap_or(false);
        rt.pools.set_server(pool.0, &name, role, weight, health);
        rt.pools.set_galera(pool.0, &name, is_galera);
        nothing()
    })?;
    for (name, access) in [
        ("drain", Access::Drained),
        ("enable", Access::Open),
        ("pause_server", Access::Paused),
        ("resume_server", Access::Open),
    ] {
        let rt = runtime.clone();
        methods.add::<PoolObject>(name, move |_, pool, args| {
            let name = args.text(0, "server")?;
            let is_known = rt.pools.open_server(rt.proxy(), pool.0, &name, access);
            one(Value::Boolean(is_known))
        })?;
    }
    let rt = runtime.clone();
    methods.add::<PoolObject>("abandon", move |_, pool, args| {
        let name = args.text(0, "server")?;
        rt.pools.abandon(rt.proxy(), pool.0, &name);
        nothing()
    })?;
    let rt = runtime.clone();
    methods.add::<PoolObject>("kill", move |_, pool, args| {
        let client = args.integer(0, "client", u64::MAX)?;
        let is_known = rt.pools.kill_client(rt.proxy(), pool.0, client);
        one(Value::Boolean(is_known))
    })?;
    let rt = runtime.clone();
    methods.add::<PoolObject>("retire", move |_, _, args| {
        rt.pools.retire_soon(connection(args, 0, "connection")?.id);
        nothing()
    })?;
    for (name, is_paused) in [("pause", true), ("resume", false)] {
        let rt = runtime.clone();
        methods.add::<PoolObject>(name, move |_, pool, _| {
            rt.pools.pause(pool.0, is_paused);
            nothing()
        })?;
    }
    Ok(())
}

/// What a KILL of a client needs.
fn add_kills(methods: &Methods<'_>, runtime: &Rc<Runtime>) -> mlua::Result<()> {
    let rt = runtime.clone();
    methods.add::<PoolObject>("doing", move |lua, _, args| {
        let client = connection(args, 0, "client")?.id;
        match rt.pools.doing(rt.proxy(), client) {
            Some(Doing::Nothing) => string(lua, "nothing"),
            Some(Doing::Waiting) => string(lua, "waiting"),
            Some(Doing::Executing) => string(lua, "executing"),
            Some(Doing::Holding) => string(lua, "holding"),
            None => nothing(),
        }
    })?;
    let rt = runtime.clone();
    methods.add::<PoolObject>("pin", move |lua, _, args| {
        let client = connection(args, 0, "client")?.id;
        let Some(present) = rt.pools.pin(rt.proxy(), client) else {
            return nothing();
        };
        let table = lua.create_table()?;
        table.raw_set("connection", present.conn.serial())?;
        table.raw_set("server", &*present.server)?;
        table.raw_set("thread_id", present.thread_id)?;
        one(Value::Table(table))
    })?;
    let rt = runtime.clone();
    methods.add::<PoolObject>("unpin", move |_, _, args| {
        let server = connection(args, 0, "connection")?.id;
        rt.pools.unpin(rt.proxy(), server);
        nothing()
    })?;
    let rt = runtime.clone();
    methods.add::<PoolObject>("interrupt", move |_, _, args| {
        let client = connection(args, 0, "client")?.id;
        one(Value::Boolean(rt.pools.interrupt(rt.proxy(), client)))
    })
}

/// What the pool tells the script.
fn add_tables(methods: &Methods<'_>, runtime: &Rc<Runtime>) -> mlua::Result<()> {
    let rt = runtime.clone();
    methods.add::<PoolObject>("pools", move |lua, pool, _| {
        tables::rows(lua, rt.pools.pools(pool.0))
    })?;
    let rt = runtime.clone();
    methods.add::<PoolObject>("servers", move |lua, pool, _| {
        tables::rows(lua, rt.pools.servers(pool.0))
    })?;
    let rt = runtime.clone();
    methods.add::<PoolObject>("clients", move |lua, pool, _| {
        tables::rows(lua, rt.pools.clients(rt.proxy(), pool.0))
    })?;
    let rt = runtime.clone();
    methods.add::<PoolObject>("held", move |lua, pool, _| {
        tables::rows(lua, rt.pools.held(rt.proxy(), pool.0))
    })?;
    let rt = runtime.clone();
    methods.add::<PoolObject>("refused", move |lua, pool, _| {
        tables::rows(lua, rt.pools.refused(pool.0))
    })?;
    let rt = runtime.clone();
    methods.add::<PoolObject>("counters", move |lua, pool, _| {
        counters(lua, rt.pools.counters(pool.0))
    })
}

fn counters(lua: &Lua, counters: Vec<(&'static str, &'static str, u64)>) -> Answer {
    let list = lua.create_table()?;
    for (index, (name, description, value)) in counters.into_iter().enumerate() {
        let row = lua.create_table()?;
        row.raw_set("name", name)?;
        row.raw_set("description", description)?;
        row.raw_set("value", value as f64)?;
        list.raw_set(index + 1, row)?;
    }
    one(Value::Table(list))
}
