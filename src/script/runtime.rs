//! The binding's shared state: the proxy, the connections' callbacks, and the calls into Lua.

use std::cell::{Cell, RefCell};
use std::rc::{Rc, Weak};
use std::time::Duration;

use mlua::{AnyUserData, Function, Lua, Table, UserData, WeakLua};

use super::callbacks::functions::Kind;
use super::callbacks::look_ups::LookUps;
use super::callbacks::moving::Moving;
use super::callbacks::registry::{Due, Entry, Registry};
use super::callbacks::signals::SignalHandlers;
use super::callbacks::span_sender::SpanSender;
use super::callbacks::subject::{Describe, Subject};
use super::callbacks::subscriptions::Subscriptions;
use super::callbacks::timers::Timers;
use super::callbacks::watchdog::Watchdog;
use super::connections::conn::ConnObject;

use super::lua::error::ScriptError;
use super::lua::fast::Place;
use super::lua::fast::{Arg, Fast, RowKind, Target, coarse_clock};
use super::lua::function::Args;
use super::lua::idle::Idle;
use super::lua::pressure::Pressure;
use super::lua::refs::Refs;
use super::reloading::commons::Commons;
use super::reloading::staging::Staging;
use super::web::Dropped;
use crate::http::HttpClient;
use crate::metrics::Sources;
use crate::observe::{CollectedRows, Digests, Sessions, StatementMemory, Traces, WatchedCommands};
use crate::pool::{PoolId, Pools};
use crate::proxy::{ConnId, ConnInfo, Proxy, Verdict};
use crate::session::Event;
use crate::workers::Worker;

/// Numbers of timers and of look-ups have this many bits; above them they have the number of the state.
pub const KEYS: u32 = 32;

/// How deep calls from Lua to us and back may nest. LuaJIT fails at about 200 nested C calls, with
/// an unhelpful message.
const MAX_DEPTH: u32 = 100;

/// A callback that blocks the loop for longer than this is logged.
const SLOW: Duration = Duration::from_millis(100);

/// The results that a callback may give, by their names in Lua.
pub const VERDICTS: [(&str, u64); 3] = [
    ("DPM_OK", 0),
    ("DPM_NOPROXY", 1),
    ("DPM_FLUSH_DISCONNECT", 2),
];

/// The state that the binding's parts share.
pub struct Runtime {
    /// The number of its startfile: 1 is the first, each reload brings the next.
    pub number: u32,
    lua: WeakLua,
    proxy: Proxy,
    worker: Worker,
    fast: Fast,
    registry: RefCell<Registry>,
    /// The objects of open connections by their places, without keeping them.
    alive: Table,
    /// What Rust holds of Lua for each connection, timer and the like.
    pub refs: Refs,
    collected: Rc<RefCell<Vec<ConnId>>>,
    /// The statements of connections, and the columns of results.
    pub statements: Rc<StatementMemory>,
    /// `server:on_answer`.
    pub watched_commands: Rc<WatchedCommands>,
    /// `server:collect_rows`.
    pub rows: Rc<CollectedRows>,
    /// Scheduled timers.
    pub timers: Timers,
    /// `dpm.resolve`.
    pub look_ups: LookUps,
    /// `dpm.subscribe` and `dpm.once`.
    pub subscriptions: Subscriptions,
    /// `dpm.on_signal`.
    pub signals: SignalHandlers,
    /// Watches callbacks that do not return.
    pub watchdog: Watchdog,
    depth: Cell<u32>,
    /// When the last callback of this tick returned.
    last_return: Cell<Option<Duration>>,
    /// The time spent in callbacks.
    lua_time: Cell<Duration>,
    /// Callbacks that failed and whose verdict the proxy does not count.
    errors: Cell<u64>,
    /// The sessions of servers that scripts want followed.
    pub sessions: Rc<Sessions>,
    /// Pools of connections.
    pub pools: Rc<Pools>,
    /// `dpml.digests`.
    pub digests: Rc<Digests>,
    /// `dpml.tracing`.
    pub traces: Rc<Traces>,
    /// Whom it tells of spans.
    pub span_sender: SpanSender,
    /// What has figures to show.
    pub sources: Sources,
    /// `dpm.http_request`.
    pub http_client: HttpClient,
    /// Objects of HTTP that were collected.
    pub http: Dropped,
    /// Collects garbage while the proxy is idle.
    pub idle: Idle,
    /// Counts the bytes of packet objects.
    pub pressure: Pressure,
    /// What is known of reloads, and what else all states of the proxy have in common.
    pub commons: Rc<Commons>,
    /// What the startfile does to the program once it is in use.
    pub staging: Staging,
    /// The state that is in use while this one is prepared.
    pub predecessor: Weak<Runtime>,
    /// `dpm.on_move`.
    pub moving: RefCell<Option<Moving>>,
    /// The pools that it has made.
    pub own_pools: RefCell<Vec<PoolId>>,
}

