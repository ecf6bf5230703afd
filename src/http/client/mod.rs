//! Requests to other servers, in the proxy's loop.
//!
//! Bounded in everything that a server can make it hold: the size of an answer, the time that it takes, the requests under
//! way, and the connections that are kept for another request.
//!
//! - [`HttpClient`] sends a [`Call`], and gives its [`Reply`] or the [`Failure`] to a function
//! - `call`: a request, checked; `reply`: an answer; `failure`: why there is none
//! - `talk`: one request and its answer, without a socket
//! - `connection`: the same with a socket and a deadline, a [`Guest`](crate::proxy::Guest) of the loop

mod call;
mod connection;
mod failure;
mod reply;
mod talk;

use std::cell::{Cell, RefCell};
use std::collections::{HashMap, VecDeque};
use std::fmt;
use std::io;
use std::net::{IpAddr, SocketAddr};
use std::rc::{Rc, Weak};
use std::time::{Duration, Instant};

pub use call::{Address, BadCall, Call, CallOptions};
pub use failure::Failure;
pub use reply::Reply;

use connection::{Connection, Errand, Lost, Stage, Then};

use crate::net::{TlsClient, TlsClientOptions, TlsSession};
use crate::proxy::Proxy;

/// How many requests may be under way.
const MOST_CALLS: usize = 256;

/// How many idle connections are kept for one server, and for all.
const IDLE_FOR_ONE: usize = 8;
const IDLE_FOR_ALL: usize = 64;

/// How many configurations of TLS are kept, and how long: files of certificates change.
const TLS_KEPT: usize = 64;
const TLS_KEPT_FOR: Duration = Duration::from_secs(300);

/// Whom a connection is to.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
struct Origin {
    host: String,
    port: u16,
    tls: Option<TlsClientOptions>,
}

impl Origin {
    fn of(call: &Call) -> Origin {
        let mut tls = call.options.tls.clone();
        if tls.server_name.is_none() && call.address.has_name() {
            // Servers of the web have a certificate for each of their names.
            tls.server_name = Some(call.address.host());
        }
        Origin {
            host: call.address.host(),
            port: call.address.port(),
            tls: call.address.is_https().then_some(tls),
        }
    }
}

/// Sends requests. Clones are the same one.
#[derive(Clone)]
pub struct HttpClient(Rc<Shared>);

struct Shared {
    proxy: Proxy,
    idle: RefCell<Vec<(Origin, Rc<Connection>)>>,
    tls: RefCell<HashMap<Origin, (Rc<TlsClient>, Instant)>>,
    under_way: Cell<usize>,
}

impl fmt::Debug for HttpClient {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("HttpClient")
    }
}

/// A request under way, by which it can be cancelled.
#[derive(Debug, Clone)]
pub struct Underway(Rc<RefCell<Weak<Connection>>>);

impl Underway {
    /// Nobody wants the answer any more: the request fails, unless it is over.
    pub fn cancel(&self) {
        let connection = self.0.borrow().upgrade();
        if let Some(connection) = connection {
            connection.cancel();
        }
    }
}

/// A request, while a connection for it is sought.
struct Order {
    shared: Rc<Shared>,
    call: Call,
    origin: Origin,
    /// The addresses that were not tried yet.
    addresses: VecDeque<IpAddr>,
    deadline: Instant,
    underway: Underway,
    done: Box<dyn FnOnce(Result<Reply, Failure>)>,
}

impl HttpClient {
    /// One whose connections are in this proxy's loop.
    pub fn new(proxy: Proxy) -> HttpClient {
        HttpClient(Rc::new(Shared {
            proxy,
            idle: RefCell::default(),
            tls: RefCell::default(),
            under_way: Cell::new(0),
        }))
    }

    /// Sends a request to the first of these addresses that takes it, or over a connection that is there. Calls `done` once,
    /// later or at once, with its answer.
    pub fn send(
        &self,
        call: Call,
        addresses: impl IntoIterator<Item = IpAddr>,
        done: impl FnOnce(Result<Reply, Failure>) + 'static,
    ) -> Underway {
        let underway = Underway(Rc::new(RefCell::new(Weak::new())));
        let shared = self.0.clone();
        if shared.under_way.get() >= MOST_CALLS {
            done(Err(Failure::TooMany(MOST_CALLS)));
            return underway;
        }
        shared.under_way.set(shared.under_way.get() + 1);
        let counted = shared.clone();
        let order = Order {
            origin: Origin::of(&call),
            deadline: Instant::now() + call.options.timeout,
            call,
            addresses: addresses.into_iter().collect(),
            shared,
            underway: underway.clone(),
            done: Box::new(move |answer| {
                counted.under_way.set(counted.under_way.get() - 1);
                done(answer);
            }),
        };
        order.begin();
        underway
    }
}

