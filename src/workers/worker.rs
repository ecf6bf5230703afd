//! What one worker sees of its program.

use std::io;
use std::path::Path;
use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::Duration;

use super::SERIAL_BITS;
use super::channels::Reached;
use super::claims::{self, ForAll};
use super::listeners::Membership;
use super::loops;
use super::mailbox::{HandedOver, Message, Stop};
use super::program::{CountError, Program};
use super::pulse::{Patience, Pulse};
use super::rollout::Rollout;
use super::room::RoomShare;
use super::shared::Dictionary;
use super::upgrade::{Arrivals, Carried, UpgradeError};
use crate::net::{LastResort, Listener, ServiceManager, WakeHandle};

/// How many messages a worker takes in one pass of its loop.
const MESSAGES: usize = 256;

/// A worker's view of its program.
#[derive(Debug, Clone)]
pub struct Worker {
    program: Arc<Program>,
    number: usize,
}

/// Where a worker listens.
#[derive(Debug)]
pub enum Listening {
    /// At a socket of its own.
    Own(Listener),
    /// At one that others listen at, too.
    Shared(Membership),
}

impl Worker {
    /// The worker with this number, from 1 on.
    pub fn new(program: Arc<Program>, number: usize) -> Worker {
        Worker { program, number }
    }

    /// The only one of a program.
    pub fn alone() -> Worker {
        Worker::new(Program::alone(), 1)
    }

    /// Its number, from 1 on.
    pub fn number(&self) -> usize {
        self.number
    }

    /// How many workers there are, or will be.
    pub fn count(&self) -> usize {
        self.program.count()
    }

    /// Sets how many there are to be.
    ///
    /// # Errors
    /// It is too late, or this program has one loop only.
    pub fn set_count(&self, count: usize) -> Result<(), CountError> {
        self.program.set_count(count)
    }

    /// Its loop has begun, which is woken so when there are messages.
    pub fn begin(&self, wake: WakeHandle) {
        if let Some(desk) = self.program.desks.of(self.number) {
            desk.mailbox.open(wake);
        }
    }

    /// Its share of the process's sockets.
    pub fn room(&self) -> RoomShare {
        RoomShare::of(self.program.room.clone(), self.number == 1)
    }

    /// Listens on a TCP port.
    ///
    /// # Errors
    /// The address is not ours or is taken.
    pub fn listen_tcp(&self, ip: Option<&str>, port: u16) -> io::Result<Listening> {
        if self.program.settle_count() == 1 {
            return Listener::bind_tcp(ip, port).map(Listening::Own);
        }
        let listeners = self.program.listeners()?;
        Membership::tcp(&listeners, self.number, ip, port).map(Listening::Shared)
    }

    /// Listens on a TCP port for all workers, unless another one does.
    ///
    /// # Errors
    /// The address is not ours or is taken.
    pub fn listen_for_all(&self, ip: Option<&str>, port: u16) -> io::Result<ForAll> {
        self.program.settle_count();
        claims::listen(&self.program.claims, self.number, ip, port)
    }

    /// Listens on a unix socket.
    ///
    /// # Errors
    /// The path is taken or cannot be written.
    pub fn listen_unix(&self, path: &Path, mode: u32) -> io::Result<Listening> {
        if self.program.settle_count() == 1 {
            return Listener::bind_unix(path, mode).map(Listening::Own);
        }
        let listeners = self.program.listeners()?;
        Membership::unix(&listeners, self.number, path, mode).map(Listening::Shared)
    }

    /// Ends the program if its loops do not, from now on.
    pub fn set_last_resort(&self, last_resort: LastResort) {
        self.program.set_last_resort(last_resort);
    }

    /// What ends the program if its loops do not, where that is wanted.
    pub fn last_resort(&self) -> Option<&LastResort> {
        self.program.last_resort()
    }

    /// When the watchdog does what.
    pub fn patience(&self) -> Patience {
        self.program.patience()
    }

    /// Says when the watchdog does what.
    pub fn set_patience(&self, patience: Patience) {
        self.program.set_patience(patience);
    }

    /// Tells the service manager every so often that the loops of the program turn, for as long as it is there.
    pub fn tell_alive(&self, service_manager: &Arc<ServiceManager>) {
        loops::tell_alive(&self.program, service_manager);
    }

    /// What the watchdog sees of this worker.
    pub fn pulse(&self) -> Option<&Pulse> {
        self.program.pulse(self.number)
    }

    /// It has that many clients.
    pub fn note_clients(&self, count: u64) {
        if let Some(desk) = self.program.desks.of(self.number) {
            let count = usize::try_from(count).unwrap_or(usize::MAX);
            desk.clients.store(count, Ordering::Relaxed);
        }
    }

    /// The oldest messages for it, and whether more are left.
    pub fn take_messages(&self) -> (Vec<Message>, bool) {
        match self.program.desks.of(self.number) {
            Some(desk) => desk.mailbox.take(MESSAGES),
            None => (Vec::new(), false),
        }
    }

