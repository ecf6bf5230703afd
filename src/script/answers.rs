//! `server:on_answer`: telling scripts what became of commands, without entering Lua for those that
//! nobody minds.
//!
//! A callback for a command and one for the end of its answer cost more than all that the proxy does with
//! a point select otherwise. Here a command's bytes are copied and the clock is read; Lua is called, once,
//! for what has taken long or whose status is of interest.

use std::cell::{Cell, RefCell};
use std::rc::Rc;
use std::time::{Duration, Instant};

use mlua::{Lua, Value};

use super::conn::ConnObject;
use super::convert::to_integer;
use super::error::ScriptError;
use super::fast::{Arg, Target};
use super::function::{Args, Methods};
use super::handle::{Added, HandleObject};
use super::hooks::packet_object;
use super::option_table::OptionTable;
use super::refs::{Place, Ref};
use super::registry::Entry;
use super::runtime::{Runtime, slot_index};
use crate::proxy::{ConnId, ConnInfo, ConnKind, Incoming};
use crate::session::{Event, EventSet, PacketKind};
use crate::wire::{Capabilities, Com, Eof, Ok as OkPacket, Status};

/// What is longer is not kept.
const MAX_COMMAND: usize = 256 << 10;
/// Room that is not given back after each command.
const ROOM: usize = 4 << 10;

/// The function of a script, and what it does not want to be called for.
#[derive(Debug)]
struct Watcher {
    function: Ref,
    /// Rows that come sooner are passed over…
    slower: Duration,
    /// …unless their status has one of these.
    status: Status,
}

/// Those who watch what a server answers to the client that it is linked to, and the command that is under way.
#[derive(Debug, Default)]
pub struct Answers {
    watchers: RefCell<Vec<Watcher>>,
    command: RefCell<Vec<u8>>,
    capabilities: Cell<Capabilities>,
    com: Cell<Option<Com>>,
    begun: Cell<Option<Instant>>,
    /// The status of all its results so far.
    status: Cell<Status>,
}

/// The events that it takes.
pub fn wanted(kind: ConnKind, told: bool) -> EventSet {
    match (told, kind) {
        (false, _) => EventSet::NONE,
        (true, ConnKind::Server) => Event::ServerSendingEof
            .set()
            .with(Event::ServerWaitCommand.set())
            .with(Event::ServerReceivedError.set()),
        (true, _) => Event::ClientSentCommand.set(),
    }
}

/// After links or wishes have changed: arms what it takes.
pub fn rearm(runtime: &Runtime, id: ConnId) {
    let told = |id| runtime.entry(id, |entry| entry.answers.is_some());
    let peer = runtime.entry(id, |entry| entry.peer).flatten();
    let told = told(id) == Some(true) || peer.and_then(told) == Some(true);
    let changed = runtime.entry(id, |entry| {
        std::mem::replace(&mut entry.answers_told, told) != told
    });
    if changed == Some(true) {
        runtime.rearm(id);
    }
}

/// A packet has come to an end where answers are told: is it a command, or does it end a result?
pub fn note(runtime: &Runtime, lua: &Lua, conn: &Rc<ConnInfo>, event: Event, packet: Incoming<'_>) {
    let Some(peer) = runtime.entry(conn.id, |entry| entry.peer).flatten() else {
        return;
    };
    let answers = |server| {
        runtime
            .entry(server, |entry| entry.answers.clone())
            .flatten()
    };
    match event {
        Event::ClientSentCommand => {
            if let Some(answers) = answers(peer) {
                answers.begin(packet);
            }
        }
        Event::ServerSendingEof | Event::ServerWaitCommand | Event::ServerReceivedError => {
            if let Some(answers) = answers(conn.id)
                && let Some(took) = answers.go_on(event, packet)
            {
                answers.tell(runtime, lua, peer, took, packet);
                answers.give_room_back();
            }
        }
        _ => {}
    }
}

impl Answers {
    fn begin(&self, packet: Incoming<'_>) {
        let com = Com(packet.payload.first().copied().unwrap_or_default());
        let mut command = self.command.borrow_mut();
        command.clear();
        if packet.payload.len() <= MAX_COMMAND {
            command.extend_from_slice(packet.payload);
        }
        self.com.set(Some(com));
        self.capabilities.set(packet.capabilities);
        self.status.set(Status::empty());
        self.begun.set(com.expects_answer().then(Instant::now));
    }

    /// How long it took, if the answer is complete.
    fn go_on(&self, event: Event, packet: Incoming<'_>) -> Option<Duration> {
        let begun = self.begun.get()?;
        let status = match packet.kind {
            PacketKind::Ok => OkPacket::peek_status(packet.payload),
            PacketKind::Eof => Eof::peek_status(packet.payload),
            _ => None,
        };
        self.status
            .set(self.status.get() | status.unwrap_or_default());
        if event == Event::ServerSendingEof {
            return None;
        }
        self.begun.set(None);
        Some(begun.elapsed())
    }

