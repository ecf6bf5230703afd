//! The functions of the `dpm` table.

use std::rc::Rc;
use std::time::Duration;

use mlua::{AnyUserData, Lua, MultiValue, Table, Value};

use super::callbacks::package::CallbackObject;
use super::connections::conn::{connection, named};
use super::connections::send;
use super::functions::clock;
use super::functions::constants;
use super::functions::digests;
use super::functions::exposition;
use super::functions::figures;
use super::functions::inventory;
use super::functions::json;
use super::functions::limit::{self, MAX_BUDGET};
use super::functions::resolve;
use super::functions::signals;
use super::functions::sql_helpers;
use super::functions::sql_tables;
use super::functions::text;
use super::functions::timer::TimerObject;
use super::functions::traces;

use super::login::deposit;
use super::login::login_object::LoginObject;
use super::login::password as login;
use super::login::verifier;
use super::login::verifier::VerifierObject;
use super::lua::error::Answer;
use super::lua::fast::RowKind;
use super::lua::function::{Args, Raiser, nothing, number, one, string};
use super::lua::loader;
use super::lua::option_table::OptionTable;
use super::objects::object::{Held, PacketObject, StatsPacket};
use super::objects::rowset;
use super::objects::rset::Rset;
use super::options::connection as options;
use super::pools;
use super::program::{channels, count, once, shared};
use super::reloading;
use super::reloading::staging::{Listening, Opened};
use super::runtime::Runtime;
use super::statements::statement::Prepared;
use super::web::client;
use super::web::listener::http_listener;
use crate::proxy::{ConnId, ConnInfo, ConnKind, Options, ProxyError};
use crate::wire::{Auth, Column, Command, Eof, ErrPacket, Handshake, Ok as OkPacket, Progress};

/// The largest `max_lua_memory`.
const MAX_LUA_MEMORY: u64 = 1 << 40;

/// The functions while they are being made.
struct Functions<'a> {
    lua: &'a Lua,
    raiser: Raiser,
    runtime: &'a Rc<Runtime>,
    table: Table,
}

impl Functions<'_> {
    fn add(
        &self,
        path: &'static str,
        f: impl Fn(&Lua, &Rc<Runtime>, &Args) -> Answer + 'static,
    ) -> mlua::Result<()> {
        let runtime = self.runtime.clone();
        let function = self
            .raiser
            .function(self.lua, path, move |lua, args| f(lua, &runtime, args))?;
        self.table
            .raw_set(path.trim_start_matches("dpm."), function)
    }

    fn add_packet<T: PacketObject + Default>(&self, path: &'static str) -> mlua::Result<()> {
        self.add(path, |lua, _, _| {
            userdata(lua.create_userdata(Held::new(T::default()))?)
        })
    }
}

fn userdata(object: AnyUserData) -> Answer {
    one(Value::UserData(object))
}

/// Makes the table and all that is in it.
pub fn dpm_table(lua: &Lua, runtime: &Rc<Runtime>) -> mlua::Result<Table> {
    let functions = Functions {
        lua,
        raiser: Raiser::of(lua)?,
        runtime,
        table: lua.create_table()?,
    };
    constants::add(&functions.table)?;
    add_connections(&functions)?;
    add_objects(&functions)?;
    add_sql(&functions)?;
    add_process(&functions)?;
    Ok(functions.table)
}

