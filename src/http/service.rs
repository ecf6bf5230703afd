//! What all connections of a listener share.

use std::cell::{Cell, RefCell};
use std::collections::HashSet;
use std::rc::Rc;
use std::time::{Duration, Instant};

use super::exchange::Handler;
use super::options::HttpOptions;
use super::request::Request;
use crate::net::Peer;
use crate::proxy::{GuestId, Proxy};

/// The time between two lines in the log about wrong credentials.
const WARNING_PAUSE: Duration = Duration::from_secs(10);

/// What all connections of a listener share.
pub(super) struct Service {
    pub proxy: Proxy,
    pub options: HttpOptions,
    pub handler: Rc<dyn Handler>,
    pub connections: RefCell<HashSet<GuestId>>,
    closed: Cell<bool>,
    last_exchange: Cell<u64>,
    warned: Cell<Option<Instant>>,
}

impl Service {
    pub fn new(proxy: Proxy, options: HttpOptions, handler: Rc<dyn Handler>) -> Service {
        Service {
            proxy,
            options,
            handler,
            connections: RefCell::default(),
            closed: Cell::new(false),
            last_exchange: Cell::new(0),
            warned: Cell::new(None),
        }
    }

    /// All connections end when they have answered.
    pub fn close(&self) {
        self.closed.set(true);
        for id in self.connections.borrow().iter() {
            self.proxy.wake(*id);
        }
    }

    pub fn is_closed(&self) -> bool {
        self.closed.get()
    }

    pub fn new_exchange(&self) -> u64 {
        self.last_exchange.set(self.last_exchange.get() + 1);
        self.last_exchange.get()
    }

    /// Wrong credentials are worth a line in the log, but not one for each attempt. Browsers first come without any.
    pub fn note_unauthorized(&self, request: &Request, peer: &Peer) {
        let recent = |at: Instant| at.elapsed() < WARNING_PAUSE;
        if request.header("authorization").is_none() || self.warned.get().is_some_and(recent) {
            return;
        }
        self.warned.set(Some(Instant::now()));
        let from = peer.ip.map_or("?".to_owned(), |ip| ip.to_string());
        log::warn!("http: wrong credentials from {from}");
    }
}