/// Where a state comes from.
#[derive(Debug, Default)]
pub struct Origin {
    /// What all states of the proxy have in common, if it is not the first.
    pub commons: Option<Rc<Commons>>,
    /// The state in use.
    pub predecessor: Weak<Runtime>,
    /// Its number.
    pub number: u32,
}

impl Origin {
    /// Of the first state of a proxy.
    pub fn first() -> Origin {
        Origin {
            number: 1,
            ..Origin::default()
        }
    }
}

/// A call is one level deeper, until this is dropped: also by a panic.
struct Deeper<'a>(&'a Cell<u32>);

impl Drop for Deeper<'_> {
    fn drop(&mut self) {
        self.0.set(self.0.get() - 1);
    }
}

impl std::fmt::Debug for Runtime {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("Runtime")
    }
}

impl Runtime {
    /// Binds this state to this proxy.
    pub fn install(lua: &Lua, proxy: Proxy, origin: Origin) -> mlua::Result<Rc<Runtime>> {
        let fast = Fast::of(lua)?;
        let staging = match origin.number {
            0 | 1 => Staging::default(),
            _ => Staging::waiting(),
        };
        let commons = origin.commons.unwrap_or_else(|| Commons::new(&proxy));
        let keys = u64::from(origin.number) << KEYS;
        let runtime = Rc::new(Runtime {
            lua: lua.weak(),
            watchdog: Watchdog::new(lua, proxy.worker())?,
            worker: proxy.worker(),
            http_client: HttpClient::new(proxy.clone()),
            proxy,
            alive: fast.alive(lua)?,
            refs: Refs::new(lua, &fast)?,
            fast,
            registry: RefCell::default(),
            collected: Rc::default(),
            statements: commons.statements.clone(),
            watched_commands: commons.watched_commands.clone(),
            rows: commons.rows.clone(),
            timers: Timers::after(keys),
            look_ups: LookUps::after(keys),
            subscriptions: Subscriptions::default(),
            signals: SignalHandlers::default(),
            depth: Cell::new(0),
            last_return: Cell::new(None),
            errors: Cell::new(0),
            lua_time: Cell::default(),
            sessions: commons.sessions.clone(),
            pools: commons.pools.clone(),
            digests: commons.digests.clone(),
            traces: commons.traces.clone(),
            span_sender: SpanSender::default(),
            sources: Sources::default(),
            http: Dropped::default(),
            idle: Idle::of(keys),
            pressure: Pressure::default(),
            commons,
            staging,
            predecessor: origin.predecessor,
            moving: RefCell::default(),
            own_pools: RefCell::default(),
            number: origin.number,
        });
        lua.set_app_data(Rc::downgrade(&runtime));
        Ok(runtime)
    }

    /// The binding of this state.
    pub fn of(lua: &Lua) -> mlua::Result<Rc<Runtime>> {
        let weak = lua.app_data_ref::<Weak<Runtime>>();
        let runtime = weak.and_then(|weak| weak.upgrade());
        runtime.ok_or_else(|| mlua::Error::runtime("dpm is shutting down"))
    }