fn add_connections(functions: &Functions<'_>) -> mlua::Result<()> {
    functions.add("dpm.listener", listener)?;
    functions.add("dpm.listener_unix", listener_unix)?;
    functions.add("dpm.connect", connect)?;
    functions.add("dpm.connect_unix", connect_unix)?;
    functions.add("dpm.http_listener", http_listener)?;
    functions.add("dpm.http_request", |_, runtime, args| {
        client::http_request(runtime, args)
    })?;
    functions.add("dpm.parse_url", |lua, _, args| client::parse_url(lua, args))?;
    functions.add("dpm.resolve", |_, runtime, args| {
        resolve::resolve(runtime, args)
    })?;
    functions.add("dpm.close", close)?;
    functions.add("dpm.kill", |_, runtime, args| kill(runtime, args))?;
    functions.add("dpm.wire_packet", send::wire_packet)?;
    functions.add("dpm.proxy_connect", |_, runtime, args| {
        runtime.check_depth(args)?;
        let client = connection(args, 0, "client")?;
        let server = connection(args, 1, "server")?;
        runtime
            .proxy()
            .link(client.id, server.id)
            .map_err(|error| named(args, &error))?;
        nothing()
    })?;
    functions.add("dpm.proxy_disconnect", proxy_disconnect)?;
    functions.add("dpm.check_pass", |_, _, args| login::check_pass(args))?;
    functions.add("dpm.crypt_pass", |_, _, args| login::crypt_pass(args))?;
    functions.add("dpm.hash_pass", |lua, _, args| login::hash_pass(lua, args))?;
    functions.add("dpm.deposit_secret", |lua, runtime, args| {
        deposit::deposit(lua, runtime, args)
    })?;
    functions.add("dpm.withdraw_secret", |lua, runtime, args| {
        deposit::withdraw(lua, runtime, args)
    })?;
    functions.add("dpm.verify_auth", |lua, _, args| {
        verifier::verify_auth(lua, args)
    })?;
    functions.add("dpm.new_verifier", |lua, _, args| {
        VerifierObject::create(lua, args)
    })?;
    functions.add("dpm.new_login", |lua, _, args| {
        LoginObject::create(lua, args)
    })
}

/// The longest version that a handshake can be made with; servers' are shorter.
const VERSION_MAX: usize = 255;

fn add_objects(functions: &Functions<'_>) -> mlua::Result<()> {
    functions.add("dpm.new_handshake_pkt", |lua, _, args| {
        let mut handshake = Handshake::default();
        if !matches!(args.get(0), Value::Nil) {
            let version = args.bytes(0, "server_version", VERSION_MAX)?;
            if version.contains(&0) {
                return Err(args.error("server_version: a NUL byte would end it"));
            }
            handshake.server_version = version;
        }
        userdata(lua.create_userdata(Held::new(handshake))?)
    })?;
    functions.add_packet::<Auth>("dpm.new_auth_pkt")?;
    functions.add_packet::<OkPacket>("dpm.new_ok_pkt")?;
    functions.add_packet::<ErrPacket>("dpm.new_err_pkt")?;
    functions.add_packet::<Command>("dpm.new_cmd_pkt")?;
    functions.add_packet::<Column>("dpm.new_field_pkt")?;
    functions.add_packet::<Eof>("dpm.new_eof_pkt")?;
    functions.add_packet::<Progress>("dpm.new_progress_pkt")?;
    functions.add_packet::<StatsPacket>("dpm.new_stats_pkt")?;
    functions.add_packet::<super::objects::auth_data::AuthDataPacket>("dpm.new_authdata_pkt")?;
    functions.add_packet::<super::objects::object::DataPacket>("dpm.new_data_pkt")?;
    functions.add_packet::<Prepared>("dpm.new_prepared_pkt")?;
    functions.add("dpm.new_rset_pkt", |lua, _, _| {
        userdata(lua.create_userdata(Rset::default())?)
    })?;
    functions.add("dpm.new_row_pkt", |lua, runtime, _| {
        let kind = RowKind {
            binary: false,
            packed: Some(0),
        };
        userdata(runtime.fast().row(lua, kind, &[])?)
    })?;
    functions.add("dpm.new_rowset", |lua, _, args| rowset::create(lua, args))?;
    functions.add("dpm.new_callback", |lua, _, _| {
        userdata(CallbackObject::create(lua)?)
    })?;
    functions.add("dpm.new_timer", |_, runtime, _| {
        userdata(runtime.create_lean(TimerObject::default())?)
    })
}

