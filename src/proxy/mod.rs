//! The proxy: connections, the links between them, and the pump that moves packets.
//!
//! It connects the protocol's [sessions](crate::session) with the [reactor](crate::net), and asks a
//! [`Hooks`] implementation what to do. It knows nothing of scripts.
//!
//! The interface to the layer above is here: [`Proxy`], [`Hooks`] and their arguments, ids
//! ([`ConnId`]), information about connections ([`ConnInfo`]), [`Options`], errors, counters.
//! Below:
//!
//! - `table`: the connections, their links, and the end of them
//! - `connect`: listening, accepting and connecting
//! - `flow`: packets from one end to the other, or out of a script: the loop
//! - `login`: what happens until a connection is logged in
//! - `translate`: changes of packets between two ends with different capabilities
//! - `transfer`: connections that go to another process
//! - `observers`: observers, which watch in addition to the hooks, in Rust
//! - `usage`: what listeners, servers and users have done, and the tables that show it
//!
//! # Re-entrancy
//!
//! A hook may do anything to any connection, and sees the effect at once. So state changes under
//! short borrows of `Core` (in `table`) that no call of a hook overlaps, names ([`ConnId`])
//! rather than references are passed on, and after every call the connection is looked up again.
//! Only system calls that write, and freeing slots, are deferred to the end of the tick.

mod connect;
mod decoded;
mod error;
mod flow;
mod guests;
mod hooks;
mod id;
#[cfg(any(test, fuzzing))]
pub mod in_process;
mod info;
mod login;
mod observers;
mod options;
mod outgoing;
mod stats;
mod table;
#[cfg(test)]
mod tests;
mod transfer;
mod translate;
mod usage;

use std::cell::{Cell, RefCell, RefMut};
use std::io;
use std::rc::Rc;
use std::time::Duration;

pub use decoded::Decoded;
pub use error::ProxyError;
pub use guests::{Guest, GuestId, Readiness, Turn};
pub use hooks::{Hooks, Incoming, Packed, Verdict};
pub use id::ConnId;
pub use info::{Address, ConnInfo, ConnKind, StatementIds};
pub use login::own_key::prepare_own_key;
pub use observers::observer::{Observer, Shown};
pub use observers::per_connection::PerConnection;
pub use options::{Cleartext, Compression, Options, Trusted};
pub use outgoing::Packet;
pub use stats::Stats;
pub use transfer::{Leg, Pair, RestingEnd, TRANSFER_FORMAT};

pub use crate::net::{
    ProxyVersion, TimerId, TlsClientOptions, TlsInfo, TlsMode, TlsServer, TlsServerOptions,
    TlsVerify, TlsVersion, raise_descriptor_limit,
};
use crate::session::{Event, EventSet};
use crate::wire::Com;
pub use crate::wire::compressed::Algorithm;
use crate::workers::Worker;
use observers::list::Observers;
use table::core::Core;
use table::sides::Stopped;

/// The size of the loop's read buffer, which all connections share, so that idle ones need none.
const READ_BUFFER: usize = 256 << 10;

/// A handle to the proxy; clones are the same proxy.
#[derive(Clone)]
pub struct Proxy(Rc<Inner>);

struct Inner {
    core: RefCell<Core>,
    hooks: RefCell<Rc<dyn Hooks>>,
    observers: RefCell<Observers>,
    buffer: Cell<Vec<u8>>,
}

impl std::fmt::Debug for Proxy {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("Proxy")
    }
}

impl Proxy {
    /// A proxy without connections or hooks. It refuses clients before they use up the process's
    /// limit of open files as it is now; [`raise_descriptor_limit`] raises that.
    ///
    /// # Errors
    /// The system has no poller or descriptors left.
    pub fn new() -> io::Result<Proxy> {
        Proxy::of_worker(Worker::alone())
    }

    /// The same for one of several workers, each of which has a proxy on its thread.
    ///
    /// # Errors
    /// As for [`new`](Self::new).
    pub fn of_worker(worker: Worker) -> io::Result<Proxy> {
        Ok(Proxy(Rc::new(Inner {
            core: RefCell::new(Core::new(worker)?),
            hooks: RefCell::new(Rc::new(NoHooks)),
            observers: RefCell::default(),
            buffer: Cell::new(Vec::new()),
        })))
    }

    /// What this proxy sees of the program that it is a part of.
    pub fn worker(&self) -> Worker {
        self.core().worker.clone()
    }

    /// Sets the layer above.
    pub fn set_hooks(&self, hooks: Rc<dyn Hooks>) {
        *self.0.hooks.borrow_mut() = hooks;
    }

    /// Stops reading from a connection. A listener accepts no clients: they wait in the system's queue.
    pub fn pause(&self, id: ConnId) {
        if let Some(conn) = self.core().open_mut(id) {
            conn.read.stopped.insert(Stopped::PAUSED);
        }
    }

    /// Reads from a paused connection again.
    pub fn resume(&self, id: ConnId) {
        let mut core = self.core();
        if let Some(conn) = core.open_mut(id) {
            conn.read.stopped.remove(Stopped::PAUSED);
        }
        core.schedule(id);
    }

    /// The information about a connection, unless it has closed.
    pub fn info(&self, id: ConnId) -> Option<Rc<ConnInfo>> {
        self.core().open(id).map(|conn| conn.info.clone())
    }

    /// The open connection with this number.
    pub fn named(&self, serial: u32) -> Option<ConnId> {
        let core = self.core();
        let mut ids = core.conns.iter().map(|(_, conn)| conn);
        let found = ids.find(|conn| conn.id().serial() == serial && !conn.closing());
        found.map(table::conn::Conn::id)
    }

