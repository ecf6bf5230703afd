//! Which command got which answer, and how long that took.
//!
//! Here a command's bytes are copied and the clock is read; a watcher is called, once, for what has
//! taken long or whose status is of interest.

use std::fmt;
use std::rc::Rc;
use std::time::{Duration, Instant};

use crate::proxy::{
    ConnId, ConnInfo, ConnKind, Incoming, Observer, PerConnection, Proxy, Shown, Verdict,
};
use crate::session::{Event, EventSet, PacketKind};
use crate::wire::{Capabilities, Com, Eof, Ok as OkPacket, Status};

/// Longer commands are not kept.
const MAX_COMMAND: usize = 256 << 10;
/// Buffers up to this size are kept for the next command.
const ROOM: usize = 4 << 10;

/// A command's whole answer.
#[derive(Debug, Clone, Copy)]
#[non_exhaustive]
pub struct Answer<'a> {
    /// The client that it was for.
    pub client: ConnId,
    /// The server that gave it.
    pub server: ConnId,
    /// The command, unless it was too long to be kept.
    pub command: Option<Incoming<'a>>,
    /// The packet that ended the answer.
    pub ending: Incoming<'a>,
    /// From the command's arrival to the end of the answer.
    pub took: Duration,
    /// The status of all its results.
    pub status: Status,
}

/// Answers with rows for which a watcher is not called: those that were fast and whose status has
/// none of these flags.
#[derive(Debug, Clone, Copy, Default)]
pub struct Conditions {
    /// Only answers that took longer than this…
    pub slower: Duration,
    /// …or whose status has one of these flags.
    pub status: Status,
}

/// The function that is called with answers.
pub type Watcher = Rc<dyn Fn(&Answer<'_>)>;

/// Identifies a watcher of a server.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct WatchId(u64);

struct Watch {
    id: WatchId,
    conditions: Conditions,
    watcher: Watcher,
}

/// Watchers of a server that were taken away.
#[derive(Default)]
pub struct Watchers(Vec<Watch>);

/// The watchers of a server, and the command that is under way.
#[derive(Default)]
struct Watched {
    watches: Vec<Watch>,
    newest: u64,
    command: Vec<u8>,
    capabilities: Capabilities,
    com: Option<Com>,
    begun: Option<Instant>,
    /// The status of all results so far.
    status: Status,
}

/// Calls watchers with servers' answers to their linked clients.
#[derive(Default)]
pub struct WatchedCommands(PerConnection<Watched>);

impl fmt::Debug for WatchedCommands {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("WatchedCommands")
    }
}

impl WatchedCommands {
    /// Calls `watcher` with the answers of this server. `None` if that has closed.
    pub fn watch(
        &self,
        proxy: &Proxy,
        server: ConnId,
        conditions: Conditions,
        watcher: Watcher,
    ) -> Option<WatchId> {
        proxy.info(server)?;
        let id = self.0.with_default(server, |watched| {
            watched.newest += 1;
            let id = WatchId(watched.newest);
            watched.watches.push(Watch {
                id,
                conditions,
                watcher,
            });
            id
        });
        rearm(proxy, server);
        Some(id)
    }

    /// Removes a watcher.
    pub fn unwatch(&self, proxy: &Proxy, server: ConnId, id: WatchId) {
        let removed = self.0.with(server, |watched| {
            let place = watched.watches.iter().position(|watch| watch.id == id)?;
            Some(watched.watches.remove(place))
        });
        drop(removed);
        if self.0.with(server, |watched| watched.watches.is_empty()) == Some(true) {
            drop(self.0.remove(server));
            rearm(proxy, server);
        }
    }

    /// Takes all watchers of a server away, for instance as whoever has added them does not have it any more.
    pub fn take(&self, server: ConnId) -> Watchers {
        let taken = self
            .0
            .with(server, |watched| std::mem::take(&mut watched.watches));
        Watchers(taken.unwrap_or_default())
    }

    /// Puts them back.
    pub fn restore(&self, server: ConnId, watchers: Watchers) {
        if !watchers.0.is_empty() {
            self.0
                .with_default(server, |watched| watched.watches = watchers.0);
        }
    }