    fn tell(
        &self,
        runtime: &Runtime,
        lua: &Lua,
        client: ConnId,
        took: Duration,
        packet: Incoming<'_>,
    ) {
        let status = self.status.get();
        let has_rows = packet.payload.first() == Some(&Eof::HEADER)
            && matches!(self.com.get(), Some(Com::QUERY | Com::STMT_EXECUTE));
        let wants = |watcher: &&Watcher| {
            !has_rows || took >= watcher.slower || status.intersects(watcher.status)
        };
        // What a function registers is for the next answer.
        let due: Vec<Place> = {
            let watchers = self.watchers.borrow();
            let due = watchers.iter().filter(wants);
            due.map(|watcher| watcher.function.place()).collect()
        };
        if due.is_empty() {
            return;
        }
        let command = self.command.take();
        let cmd = match command.is_empty() {
            true => Ok(None),
            false => {
                let cmd = Incoming {
                    kind: PacketKind::Command,
                    payload: &command,
                    capabilities: self.capabilities.get(),
                    ..packet
                };
                packet_object(lua, cmd).map(Some)
            }
        };
        let ending = match packet.kind {
            PacketKind::Ok | PacketKind::Eof | PacketKind::Err | PacketKind::Stats => {
                packet_object(lua, packet).map(Some)
            }
            _ => Ok(None),
        };
        let (cmd, ending) = match (cmd, ending) {
            (Ok(cmd), Ok(ending)) => (cmd, ending),
            (Err(problem), _) | (_, Err(problem)) => {
                log::error!("connection {}: its answer: {problem}", client.serial());
                return;
            }
        };
        for function in due.into_iter().filter(|function| self.has(*function)) {
            let what = || format!("on_answer of connection {}", client.serial());
            let args = [
                cmd.as_ref().map_or(Arg::Value(&Value::Nil), Arg::Object),
                ending.as_ref().map_or(Arg::Value(&Value::Nil), Arg::Object),
                Arg::Number(took.as_secs_f64() * 1000.0),
                Arg::Number(f64::from(status.bits())),
                Arg::Alive(slot_index(client)),
            ];
            runtime.notify(lua, what, Target::Kept(function), &args);
        }
    }

    /// Takes away the watcher whose function is in this place, and says how many are left.
    fn take(&self, place: Place) -> (Option<Watcher>, usize) {
        let mut watchers = self.watchers.borrow_mut();
        let mut places = watchers.iter().map(|watcher| watcher.function.place());
        let index = places.position(|its| its == place);
        let watcher = index.map(|index| watchers.remove(index));
        (watcher, watchers.len())
    }

    /// Whether a watcher's function has not been removed.
    fn has(&self, place: Place) -> bool {
        let watchers = self.watchers.borrow();
        watchers
            .iter()
            .any(|watcher| watcher.function.place() == place)
    }

    /// The functions of all watchers, to be released: the server has closed.
    pub fn take_functions(&self) -> Vec<Ref> {
        let watchers = self.watchers.take();
        watchers
            .into_iter()
            .map(|watcher| watcher.function)
            .collect()
    }

    fn give_room_back(&self) {
        let mut command = self.command.borrow_mut();
        if command.capacity() > ROOM {
            *command = Vec::new();
        }
    }
}

/// The method of servers.
pub fn add_methods(methods: &Methods<'_>, runtime: &Rc<Runtime>) -> mlua::Result<()> {
    let rt = runtime.clone();
    methods.add::<ConnObject>("on_answer", move |_, conn, args| {
        if conn.info().kind != ConnKind::Server {
            return Err(args.error("only servers answer"));
        }
        let (slower, status) = options(args)?;
        let watcher = Watcher {
            function: rt.refs.keep(args.function(0, "")?)?,
            slower,
            status,
        };
        let id = conn.id();
        let answers = rt.entry(id, |entry| entry.answers.get_or_insert_default().clone());
        let Some(answers) = answers else {
            rt.refs.release([watcher.function]);
            let (id, reason) = (id.serial(), conn.info().reason());
            return Err(args.error(format!("connection {id} is closed ({reason})")));
        };
        let place = watcher.function.place();
        answers.watchers.borrow_mut().push(watcher);
        rearm_link(&rt, id);
        HandleObject::answer(&rt, id, Added::Watcher, place)
    })
}

/// Takes away the watcher whose function is in this place.
pub fn remove(runtime: &Runtime, id: ConnId, place: Place) {
    let remove = |entry: &mut Entry| {
        let answers = entry.answers.as_ref()?;
        let (watcher, left) = answers.take(place);
        if left == 0 {
            entry.answers = None;
        }
        watcher
    };
    let watcher = runtime.entry(id, remove).flatten();
    runtime
        .refs
        .release(watcher.map(|watcher| watcher.function));
    rearm_link(runtime, id);
}

/// After a server's wishes have changed.
fn rearm_link(runtime: &Runtime, id: ConnId) {
    rearm(runtime, id);
    if let Some(peer) = runtime.entry(id, |entry| entry.peer).flatten() {
        rearm(runtime, peer);
    }
}

/// What a watcher does not want to be called for.
fn options(args: &Args) -> Result<(Duration, Status), ScriptError> {
    let Some(options) = OptionTable::argument(args, 1, &["slower", "status"])? else {
        return Ok((Duration::ZERO, Status::empty()));
    };
    let slower = options.milliseconds("slower")?.unwrap_or_default();
    let status = options.read("status", "a sum of SERVER_* flags", |value| {
        to_integer(value, u16::MAX.into())
    })?;
    let status = Status::from_bits_retain(status.unwrap_or_default() as u16);
    Ok((slower, status))
}