fn add_sql(functions: &Functions<'_>) -> mlua::Result<()> {
    functions.add("dpm.tokenize", |lua, _, args| {
        sql_helpers::tokenize(lua, args)
    })?;
    functions.add("dpm.find_word", |lua, _, args| {
        sql_helpers::find_word(lua, args)
    })?;
    functions.add("dpm.trim_sql", |lua, _, args| sql_helpers::trim(lua, args))?;
    functions.add("dpm.digest", |lua, _, args| sql_helpers::digest(lua, args))?;
    functions.add("dpm.statement_kind", |lua, _, args| {
        sql_helpers::statement_kind(lua, args)
    })?;
    functions.add("dpm.mode_after", |lua, _, args| {
        sql_helpers::mode_after(lua, args)
    })?;
    functions.add("dpm.to_utf8", |lua, _, args| text::to_utf8(lua, args))?;
    functions.add("dpm.integrity", |lua, _, args| text::integrity(lua, args))?;
    functions.add("dpm.tables", |lua, _, args| sql_tables::tables(lua, args))?;
    functions.add("dpm.json_encode", |lua, _, args| json::encode(lua, args))?;
    functions.add("dpm.json_decode", |lua, _, args| json::decode(lua, args))
}

fn add_process(functions: &Functions<'_>) -> mlua::Result<()> {
    functions.add("dpm.gettimeofday", |_, _, _| {
        let (seconds, micros) = clock::time_of_day();
        let values = vec![Value::Number(seconds as f64), Value::Number(micros.into())];
        Ok(MultiValue::from_vec(values))
    })?;
    functions.add("dpm.time", |_, _, _| number(clock::time_of_day().0 as f64))?;
    functions.add("dpm.time_hires", |_, _, _| number(clock::milliseconds()))?;
    functions.add("dpm.monotonic", |_, _, _| number(clock::monotonic()))?;
    functions.add("dpm.log", |_, _, args| log_message(args))?;
    functions.add("dpm.config", |_, runtime, args| {
        let table = args.table(0, "")?;
        let options = options::read(args, table, runtime.options(), options::PROCESS)?;
        let table = OptionTable::of(args, table, "", options::PROCESS)?;
        if let Some(bytes) = table.positive("max_lua_memory", MAX_LUA_MEMORY)? {
            runtime.fast().limit_memory(bytes);
        }
        count::configure(runtime, &table)?;
        if let Some(budget) = table.integer("budget", MAX_BUDGET)? {
            let budget = Some(Duration::from_millis(budget)).filter(|budget| !budget.is_zero());
            runtime.watchdog.set_budget(budget)?;
        }
        runtime.set_options(options);
        nothing()
    })?;
    functions.add("dpm.limit", |lua, runtime, args| {
        limit::limit(lua, runtime, args)
    })?;
    functions.add("dpm.new_pool", |_, runtime, args| {
        pools::object::new_pool(runtime, args)
    })?;
    functions.add("dpm.worker", |_, runtime, _| count::worker(runtime))?;
    functions.add("dpm.shared", |_, runtime, args| {
        shared::shared(runtime, args)
    })?;
    functions.add("dpm.publish", |_, runtime, args| {
        channels::publish(runtime, args)
    })?;
    functions.add("dpm.subscribe", |_, runtime, args| {
        channels::subscribe(runtime, args)
    })?;
    functions.add("dpm.once", |_, runtime, args| once::once(runtime, args))?;
    functions.add("dpm.on_signal", |_, runtime, args| {
        signals::on_signal(runtime, args)
    })?;
    functions.add("dpm.upgrade", |_, runtime, args| {
        let begun = runtime.proxy().upgrade();
        begun.map_err(|error| args.error(error))?;
        one(Value::Boolean(true))
    })?;
    functions.add("dpm.reload", |_, runtime, args| {
        reloading::reload(runtime, args)
    })?;
    functions.add("dpm.on_move", |_, runtime, args| {
        reloading::on_move(runtime, args)
    })?;
    functions.add("dpm.exit", |_, runtime, args| {
        let code = match args.get(0) {
            Value::Nil => 0,
            _ => args.integer(0, "code", 255)?,
        };
        if runtime.staging.waits() {
            return Err(args.error("the startfile that is being reloaded must not end the program"));
        }
        runtime.proxy().exit(code as i32);
        nothing()
    })?;
    functions.add("dpm.is_stopping", |_, runtime, _| {
        one(Value::Boolean(runtime.proxy().is_stopping()))
    })?;
    let program = figures::Program::new(functions.runtime);
    functions.runtime.sources.add(Rc::new(program));
    let runtime = functions.runtime;
    runtime.proxy().add_figures(&runtime.sources);
    for source in inventory::sources(runtime) {
        runtime.sources.add(source);
    }
    functions.add("dpm.log_level", |lua, runtime, args| {
        inventory::log_level(lua, runtime, args)
    })?;
    functions.add("dpm.connection", |_, runtime, args| {
        inventory::connection(runtime, args)
    })?;
    functions.add("dpm.figures", figures::figures)?;
    functions.add(
        "dpm.library_file",
        |lua, _, args| match loader::library_file(&args.text(0, "name")?) {
            Some(file) => string(lua, file),
            None => one(Value::Nil),
        },
    )?;
    functions.add("dpm.exposition", |lua, _, args| {
        exposition::exposition(lua, args)
    })?;
    functions.add("dpm.stats", figures::stats)?;
    functions.add("dpm.count_digests", |_, runtime, args| {
        digests::count(runtime, args)
    })?;
    functions.add("dpm.top_digests", digests::top)?;
    functions.add("dpm.reset_digests", |_, runtime, _| digests::reset(runtime))?;
    functions.add("dpm.trace", |_, runtime, args| traces::trace(runtime, args))?;
    functions.add("dpm.take_spans", |lua, runtime, _| {
        traces::take(lua, runtime)
    })?;
    functions.add("dpm.spans_sent", |_, runtime, args| {
        traces::sent(runtime, args)
    })?;
    functions.add("dpm.state_name", |lua, _, args| {
        let event = super::callbacks::package::state_argument(args)?;
        string(lua, event.name())
    })
}

