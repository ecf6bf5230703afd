//! Sockets that several workers listen on.
//!
//! Listeners of the same address are one: the first worker that opens it binds the socket, others join. Port 0 lets
//! the system choose a port: the first such listener of each worker is the same, the second, and so on. The last
//! worker that closes it closes the socket.

use std::collections::HashMap;
use std::io;
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex};

use slab::Slab;

use super::clients::Clients;
use super::lock;
use super::mailbox::{HandedOver, ListenerKey};
use crate::net::{Listener, Registrar};

/// What listeners have in common that are one.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Address {
    Tcp(String, u16),
    /// With port 0: how many of these the worker has opened before.
    Chosen(String, usize),
    Unix(PathBuf),
}

/// One socket and who listens.
#[derive(Debug)]
struct Entry {
    address: Address,
    serial: usize,
    listener: Listener,
    workers: Vec<usize>,
    clients: Arc<Clients>,
    /// Clients may wait there.
    is_ready: bool,
}

#[derive(Debug, Default)]
struct Table {
    entries: Slab<Entry>,
    last_serial: usize,
    /// How many listeners with port 0 each worker has opened on each address.
    chosen: HashMap<(usize, String), usize>,
}

/// The listeners of a program with several workers.
#[derive(Debug)]
pub struct Listeners {
    registrar: Registrar,
    table: Mutex<Table>,
    /// The worker that was given a client last.
    last: AtomicUsize,
}

/// A worker listens, until this is dropped.
#[derive(Debug)]
pub struct Membership {
    listeners: Arc<Listeners>,
    worker: usize,
    /// The listener.
    pub key: ListenerKey,
    /// The port, 0 on a unix socket.
    pub port: u16,
    /// Its clients.
    pub clients: Arc<Clients>,
}

impl Membership {
    /// Listens on a TCP port.
    pub(super) fn tcp(
        listeners: &Arc<Listeners>,
        worker: usize,
        ip: Option<&str>,
        port: u16,
    ) -> io::Result<Membership> {
        let name = ip.unwrap_or("*").to_owned();
        let bind = || Listener::bind_tcp(ip, port);
        if port != 0 {
            return Membership::join(listeners, worker, Address::Tcp(name, port), bind);
        }
        let before = {
            let mut table = lock(&listeners.table);
            let chosen = table.chosen.entry((worker, name.clone())).or_default();
            *chosen += 1;
            *chosen - 1
        };
        Membership::join(listeners, worker, Address::Chosen(name, before), bind)
    }

    /// Listens on a unix socket.
    pub(super) fn unix(
        listeners: &Arc<Listeners>,
        worker: usize,
        path: &Path,
        mode: u32,
    ) -> io::Result<Membership> {
        let address = Address::Unix(path.to_path_buf());
        Membership::join(listeners, worker, address, || {
            Listener::bind_unix(path, mode)
        })
    }

    fn join(
        listeners: &Arc<Listeners>,
        worker: usize,
        address: Address,
        bind: impl Fn() -> io::Result<Listener>,
    ) -> io::Result<Membership> {
        let table = &mut *lock(&listeners.table);
        let found = table.entries.iter_mut();
        let mut found = found.filter(|(_, entry)| entry.address == address);
        if let Some((place, entry)) = found.next() {
            if entry.workers.contains(&worker) {
                // With the error of a socket that is taken, unless it is no longer.
                bind()?;
                return Err(io::ErrorKind::AddrInUse.into());
            }
            entry.workers.push(worker);
            return Ok(Membership::of(listeners, worker, place, entry));
        }
        let mut listener = bind()?;
        let serial = table.last_serial + 1;
        let vacant = table.entries.vacant_entry();
        let place = vacant.key();
        listeners.registrar.register(&mut listener, place)?;
        let entry = vacant.insert(Entry {
            address,
            serial,
            listener,
            workers: vec![worker],
            clients: Arc::default(),
            // A client may have connected before the registration.
            is_ready: true,
        });
        table.last_serial = serial;
        Ok(Membership::of(listeners, worker, place, entry))
    }

    fn of(listeners: &Arc<Listeners>, worker: usize, place: usize, entry: &Entry) -> Membership {
        Membership {
            listeners: listeners.clone(),
            worker,
            key: ListenerKey {
                place,
                serial: entry.serial,
            },
            port: entry.listener.local_port(),
            clients: entry.clients.clone(),
        }
    }
}

impl Drop for Membership {
    fn drop(&mut self) {
        let table = &mut *lock(&self.listeners.table);
        let Some(entry) = table.entry(self.key) else {
            return;
        };
        entry.workers.retain(|worker| *worker != self.worker);
        if !entry.workers.is_empty() {
            return;
        }
        let mut entry = table.entries.remove(self.key.place);
        let registrar = &self.listeners.registrar;
        if let Err(error) = registrar.deregister(&mut entry.listener) {
            log::warn!("a listener cannot be deregistered: {error}");
        }
    }
}

impl Table {
    fn entry(&mut self, key: ListenerKey) -> Option<&mut Entry> {
        let entry = self.entries.get_mut(key.place);
        entry.filter(|entry| entry.serial == key.serial)
    }
}

impl Listeners {
    /// None yet; their sockets are registered there.
    pub fn new(registrar: Registrar) -> Listeners {
        Listeners {
            registrar,
            table: Mutex::default(),
            last: AtomicUsize::new(0),
        }
    }

    /// Closes all sockets, as the program ends without its workers.
    pub fn close(&self) {
        lock(&self.table).entries.clear();
    }

    /// Clients may wait at the listener in this place.
    pub fn note_ready(&self, place: usize) {
        if let Some(entry) = lock(&self.table).entries.get_mut(place) {
            entry.is_ready = true;
        }
    }

    /// Clients may wait at all of them.
    pub fn note_all_ready(&self) {
        for (_, entry) in &mut lock(&self.table).entries {
            entry.is_ready = true;
        }
    }

    /// Accepts clients wherever some may wait, this many at each listener. Adds why a listener failed.
    pub fn accept(&self, most: usize, accepted: &mut Vec<HandedOver>) -> io::Result<()> {
        let mut result = Ok(());
        for (place, entry) in &mut lock(&self.table).entries {
            let listener = ListenerKey {
                place,
                serial: entry.serial,
            };
            for _ in 0..most {
                if !entry.is_ready {
                    break;
                }
                match entry.listener.accept() {
                    Ok((stream, peer)) => accepted.push(HandedOver {
                        listener,
                        stream,
                        peer,
                    }),
                    Err(error) if error.kind() == io::ErrorKind::WouldBlock => {
                        entry.is_ready = false;
                    }
                    Err(error) => {
                        result = Err(error);
                        break;
                    }
                }
            }
        }
        result
    }

    /// Whether clients may wait anywhere.
    pub fn is_any_ready(&self) -> bool {
        let table = lock(&self.table);
        table.entries.iter().any(|(_, entry)| entry.is_ready)
    }

    /// The worker with the fewest of those that listen there; of several, the one whose turn it is.
    pub fn choose<L: Ord>(
        &self,
        key: ListenerKey,
        load: impl Fn(usize) -> Option<L>,
    ) -> Option<usize> {
        let table = &mut *lock(&self.table);
        let entry = table.entry(key)?;
        let last = self.last.load(Ordering::Relaxed);
        let loads = entry.workers.iter();
        let loads = loads.filter_map(|worker| Some((load(*worker)?, *worker <= last, *worker)));
        let (_, _, worker) = loads.min()?;
        self.last.store(worker, Ordering::Relaxed);
        Some(worker)
    }
}