    /// A client that was handed over has been admitted, or not.
    pub fn client_arrived(&self) {
        if let Some(desk) = self.program.desks.of(self.number) {
            desk.mailbox.arrived();
        }
    }

    /// A client has come for a listener that the worker no longer has: it goes to another.
    pub fn pass_on(&self, client: HandedOver) {
        self.program.hand_over(client);
    }

    /// It waits for nothing but messages. True if nobody else waits for anything more: then the program has come
    /// to its end, and the others are told.
    pub fn rest(&self) -> bool {
        let Some(desk) = self.program.desks.of(self.number) else {
            return true;
        };
        if !desk.mailbox.rest() || !self.program.desks.all_rest(self.count()) {
            return false;
        }
        self.stop_others(Stop::Exit(0));
        true
    }

    /// Starts another process that takes the place of this one.
    ///
    /// # Errors
    /// That cannot begin now. (What fails later is logged.)
    pub fn begin_upgrade(&self) -> Result<(), UpgradeError> {
        self.program.begin_upgrade()
    }

    /// How long clients that cannot go over to another process may stay here.
    pub fn set_upgrade_drain(&self, drain: Duration) {
        self.program.upgrades.set_drain(drain);
    }

    /// Hands a connection over to the process that takes the place of this one; returns it if there is none.
    ///
    /// # Errors
    /// There is none.
    pub fn give(&self, carried: Carried) -> Result<(), Carried> {
        self.program.upgrades.give(carried)
    }

    /// The numbers of connections are higher than this one, the bits for their workers left out.
    pub fn first_serial(&self) -> u32 {
        self.program.first_serial.get().copied().unwrap_or_default()
    }

    /// A connection has this number.
    pub fn note_serial(&self, serial: u32) {
        let counter = serial & ((1 << SERIAL_BITS) - 1);
        self.program
            .last_serial
            .fetch_max(counter, Ordering::Relaxed);
    }

    /// The connections of the process whose place this one has taken.
    pub fn arrivals(&self) -> Option<Arc<Arrivals>> {
        self.program.arrivals().cloned()
    }

    /// Tells the others to end.
    pub fn stop_others(&self, stop: Stop) {
        self.program.stop_others(self.number, stop);
    }

    /// From now on it gets what is published on this channel.
    pub fn subscribe(&self, channel: &str) {
        self.program.channels.subscribe(self.number, channel);
    }

    /// From now on it does not.
    pub fn unsubscribe(&self, channel: &str) {
        self.program.channels.unsubscribe(self.number, channel);
    }

    /// Publishes a text for all that have subscribed to this channel.
    pub fn publish(&self, channel: &str, text: &[u8]) -> Reached {
        let program = &self.program;
        program
            .channels
            .publish(&program.desks, self.number, channel, text)
    }

    /// How many published messages it did not get, as too many waited already.
    pub fn missed(&self) -> u64 {
        let desk = self.program.desks.of(self.number);
        desk.map_or(0, |desk| desk.missed.load(Ordering::Relaxed))
    }

    /// The dictionary of this name, which all workers see. It is made if it is not there yet.
    ///
    /// # Errors
    /// It is there, and may have this many bytes instead.
    pub fn dictionary(
        &self,
        name: &str,
        bytes: Option<usize>,
        default: usize,
    ) -> Result<Arc<Dictionary>, usize> {
        self.program.dictionaries.of(name, bytes, default)
    }

    /// What there is one of per program, by its kind and this name. It is made if it is not there yet.
    pub fn common<T: Default + Send + Sync + 'static>(&self, name: &str) -> Arc<T> {
        self.program.commons.of(name)
    }

    /// Begins to bring something new to all workers. `None` if something else is under way.
    pub fn roll_out(&self, content: Vec<u8>) -> Option<Arc<Rollout>> {
        let program = &self.program;
        program
            .rollouts
            .begin(&program.desks, content, self.count())
    }

    /// It has prepared what is new, or cannot.
    pub fn report(&self, rollout: &Arc<Rollout>, result: Result<(), String>) {
        let program = &self.program;
        program
            .rollouts
            .report(&program.desks, rollout, self.number, result);
    }

    /// What was brought to all workers last: none if it is still what the program has begun with.
    pub fn in_use(&self) -> Option<Vec<u8>> {
        self.program.rollouts.in_use()
    }

    /// Others take too long to prepare it.
    pub fn give_up(&self, rollout: &Arc<Rollout>) {
        let program = &self.program;
        program.rollouts.give_up(&program.desks, rollout);
    }

    /// It can do this, which one of all is to do: that one gets [`Message::Once`].
    pub fn once(&self, name: &str) {
        let program = &self.program;
        program.once.offer(&program.desks, self.number, name);
    }

    /// If it is the one that does this, it begins anew.
    pub fn once_again(&self, name: &str) {
        let program = &self.program;
        program.once.again(&program.desks, self.number, name);
    }

    /// It has failed to do this. Returns who does it now.
    pub fn once_failed(&self, name: &str) -> Option<usize> {
        let program = &self.program;
        program.once.failed(&program.desks, self.number, name)
    }
}