fn adopt(lua: &Lua, runtime: &Runtime, info: Rc<ConnInfo>) -> Answer {
    let id: ConnId = info.id;
    match runtime.adopt(lua, info) {
        Ok(object) => userdata(object),
        Err(error) => {
            runtime
                .proxy()
                .close(id, "its Lua object could not be made");
            Err(error.into())
        }
    }
}

/// Opens a listener; or makes one that will take the place of one of the startfile before.
fn open_listener(
    runtime: &Rc<Runtime>,
    address: (String, u16),
    options: Options,
    listen: impl FnOnce(Options) -> Result<Rc<ConnInfo>, ProxyError>,
) -> Result<Rc<ConnInfo>, ProxyError> {
    let before = runtime.listener_before(&address, |socket| matches!(socket, Listening::MySql(_)));
    let info = match before {
        Some(Listening::MySql(before)) => runtime.proxy().listen_after(before, options)?,
        _ => listen(options)?,
    };
    if runtime.staging.waits() && before.is_none() {
        runtime.proxy().close_listener_for_now(info.id);
    }
    let socket = Listening::MySql(info.id);
    runtime.staging.note(Opened {
        address,
        socket,
        before,
    });
    Ok(info)
}

fn listener(lua: &Lua, runtime: &Rc<Runtime>, args: &Args) -> Answer {
    let ip = match args.get(0) {
        Value::Nil => None,
        _ => Some(args.text(0, "ip")?).filter(|ip| ip != constants::INADDR_ANY),
    };
    let port = args.integer(1, "port", u16::MAX.into())? as u16;
    let options = options::argument(args, 2, runtime, options::LISTENER)?;
    let address = (ip.clone().unwrap_or_default(), port);
    let info = open_listener(runtime, address, options, |options| {
        runtime.proxy().listen_tcp(ip.as_deref(), port, options)
    });
    adopt(lua, runtime, info.map_err(|error| named(args, &error))?)
}

