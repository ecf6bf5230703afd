//! A connection to a server: one request after the other, with a deadline each.

use std::cell::{Cell, RefCell};
use std::io;
use std::net::SocketAddr;
use std::rc::{Rc, Weak};
use std::time::{Duration, Instant};

use super::call::Call;
use super::failure::Failure;
use super::reply::Reply;
use super::talk::{Answered, Talk};
use crate::net::{Stream, TlsSession};
use crate::proxy::{Guest, GuestId, Proxy, Readiness, Turn};

/// How many steps a connection takes before others have their turn.
const STEPS: usize = 8;

/// How much is read in one step.
const READ: usize = 16 << 10;

/// How long a connection is kept for another request.
const KEPT: Duration = Duration::from_secs(5);

/// What is called with the answer, or with why there is none.
/// Without a connection if there never was one.
pub(super) type Then = Box<dyn FnOnce(Option<&Rc<Connection>>, Result<Reply, Lost>)>;

/// A request that has no answer.
#[derive(Debug)]
pub(super) struct Lost {
    pub failure: Failure,
    /// How far it had come.
    pub at: Stage,
}

/// How far a request has come.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Stage {
    Connecting,
    /// Nothing has come of the answer.
    Asked,
    Answering,
}

/// See the module.
pub(super) struct Connection {
    proxy: Proxy,
    this: Weak<Connection>,
    id: Cell<Option<GuestId>>,
    state: RefCell<State>,
}

impl std::fmt::Debug for Connection {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("Connection")
    }
}

struct State {
    /// `None` when it is over.
    stream: Option<Stream>,
    is_connected: bool,
    /// The request under way.
    errand: Option<Errand>,
    readable: bool,
    writable: bool,
    deadline: Instant,
}

/// A request under way.
pub(super) struct Errand {
    talk: Talk,
    deadline: Instant,
    then: Then,
}

impl Errand {
    /// This request, to be answered until then.
    pub fn new(call: &Call, deadline: Instant, then: Then) -> Errand {
        Errand {
            talk: Talk::new(call),
            deadline,
            then,
        }
    }

    /// There will be no connection for it.
    fn give_up(self, error: io::Error) {
        let lost = Lost {
            failure: Failure::Connect(error),
            at: Stage::Connecting,
        };
        (self.then)(None, Err(lost));
    }
}

/// What is to be done after a step.
enum Step {
    Wait,
    Again,
    Answered(Answered),
    /// An idle connection is not idle any more.
    Close,
}

impl Connection {
    /// Connects until a moment, and sends a request. `None` if that is not possible, which the errand has been told.
    pub fn open(
        proxy: &Proxy,
        address: SocketAddr,
        tls: Option<TlsSession>,
        connect_by: Instant,
        errand: Errand,
    ) -> Option<Rc<Connection>> {
        let mut stream = match Stream::connect_tcp(address) {
            Ok(stream) => stream,
            Err(error) => {
                errand.give_up(error);
                return None;
            }
        };
        if let Some(session) = tls {
            stream = stream.with_tls(session, Vec::new(), &[]);
        }
        let connection = Rc::new_cyclic(|this| Connection {
            proxy: proxy.clone(),
            this: this.clone(),
            id: Cell::new(None),
            state: RefCell::new(State {
                stream: None,
                is_connected: false,
                errand: None,
                readable: false,
                writable: false,
                deadline: connect_by,
            }),
        });
        match proxy.admit(connection.clone(), &mut stream) {
            Ok(id) => {
                connection.id.set(Some(id));
                let state = &mut *connection.state.borrow_mut();
                (state.stream, state.errand) = (Some(stream), Some(errand));
            }
            Err(error) => {
                errand.give_up(error);
                return None;
            }
        }
        Some(connection)
    }

    /// Whether it can have a request.
    pub fn is_idle(&self) -> bool {
        let state = self.state.borrow();
        state.stream.is_some() && state.errand.is_none()
    }

    /// Sends another request.
    pub fn ask(&self, errand: Errand) {
        {
            let mut state = self.state.borrow_mut();
            state.deadline = errand.deadline;
            state.errand = Some(errand);
        }
        self.wake();
    }

    /// Nobody wants the answer any more. Calls what was to be called.
    pub fn cancel(&self) {
        self.lose(Failure::Cancelled);
        self.wake();
    }

    /// Closes it, if nothing is under way.
    pub fn close(&self) {
        if self.is_idle() {
            self.end();
            self.wake();
        }
    }

    fn wake(&self) {
        if let Some(id) = self.id.get() {
            self.proxy.wake(id);
        }
    }

    /// It is over. Returns what was under way.
    fn end(&self) -> Option<Errand> {
        let (stream, errand) = {
            let mut state = self.state.borrow_mut();
            (state.stream.take(), state.errand.take())
        };
        drop(stream);
        errand
    }

    fn lose(&self, failure: Failure) {
        let at = match &*self.state.borrow() {
            state if !state.is_connected => Stage::Connecting,
            State {
                errand: Some(errand),
                ..
            } if errand.talk.has_heard() => Stage::Answering,
            _ => Stage::Asked,
        };
        let errand = self.end();
        if let (Some(errand), Some(this)) = (errand, self.this.upgrade()) {
            (errand.then)(Some(&this), Err(Lost { failure, at }));
        }
    }