    /// Calls watchers with a complete answer.
    fn tell(&self, client: ConnId, server: ConnId, ending: Incoming<'_>) {
        let complete = self.0.with(server, |watched| watched.complete(ending));
        let Some((due, took)) = complete.flatten() else {
            return;
        };
        // No watcher is called under a borrow. Watchers that are added meanwhile get the next
        // answer.
        let taken = self.0.with(server, |watched| {
            (
                std::mem::take(&mut watched.command),
                watched.capabilities,
                watched.status,
            )
        });
        let Some((command, capabilities, status)) = taken else {
            return;
        };
        let answer = Answer {
            client,
            server,
            command: (!command.is_empty()).then(|| Incoming::of_command(&command, capabilities)),
            ending,
            took,
            status,
        };
        for (id, watcher) in due {
            // A watcher that was called before may have removed it.
            if self.0.with(server, |watched| watched.has(id)) == Some(true) {
                watcher(&answer);
            }
        }
    }
}

/// A server and the client that it is linked to.
fn rearm(proxy: &Proxy, server: ConnId) {
    proxy.rearm(server);
    if let Some(client) = proxy.peer(server) {
        proxy.rearm(client);
    }
}

impl Observer for WatchedCommands {
    fn wants(&self, proxy: &Proxy, conn: &Rc<ConnInfo>) -> EventSet {
        match conn.kind {
            ConnKind::Client if proxy.peer(conn.id).is_some_and(|peer| self.0.has(peer)) => {
                Event::ClientSentCommand.set()
            }
            ConnKind::Server if self.0.has(conn.id) => Event::ServerSendingEof
                .set()
                .with(Event::ServerWaitCommand.set())
                .with(Event::ServerReceivedError.set()),
            _ => EventSet::NONE,
        }
    }

    fn event(&self, proxy: &Proxy, shown: Shown<'_>) -> Verdict {
        let Some(packet) = shown.packet else {
            return Verdict::Forward;
        };
        let id = shown.conn.id;
        let Some(peer) = proxy.peer(id) else {
            return Verdict::Forward;
        };
        match shown.event {
            Event::ClientSentCommand => drop(self.0.with(peer, |watched| watched.begin(packet))),
            Event::ServerSendingEof => drop(self.0.with(id, |watched| watched.go_on(packet))),
            _ => self.tell(peer, id, packet),
        }
        Verdict::Forward
    }

    fn closing(&self, _: &Proxy, conn: &Rc<ConnInfo>) {
        drop(self.0.remove(conn.id));
    }
}

impl Watched {
    fn has(&self, id: WatchId) -> bool {
        self.watches.iter().any(|watch| watch.id == id)
    }

    fn begin(&mut self, packet: Incoming<'_>) {
        let com = Com(packet.payload.first().copied().unwrap_or_default());
        self.command.clear();
        if packet.payload.len() <= MAX_COMMAND {
            self.command.extend_from_slice(packet.payload);
        }
        self.com = Some(com);
        self.capabilities = packet.capabilities;
        self.status = Status::empty();
        self.begun = com.expects_answer().then(Instant::now);
    }

    fn go_on(&mut self, packet: Incoming<'_>) {
        let status = match packet.kind {
            PacketKind::Ok => OkPacket::peek_status(packet.payload),
            PacketKind::Eof => Eof::peek_status(packet.payload),
            _ => None,
        };
        if self.begun.is_some() {
            self.status |= status.unwrap_or_default();
        }
    }

    /// The answer ends with this packet: returns the watchers to call, and how long it took.
    fn complete(&mut self, packet: Incoming<'_>) -> Option<(Vec<(WatchId, Watcher)>, Duration)> {
        self.go_on(packet);
        let took = self.begun.take()?.elapsed();
        let has_rows = packet.payload.first() == Some(&Eof::HEADER)
            && matches!(self.com, Some(Com::QUERY | Com::STMT_EXECUTE));
        let cares = |conditions: &Conditions| {
            !has_rows || took >= conditions.slower || self.status.intersects(conditions.status)
        };
        let due = self.watches.iter().filter(|watch| cares(&watch.conditions));
        let due: Vec<_> = due.map(|watch| (watch.id, watch.watcher.clone())).collect();
        if due.is_empty() {
            if self.command.capacity() > ROOM {
                self.command = Vec::new();
            }
            return None;
        }
        Some((due, took))
    }
}