fn listener_unix(lua: &Lua, runtime: &Rc<Runtime>, args: &Args) -> Answer {
    let path = args.text(0, "path")?;
    let mode = match args.get(1) {
        Value::Nil => 0o700,
        _ => {
            let wanted = "an octal string such as \"0700\" (digits from 0 to 7, at most \"0777\")";
            let mode = args.text(1, "mode").ok();
            let digits = mode.filter(|mode| mode.bytes().all(|byte| byte.is_ascii_digit()));
            let mode = digits.and_then(|digits| u32::from_str_radix(&digits, 8).ok());
            mode.filter(|mode| *mode <= 0o777)
                .ok_or_else(|| args.no_such_word(1, "mode", wanted))?
        }
    };
    let options = options::argument(args, 2, runtime, options::LISTENER)?;
    let address = (path.clone(), 0);
    let info = open_listener(runtime, address, options, |options| {
        runtime.proxy().listen_unix(&path, mode, options)
    });
    adopt(lua, runtime, info.map_err(|error| named(args, &error))?)
}

fn connect(lua: &Lua, runtime: &Rc<Runtime>, args: &Args) -> Answer {
    let host = args.text(0, "host")?;
    let port = args.integer(1, "port", u16::MAX.into())? as u16;
    let options = options::argument(args, 2, runtime, options::CONNECT)?;
    let info = runtime
        .proxy()
        .connect_tcp(&host, port, options)
        .map_err(|error| named(args, &error))?;
    adopt(lua, runtime, info)
}

fn connect_unix(lua: &Lua, runtime: &Rc<Runtime>, args: &Args) -> Answer {
    let path = args.text(0, "path")?;
    let options = options::argument(args, 1, runtime, options::CONNECT)?;
    let info = runtime
        .proxy()
        .connect_unix(&path, options)
        .map_err(|error| named(args, &error))?;
    adopt(lua, runtime, info)
}

fn close(_: &Lua, runtime: &Rc<Runtime>, args: &Args) -> Answer {
    let info = connection(args, 0, "conn")?;
    if !info.closed.get() {
        runtime.check_depth(args)?;
        if runtime.proxy().close(info.id, "the script closed it") {
            return number(1.0);
        }
    }
    one(Value::Nil)
}

/// Closes the client or server with this number, whichever startfile has it.
fn kill(runtime: &Rc<Runtime>, args: &Args) -> Answer {
    let serial = args.integer(0, "id", u32::MAX.into())?;
    let proxy = runtime.proxy();
    let found = proxy.named(serial as u32).and_then(|id| proxy.info(id));
    match found.filter(|info| !info.kind.is_listener()) {
        Some(info) => {
            runtime.check_depth(args)?;
            proxy.close(info.id, "it was closed by its number");
            number(1.0)
        }
        None => one(Value::Nil),
    }
}

fn proxy_disconnect(_: &Lua, runtime: &Rc<Runtime>, args: &Args) -> Answer {
    let info = connection(args, 0, "conn")?;
    let Some(peer) = runtime.entry(info.id, |entry| entry.peer).flatten() else {
        return nothing();
    };
    let (client, server) = match info.kind {
        ConnKind::Server => (peer, info.id),
        _ => (info.id, peer),
    };
    runtime
        .proxy()
        .unlink(client, server)
        .map_err(|error| named(args, &error))?;
    nothing()
}

fn log_message(args: &Args) -> Answer {
    let wanted = "\"error\", \"warn\", \"info\", \"debug\" or \"trace\"";
    let level = args
        .text(0, "level")
        .map_err(|_| args.no_such_word(0, "level", wanted))?;
    let level = match level.as_str() {
        "error" => log::Level::Error,
        "warn" => log::Level::Warn,
        "info" => log::Level::Info,
        "debug" => log::Level::Debug,
        "trace" => log::Level::Trace,
        _ => return Err(args.no_such_word(0, "level", wanted)),
    };
    let message = args.bytes(1, "message", 1 << 20)?;
    log::log!(target: "lua", level, "{}", String::from_utf8_lossy(&message));
    nothing()
}