impl Order {
    /// Uses a connection that is there, or makes one.
    fn begin(self) {
        let Some(connection) = self.shared.take(&self.origin) else {
            return self.connect(Failure::Connect(io::Error::other("there is no address")));
        };
        self.underway.0.replace(Rc::downgrade(&connection));
        let (call, deadline) = (self.call.clone(), self.deadline);
        let then: Then = Box::new(move |connection, answer| match answer {
            // The server has closed it in this very moment: as it was not read, the request may be sent anew.
            Err(Lost {
                failure: failure @ (Failure::Ended | Failure::Broken(_)),
                at: Stage::Asked,
            }) if self.call.is_idempotent() => self.connect(failure),
            answer => self.finish(connection, answer),
        });
        connection.ask(Errand::new(&call, deadline, then));
    }

    /// Connects to the next address.
    fn connect(mut self, before: Failure) {
        let left = self.addresses.len() as u32;
        let Some(ip) = self.addresses.pop_front() else {
            return (self.done)(Err(before));
        };
        let tls = match self.shared.tls_session(&self.origin) {
            Ok(tls) => tls,
            Err(problem) => return (self.done)(Err(Failure::Tls(problem))),
        };
        let address = SocketAddr::new(ip, self.origin.port);
        // One that never answers leaves time for the others.
        let now = Instant::now();
        let share = self.deadline.saturating_duration_since(now) / left.max(1);
        let (proxy, call, deadline) = (self.shared.proxy.clone(), self.call.clone(), self.deadline);
        let underway = self.underway.clone();
        let then: Then = Box::new(move |connection, answer| match answer {
            Err(Lost {
                failure,
                at: Stage::Connecting,
            }) if !matches!(failure, Failure::Cancelled) && !self.addresses.is_empty() => {
                self.connect(failure);
            }
            answer => self.finish(connection, answer),
        });
        let errand = Errand::new(&call, deadline, then);
        if let Some(connection) = Connection::open(&proxy, address, tls, now + share, errand) {
            underway.0.replace(Rc::downgrade(&connection));
        }
    }

    fn finish(self, connection: Option<&Rc<Connection>>, answer: Result<Reply, Lost>) {
        if let Some(connection) = connection.filter(|connection| connection.is_idle()) {
            self.shared.keep(self.origin, connection.clone());
        }
        (self.done)(answer.map_err(|lost| lost.failure));
    }
}

impl Shared {
    /// A connection to a server that is idle.
    fn take(&self, origin: &Origin) -> Option<Rc<Connection>> {
        let mut idle = self.idle.borrow_mut();
        idle.retain(|(_, connection)| connection.is_idle());
        let place = idle.iter().rposition(|(its, _)| its == origin)?;
        Some(idle.remove(place).1)
    }

    fn keep(&self, origin: Origin, connection: Rc<Connection>) {
        let surplus = {
            let mut idle = self.idle.borrow_mut();
            idle.retain(|(_, connection)| connection.is_idle());
            let same = idle.iter().filter(|(its, _)| *its == origin).count();
            if same < IDLE_FOR_ONE && idle.len() < IDLE_FOR_ALL {
                idle.push((origin, connection));
                return;
            }
            connection
        };
        surplus.close();
    }

    fn tls_session(&self, origin: &Origin) -> Result<Option<TlsSession>, String> {
        let Some(options) = &origin.tls else {
            return Ok(None);
        };
        let mut kept = self.tls.borrow_mut();
        kept.retain(|_, (_, since)| since.elapsed() < TLS_KEPT_FOR);
        if kept.len() >= TLS_KEPT {
            kept.clear();
        }
        let client = match kept.get(origin) {
            Some((client, _)) => client.clone(),
            None => {
                let client = TlsClient::new(options, &origin.host);
                let client = Rc::new(client.map_err(|error| format!("tls.{error}"))?);
                kept.insert(origin.clone(), (client.clone(), Instant::now()));
                client
            }
        };
        let session = client.session().map_err(|error| error.to_string())?;
        Ok(Some(session))
    }
}