    /// The open listeners, and whether each is [paused](Proxy::pause).
    pub fn listeners(&self) -> Vec<(Rc<ConnInfo>, bool)> {
        let core = self.core();
        let open = core.conns.iter().map(|(_, conn)| conn);
        let listeners = open.filter(|conn| conn.info.kind.is_listener() && !conn.closing());
        listeners
            .map(|conn| (conn.info.clone(), !conn.read.stopped.is_empty()))
            .collect()
    }

    /// The linked connection, if any.
    pub fn peer(&self, id: ConnId) -> Option<ConnId> {
        self.core().peer(id)
    }

    /// The connection that one is linked to which closes just now, while observers and hooks are told of it.
    pub fn last_peer(&self, closing: ConnId) -> Option<ConnId> {
        let core = self.core();
        let peer = core.get(closing)?.peer?;
        core.open(peer).map(table::conn::Conn::id)
    }

    /// How many bytes are queued on a connection.
    pub fn pending(&self, id: ConnId) -> usize {
        self.core().get(id).map_or(0, table::conn::Conn::pending)
    }

    /// The command whose answer a client waits for, or that a server is answering.
    pub fn answering(&self, id: ConnId) -> Option<Com> {
        self.core().open(id)?.answering()
    }

    /// Whether the far end has closed its sending side, or is gone: nothing follows what it has sent.
    pub fn has_hung_up(&self, id: ConnId) -> bool {
        self.core().open(id).is_some_and(|conn| conn.has_hung_up())
    }

    /// Puts a comment in front of the text of this client's command, if that is a query, when it is forwarded: to be called
    /// while the command is [settled](Observer::settled). Nobody is shown the comment, as it changes nothing of what the
    /// query does.
    pub fn comment_on(&self, client: ConnId, comment: &[u8]) {
        self.core().remark.write(client, comment);
    }

    /// How many values each row has, if rows stream over the connection now and that is known.
    pub fn row_values(&self, id: ConnId) -> Option<u16> {
        self.core().open(id)?.row_values()
    }

    /// Looks up the addresses of a name, and calls [`Hooks::resolved`] once, with this key, after this has returned.
    ///
    /// # Errors
    /// Too many names are being looked up.
    pub fn look_up(&self, host: &str, key: u64) -> io::Result<()> {
        let mut core = self.core();
        let serial = core.new_serial().get();
        core.resolver.request(host, 0, serial)?;
        core.look_ups.insert(serial, key);
        Ok(())
    }

    /// Calls [`Hooks::timer`] once, with this key, after the delay.
    pub fn schedule(&self, delay: Duration, key: u64) -> TimerId {
        self.core().add_script_timer(delay, key)
    }

    /// Cancels a timer. False if it is no longer scheduled.
    pub fn cancel(&self, timer: TimerId) -> bool {
        let mut core = self.core();
        let removed = core.timers.remove(timer);
        if removed {
            core.script_timers = core.script_timers.saturating_sub(1);
        }
        removed
    }

    /// The options of connections that are made without any of their own.
    pub fn defaults(&self) -> Options {
        (*self.core().defaults).clone()
    }

    /// Sets the options of connections that are made from now on.
    pub fn set_defaults(&self, options: Options) {
        let core = &mut *self.core();
        if let Some(last_resort) = core.worker.last_resort() {
            last_resort.set_drain(options.drain);
        }
        core.worker.set_upgrade_drain(options.upgrade_drain);
        core.defaults = Rc::new(options);
    }

    /// So much time was spent in callbacks of this connection.
    pub fn count_lua(&self, id: ConnId, time: Duration) {
        if let Some(conn) = self.core().open(id) {
            let us = u64::try_from(time.as_micros()).unwrap_or(u64::MAX);
            conn.info.tallies.lua(us);
        }
    }

    /// The counters.
    pub fn stats(&self) -> Stats {
        self.core().stats
    }

    fn core(&self) -> RefMut<'_, Core> {
        self.0.core.borrow_mut()
    }

    fn hooks(&self) -> Rc<dyn Hooks> {
        self.0.hooks.borrow().clone()
    }

    /// Shows an event to observers and hooks. No borrow of the core is held here.
    fn fire(&self, info: &Rc<ConnInfo>, event: Event, packet: Option<Incoming<'_>>) -> Verdict {
        info.enter(event);
        let shown = Shown {
            conn: info,
            event,
            packet,
        };
        let verdict = self.show(&*self.hooks(), shown);
        let mut core = self.core();
        core.stats.callbacks += 1;
        if verdict == Verdict::Failed {
            core.stats.callback_errors += 1;
        }
        verdict
    }

    /// Fires events that come without a packet and whose verdict is ignored.
    fn fire_all(&self, id: ConnId, events: EventSet) {
        for event in events {
            let info = {
                let core = self.core();
                core.open(id)
                    .filter(|conn| conn.armed.has(event))
                    .map(|conn| conn.info.clone())
            };
            let Some(info) = info else {
                continue;
            };
            if self.fire(&info, event, None) == Verdict::Failed {
                self.callback_failed(id);
            }
        }
    }

    /// Takes the loop's read buffer, which is returned before the next connection is read.
    fn take_buffer(&self) -> Vec<u8> {
        let mut buffer = self.0.buffer.take();
        buffer.resize(READ_BUFFER, 0);
        buffer
    }

    fn give_buffer(&self, buffer: Vec<u8>) {
        self.0.buffer.set(buffer);
    }
}

/// The hooks of a proxy without any: no client is served.
struct NoHooks;

impl Hooks for NoHooks {
    fn accepted(&self, _: &Rc<ConnInfo>, _: &Rc<ConnInfo>) -> Verdict {
        Verdict::Failed
    }
}