    /// The proxy below.
    pub fn proxy(&self) -> &Proxy {
        &self.proxy
    }

    /// The hot path.
    pub fn fast(&self) -> &Fast {
        &self.fast
    }

    /// The Lua state, unless it is gone.
    pub fn lua(&self) -> Option<Lua> {
        self.lua.try_upgrade()
    }

    /// The time spent in callbacks.
    pub fn lua_time(&self) -> Duration {
        self.lua_time.get()
    }

    /// Callbacks that failed and were not counted by the proxy.
    pub fn errors(&self) -> u64 {
        self.errors.get()
    }

    /// Runs `f` on the entry of an open connection. `f` must not enter Lua, nor create or drop a
    /// value of it.
    pub fn entry<R>(&self, id: ConnId, f: impl FnOnce(&mut Entry) -> R) -> Option<R> {
        self.registry.borrow_mut().get_mut(id).map(f)
    }

    /// Adds a connection, and makes its object.
    pub fn adopt(&self, lua: &Lua, info: Rc<ConnInfo>) -> mlua::Result<AnyUserData> {
        let id = info.id;
        info.owner.set(self.number);
        let object = ConnObject::new(info.clone(), self.collected.clone());
        let object = self.fast.create_lean(lua, object)?;
        self.alive.raw_set(slot_index(id), &object)?;
        let before = self.registry.borrow_mut().insert(info);
        self.refs
            .release(before.into_iter().flat_map(Entry::into_refs));
        Ok(object)
    }

    /// Forgets a connection that has closed.
    pub fn forget(&self, id: ConnId) {
        let entry = self.registry.borrow_mut().remove(id);
        let Some(entry) = entry else {
            return;
        };
        if self.alive.raw_set(slot_index(id), mlua::Nil).is_err() {
            log::error!("connection {}: cannot be forgotten", id.serial());
        }
        self.refs.release(entry.into_refs());
    }

    /// The object of an open connection, unless it has been collected.
    pub fn object(&self, id: ConnId) -> Option<AnyUserData> {
        self.registry.borrow().get(id)?;
        self.alive.raw_get(slot_index(id)).ok()
    }

    /// Arms the events that callbacks need, after callbacks have changed.
    pub fn rearm(&self, id: ConnId) {
        let wanted = self.registry.borrow().get(id).map(Entry::wanted);
        if let Some(wanted) = wanted {
            self.statements.show(&self.proxy, id, wanted);
            self.proxy.arm(id, wanted);
        }
    }

    /// Sets the registered function, or removes it.
    pub fn register(
        &self,
        id: ConnId,
        event: Event,
        function: Option<&Function>,
    ) -> mlua::Result<()> {
        let before = self
            .entry(id, |entry| entry.own.registered(event))
            .flatten();
        match (function, before) {
            (Some(function), Some(place)) => self.refs.replace(place, function)?,
            // On a connection that has closed nothing will fire.
            (Some(function), None) => {
                self.add(id, event, Kind::Registered, function)?;
            }
            (None, _) => {
                let before = self.entry(id, |entry| entry.own.unregister(event));
                self.refs.release(before.flatten());
            }
        }
        self.rearm(id);
        Ok(())
    }

    /// Adds a function to a connection. Returns its place; `None` if the connection is closed.
    pub fn add(
        &self,
        id: ConnId,
        event: Event,
        kind: Kind,
        function: &Function,
    ) -> mlua::Result<Option<Place>> {
        let function = self.refs.keep(function)?;
        let place = function.place();
        let mut function = Some(function);
        self.entry(id, |entry| {
            if let Some(function) = function.take() {
                entry.own.add(event, kind, function);
            }
        });
        if function.is_some() {
            self.refs.release(function);
            return Ok(None);
        }
        self.rearm(id);
        Ok(Some(place))
    }

