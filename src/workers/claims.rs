//! Sockets that one worker has for all: who listens there answers for the whole program.
//!
//! The first worker that opens an address has it, which is worker 1 unless the startfile says otherwise. Others that open it learn its
//! port. Port 0 lets the system choose: the first such address of each worker is the same, the second, and so on.

use std::io;
use std::sync::{Arc, Mutex};

use super::lock;
use crate::net::Listener;

#[derive(Debug, Default)]
pub(super) struct Claims(Mutex<Table>);

#[derive(Debug, Default)]
struct Table {
    entries: Vec<Entry>,
    last_serial: u64,
    /// The addresses that were opened with port 0, and by whom.
    chosen: Vec<(usize, String)>,
}

#[derive(Debug)]
struct Entry {
    serial: u64,
    address: (String, u16, usize),
    worker: usize,
    port: u16,
}

/// Where a worker listens for all.
#[derive(Debug)]
pub enum ForAll {
    /// At this socket, for as long as it keeps the claim.
    Own(Listener, Claim),
    /// Another worker does, on this port.
    Elsewhere(u16),
}

/// This worker has the address, until this is dropped.
#[derive(Debug)]
pub struct Claim {
    claims: Arc<Claims>,
    serial: u64,
}

impl Drop for Claim {
    fn drop(&mut self) {
        let table = &mut *lock(&self.claims.0);
        table.entries.retain(|entry| entry.serial != self.serial);
    }
}

/// Listens on a TCP port, unless another worker does.
pub(super) fn listen(
    claims: &Arc<Claims>,
    worker: usize,
    ip: Option<&str>,
    port: u16,
) -> io::Result<ForAll> {
    let table = &mut *lock(&claims.0);
    let name = ip.unwrap_or("*").to_owned();
    let mut before = 0;
    if port == 0 {
        let chosen = (worker, name.clone());
        before = table.chosen.iter().filter(|its| **its == chosen).count();
        table.chosen.push(chosen);
    }
    let address = (name, port, before);
    let mut others = table.entries.iter();
    let other = others.find(|entry| entry.address == address && entry.worker != worker);
    if let Some(other) = other {
        return Ok(ForAll::Elsewhere(other.port));
    }
    let listener = Listener::bind_tcp(ip, port)?;
    table.last_serial += 1;
    let serial = table.last_serial;
    table.entries.push(Entry {
        serial,
        address,
        worker,
        port: listener.local_port(),
    });
    let claims = claims.clone();
    Ok(ForAll::Own(listener, Claim { claims, serial }))
}