    fn answered(&self, answered: Answered) {
        let Answered { reply, reusable } = answered;
        let errand = match reusable {
            false => self.end(),
            true => {
                let mut state = self.state.borrow_mut();
                state.deadline = Instant::now() + KEPT;
                state.errand.take()
            }
        };
        if let (Some(errand), Some(this)) = (errand, self.this.upgrade()) {
            (errand.then)(Some(&this), Ok(reply));
        }
    }

    /// Does what can be done now.
    fn go_on(&self) -> Turn {
        for _ in 0..STEPS {
            let step = {
                let state = &mut *self.state.borrow_mut();
                if state.stream.is_none() {
                    return Turn::Over;
                }
                state.step()
            };
            match step {
                Ok(Step::Wait) => return Turn::Wait(Some(self.state.borrow().deadline)),
                Ok(Step::Again) => {}
                Ok(Step::Answered(answered)) => self.answered(answered),
                Ok(Step::Close) => drop(self.end()),
                Err(failure) => self.lose(failure),
            }
        }
        Turn::Again
    }
}

impl Guest for Connection {
    fn turn(&self, readiness: Readiness) -> Turn {
        let late = {
            let mut state = self.state.borrow_mut();
            state.readable |= readiness.readable;
            state.writable |= readiness.writable;
            state.deadline <= Instant::now()
        };
        if late {
            let failure = self.state.borrow().too_late();
            self.lose(failure);
            return Turn::Over;
        }
        self.go_on()
    }

    fn is_busy(&self) -> bool {
        self.state.borrow().errand.is_some()
    }

    fn ended(&self) {
        self.id.set(None);
        // Something is left only if a turn has panicked.
        self.lose(Failure::Ended);
    }
}

impl State {
    fn too_late(&self) -> Failure {
        Failure::TimedOut(match self.is_connected {
            true => "complete answer",
            false => "connection",
        })
    }

    fn step(&mut self) -> Result<Step, Failure> {
        let Some(stream) = &mut self.stream else {
            return Ok(Step::Close);
        };
        if !self.is_connected {
            return match stream.connected() {
                Ok(None) => Ok(Step::Wait),
                Ok(Some(_)) => {
                    // What was reported before the connection was made is not known to be true any more.
                    (self.is_connected, self.readable, self.writable) = (true, true, true);
                    if let Some(errand) = &self.errand {
                        self.deadline = errand.deadline;
                    }
                    Ok(Step::Again)
                }
                Err(error) => Err(Failure::Connect(error)),
            };
        }
        let Some(errand) = &mut self.errand else {
            return Ok(idle(stream, &mut self.readable));
        };
        let talk = &mut errand.talk;
        let failed = |stream: &Stream, error: io::Error| match stream.tls_failure() {
            Some(problem) => Failure::Tls(problem.to_owned()),
            None => Failure::Broken(error),
        };
        if self.writable && !talk.output().is_empty() {
            match stream.write(talk.output()) {
                Ok(count) => talk.sent(count),
                Err(error) if error.kind() == io::ErrorKind::WouldBlock => self.writable = false,
                // What the server has said before it closed may be an answer.
                Err(error) if !self.readable => return Err(failed(stream, error)),
                Err(_) => self.writable = false,
            }
        }
        if self.writable && stream.wants_write() {
            match stream.flush() {
                Ok(()) => {}
                Err(error) if error.kind() == io::ErrorKind::WouldBlock => self.writable = false,
                Err(error) => return Err(failed(stream, error)),
            }
        }
        if !self.readable {
            let busy = self.writable && (stream.wants_write() || !talk.output().is_empty());
            return Ok(if busy { Step::Again } else { Step::Wait });
        }
        let mut buffer = [0; READ];
        match stream.read(&mut buffer) {
            Ok(0) => match stream.tls_failure() {
                Some(problem) => Err(Failure::Tls(problem.to_owned())),
                None => talk.ended().map(|reply| {
                    Step::Answered(Answered {
                        reply,
                        reusable: false,
                    })
                }),
            },
            Ok(count) => {
                let bytes = buffer.get(..count).unwrap_or_default();
                Ok(talk.received(bytes)?.map_or(Step::Again, Step::Answered))
            }
            Err(error) if error.kind() == io::ErrorKind::WouldBlock => {
                self.readable = false;
                Ok(Step::Again)
            }
            // TLS: there may be more.
            Err(error) if error.kind() == io::ErrorKind::Interrupted => Ok(Step::Again),
            Err(error) => Err(failed(stream, error)),
        }
    }
}

/// Nothing is under way: all that can come is the end, or what nobody has asked for; of TLS also tickets for later sessions.
fn idle(stream: &mut Stream, readable: &mut bool) -> Step {
    if !*readable {
        return Step::Wait;
    }
    // (TLS decodes into the buffer, which has to have room for a record and more.)
    let mut buffer = [0; READ];
    match stream.read(&mut buffer) {
        Err(error) if error.kind() == io::ErrorKind::WouldBlock => {
            *readable = false;
            Step::Wait
        }
        Err(error) if error.kind() == io::ErrorKind::Interrupted => Step::Again,
        _ => Step::Close,
    }
}