    /// A new object that has no user values.
    pub fn create_lean<T: UserData + 'static>(&self, data: T) -> mlua::Result<AnyUserData> {
        let lua = self.lua();
        let lua = lua.ok_or_else(|| mlua::Error::runtime("dpm is shutting down"))?;
        self.fast.create_lean(&lua, data)
    }

    /// The functions to call for this event on this connection.
    pub fn watching(&self, id: ConnId, event: Event) -> Option<Due> {
        self.registry.borrow().get(id)?.due(event)
    }

    /// Calls the functions for an event on an open connection: `fn(packet, id, conn)`, or without
    /// a packet `fn(id, conn)`. After a function that does not let the packet pass, or fails, no
    /// further function is called.
    pub fn fire(
        &self,
        lua: &Lua,
        id: ConnId,
        event: Event,
        due: Due,
        packet: Option<Arg<'_>>,
    ) -> Verdict {
        match due.more {
            false => self.fire_one(lua, id, event, due.first, packet),
            true => self.fire_all(lua, id, event, due, packet),
        }
    }

    fn fire_all(
        &self,
        lua: &Lua,
        id: ConnId,
        event: Event,
        due: Due,
        packet: Option<Arg<'_>>,
    ) -> Verdict {
        // Those who come while they are called are for the next packet.
        let others = self.entry(id, |entry| entry.others(event, due));
        // All see the same object.
        let row = match packet {
            Some(Arg::Row { binary, payload }) => {
                let packed = None;
                match self.fast.row(lua, RowKind { binary, packed }, payload) {
                    Ok(row) => Some(row),
                    Err(error) => {
                        log::error!("{} of connection {}: {error}", event.name(), id.serial());
                        return Verdict::Failed;
                    }
                }
            }
            _ => None,
        };
        let packet = row.as_ref().map(Arg::Object).or(packet);
        let mut verdict = self.fire_one(lua, id, event, due.first, packet);
        for place in others.into_iter().flatten() {
            match verdict {
                Verdict::Failed => break,
                Verdict::Hold | Verdict::FlushDisconnect if packet.is_some() => break,
                _ => {}
            }
            if self.entry(id, |entry| entry.own.has(place)) == Some(true) {
                verdict = self.fire_one(lua, id, event, Target::Kept(place), packet);
            }
        }
        verdict
    }

    fn fire_one(
        &self,
        lua: &Lua,
        id: ConnId,
        event: Event,
        target: Target<'_>,
        packet: Option<Arg<'_>>,
    ) -> Verdict {
        let what = Subject::Event(event, id.serial());
        let number = Arg::Number(id.serial().into());
        let conn = Arg::Alive(slot_index(id));
        let lua_before = self.lua_time.get();
        let result = match packet {
            Some(packet) => self.call(lua, what, target, &[packet, number, conn]),
            None => self.call(lua, what, target, &[number, conn]),
        };
        let took = self.lua_time.get() - lua_before;
        if !took.is_zero() {
            self.proxy.count_lua(id, took);
        }
        result.unwrap_or(Verdict::Failed)
    }

    /// The same for callbacks whose verdict is ignored.
    pub fn notify(
        &self,
        lua: &Lua,
        what: impl Describe,
        target: Target<'_>,
        args: &[Arg<'_>],
    ) -> bool {
        let done = self.call(lua, what, target, args).is_ok();
        if !done {
            self.count_error();
        }
        done
    }

    /// Counts a failed callback.
    pub fn count_error(&self) {
        self.errors.set(self.errors.get() + 1);
    }

    /// Calls a Lua callback that returns a verdict.
    pub fn call(
        &self,
        lua: &Lua,
        what: impl Describe,
        target: Target<'_>,
        args: &[Arg<'_>],
    ) -> Result<Verdict, ()> {
        let number = match self.ask(lua, &what, target, args)? {
            None => return Ok(Verdict::Forward),
            Some(number) => number,
        };
        if number == 0.0 {
            Ok(Verdict::Forward)
        } else if number == 1.0 {
            Ok(Verdict::Hold)
        } else if number == 2.0 {
            Ok(Verdict::FlushDisconnect)
        } else {
            log::error!(
                "callback {}: returned {number}, which is no verdict",
                what.text()
            );
            Err(())
        }
    }

    /// Calls a Lua callback, and tells the number that it returns, if it is one. All calls go through here.
    pub fn ask(
        &self,
        lua: &Lua,
        what: &impl Describe,
        target: Target<'_>,
        args: &[Arg<'_>],
    ) -> Result<Option<f64>, ()> {
        let depth = self.depth.get();
        if depth >= MAX_DEPTH {
            log::error!(
                "callback {}: callbacks are nested more than {MAX_DEPTH} deep",
                what.text()
            );
            return Err(());
        }

        let began = coarse_clock();
        self.depth.set(depth + 1);
        let deeper = Deeper(&self.depth);
        let subject = what.subject();
        let inside = self.worker.pulse();
        let inside = inside.map(|pulse| (pulse, pulse.enters(true)));
        let call = (depth == 0).then(|| self.watchdog.begin(subject, began));
        let result = self.fast.call(lua, target, args);
        drop((call, deeper));
        if let Some((pulse, outer)) = inside {
            pulse.enters(outer);
        }
        let now = coarse_clock();
        self.last_return.set(Some(now));
        let took = now.saturating_sub(began);
        // The clock is coarse, so most callbacks seem to take no time, and some take a step of the clock: their sum is
        // right.
        if depth == 0 && !took.is_zero() {
            self.lua_time.set(self.lua_time.get() + took);
        }
        if took > SLOW {
            let ms = took.as_millis();
            log::warn!(
                "callback {}: took {ms} ms, in which nothing else could run",
                what.text()
            );
        }

        result.map_err(|message| log::error!("callback {}: {}", what.text(), explained(&message)))
    }

    /// Calls functions of Lua's for something that is no callback of a connection, with its error in plain text.
    pub fn evaluate<R>(&self, run: impl FnOnce() -> mlua::Result<R>) -> Result<R, String> {
        let depth = self.depth.get();
        self.depth.set(depth + 1);
        let deeper = Deeper(&self.depth);
        let call = (depth == 0).then(|| self.watchdog.begin(None, coarse_clock()));
        let result = run();
        drop((call, deeper));
        self.last_return.set(Some(coarse_clock()));
        result.map_err(|error| ScriptError::from(error).0)
    }

    /// An error if what a script asks for would make callbacks nest too deep.
    pub fn check_depth(&self, args: &Args) -> Result<(), ScriptError> {
        if self.depth.get() < MAX_DEPTH {
            return Ok(());
        }
        Err(args.error(format!("callbacks are nested more than {MAX_DEPTH} deep")))
    }

    /// Work that is deferred to the end of the tick.
    pub fn end_of_tick(&self) {
        // Repeated, since closing fires callbacks, which may create more garbage.
        loop {
            let collected = std::mem::take(&mut *self.collected.borrow_mut());
            if collected.is_empty() {
                break;
            }
            for id in collected {
                self.proxy.collected(id);
            }
        }
        self.http.end_of_tick(&self.refs);
        self.refs.end_of_tick();
        if self.last_return.take().is_some() {
            self.idle.note_activity(&self.proxy, self.has_connections());
        }
    }

    /// Whether any connection is open.
    pub fn has_connections(&self) -> bool {
        self.registry.borrow().len() > 0
    }
}

/// Explains LuaJIT's message about a yield across our functions.
fn explained(message: &str) -> String {
    if message.contains("attempt to yield across C-call boundary") {
        return format!("a callback cannot yield, nor what it calls through the proxy: {message}");
    }
    message.to_string()
}

/// The index in the table of objects: small numbers, so that it stays an array.
pub fn slot_index(id: ConnId) -> i32 {
    i32::try_from(id.slot()).unwrap_or(i32::MAX - 1) + 1
}
