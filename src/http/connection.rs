//! A conversation with its socket and its deadlines.

use std::cell::{Cell, RefCell};
use std::io;
use std::rc::{Rc, Weak};
use std::time::{Duration, Instant};

use super::access::Judgement;
use super::conversation::{Conversation, Next, Sent};
use super::exchange::{Exchange, Line};
use super::options::HttpOptions;
use super::refusal::Refusal;
use super::request::Request;
use super::response::{Head, Response};
use super::service::Service;
use crate::net::{Peer, Stream};
use crate::proxy::{Guest, GuestId, Readiness, Turn};

/// How many steps a connection takes before others have their turn.
const STEPS: usize = 8;

/// How much is read in one step.
const READ: usize = 16 << 10;

/// How long, and how much, is still read of a connection that has been told that it is over. Without that a client which is
/// still sending would lose the answer that tells why.
const LINGER: Duration = Duration::from_secs(2);
const MOST_DISCARDED: usize = 4 << 20;

/// A client's connection.
pub(super) struct Connection {
    service: Rc<Service>,
    this: Weak<Connection>,
    id: Cell<Option<GuestId>>,
    peer: Peer,
    state: RefCell<State>,
}

impl std::fmt::Debug for Connection {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("Connection")
    }
}

struct State {
    stream: Stream,
    talk: Conversation,
    life: Life,
    readable: bool,
    writable: bool,
    /// The client will send nothing more.
    ended: bool,
    /// The exchange that is not complete.
    exchange: Option<u64>,
    waiting: Waiting,
    deadline: Option<Instant>,
}

/// How far a connection is with its end.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Life {
    Open,
    /// All is said, and the client knows; so much has been read since then.
    Lingering(usize),
    Ended,
}

/// What a connection waits for. Each has a deadline of its own.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Waiting {
    /// The rest of a request, or the first one.
    Request,
    /// Another request.
    Idle,
    Answer,
    /// The client takes nothing of what is queued.
    Output,
    /// The next part of a stream, for which there is no deadline.
    Stream,
    Linger,
}

/// The socket failed, or the client has gone: nothing can be said any more.
struct Broken;

impl From<io::Error> for Broken {
    fn from(_: io::Error) -> Broken {
        Broken
    }
}

impl Connection {
    /// Takes a client in.
    pub fn admit(service: &Rc<Service>, stream: Stream, peer: Peer) -> io::Result<()> {
        let options = &service.options;
        let stream = match &options.tls {
            None => stream,
            Some(tls) => {
                let session = tls.session().map_err(io::Error::other)?;
                stream.with_tls(session, Vec::new(), &[])
            }
        };
        let connection = Rc::new_cyclic(|this| Connection {
            service: service.clone(),
            this: this.clone(),
            id: Cell::new(None),
            peer,
            state: RefCell::new(State {
                stream,
                talk: Conversation::new(options.max_body),
                life: Life::Open,
                readable: true,
                writable: true,
                ended: false,
                exchange: None,
                waiting: Waiting::Request,
                deadline: Some(Instant::now() + options.request_timeout),
            }),
        });
        let stream = &mut connection.state.borrow_mut().stream;
        let id = service.proxy.admit(connection.clone(), stream)?;
        connection.id.set(Some(id));
        service.connections.borrow_mut().insert(id);
        Ok(())
    }

    /// Changes what is to be sent, which happens in the connection's next turn.
    fn change<R>(&self, exchange: u64, change: impl FnOnce(&mut State) -> R) -> Option<R> {
        let result = {
            let mut state = self.state.borrow_mut();
            let is_open = state.exchange == Some(exchange);
            is_open.then(|| change(&mut state))?
        };
        if let Some(id) = self.id.get() {
            self.service.proxy.wake(id);
        }
        Some(result)
    }

    /// Does what can be done now. True if there is more to do at once.
    fn serve(&self) -> Result<bool, Broken> {
        for _ in 0..STEPS {
            let next = {
                let state = &mut *self.state.borrow_mut();
                state.flush()?;
                if self.service.is_closed() && state.life == Life::Open {
                    state.close_service();
                    state.flush()?;
                }
                state.talk.go_on()
            };
            match next {
                Next::Request(request) => self.ask(request),
                Next::Nothing => {
                    let state = &mut *self.state.borrow_mut();
                    if !state.flush()? || !state.linger()? {
                        return Ok(false);
                    }
                }
                Next::Input | Next::Answer => {
                    let state = &mut *self.state.borrow_mut();
                    if !state.read()? {
                        // TLS may have had something to say.
                        state.flush()?;
                        return Ok(false);
                    }
                }
                Next::Output => {
                    let state = &mut *self.state.borrow_mut();
                    if !state.flush()? {
                        return Ok(false);
                    }
                }
            }
        }
        Ok(true)
    }

    /// Has a request answered.
    fn ask(&self, mut request: Request) {
        let judgement = self.service.options.access.judge(&request);
        let refused = match judgement {
            Judgement::Granted => None,
            Judgement::Unauthorized => {
                self.service.note_unauthorized(&request, &self.peer);
                let asks = ("WWW-Authenticate", "Basic realm=\"dpm\", charset=\"UTF-8\"");
                Some((Refusal::new(401, "authentication is needed"), vec![asks]))
            }
            Judgement::Misdirected => {
                let refusal = Refusal::new(421, "this listener has no such host name");
                Some((refusal, Vec::new()))
            }
        };
        if let Some((refusal, headers)) = refused {
            self.state.borrow_mut().talk.refuse(refusal, &headers);
            return;
        }
        request.peer = self.peer.ip;
        let number = self.service.new_exchange();
        {
            let mut state = self.state.borrow_mut();
            state.exchange = Some(number);
            // The time that it took to send the request is over.
            state.waiting = Waiting::Answer;
            state.deadline = None;
        }
        let exchange = Exchange {
            line: self.this.clone(),
            number,
        };
        self.service.handler.request(request, exchange);
    }

    /// It is over: the handler is told if it has not answered yet.
    fn end(&self) {
        let exchange = {
            let mut state = self.state.borrow_mut();
            state.life = Life::Ended;
            state.exchange.take()
        };
        if let Some(id) = self.id.take() {
            self.service.connections.borrow_mut().remove(&id);
        }
        if let Some(exchange) = exchange {
            self.service.handler.gone(exchange);
        }
    }
}

impl Line for Connection {
    fn is_open(&self, exchange: u64) -> bool {
        self.state.borrow().exchange == Some(exchange)
    }

    fn answer(&self, exchange: u64, response: &Response) -> bool {
        self.change(exchange, |state| {
            let answered = state.talk.answer(response);
            if answered {
                state.exchange = None;
            }
            answered
        })
        .unwrap_or_default()
    }

    fn start(&self, exchange: u64, head: &Head) -> bool {
        self.change(exchange, |state| {
            let started = state.talk.start(head);
            if started && !state.talk.is_streaming() {
                // Such an answer has no body.
                state.exchange = None;
            }
            started
        })
        .unwrap_or_default()
    }

    fn send(&self, exchange: u64, bytes: &[u8]) -> Sent {
        self.change(exchange, |state| state.talk.send(bytes))
            .unwrap_or(Sent::Gone)
    }

    fn finish(&self, exchange: u64) {
        self.change(exchange, |state| {
            if state.talk.is_streaming() {
                state.talk.finish();
                state.exchange = None;
            }
        });
    }

    fn pending(&self, exchange: u64) -> usize {
        let state = self.state.borrow();
        match state.exchange == Some(exchange) {
            true => state.talk.output().len(),
            false => 0,
        }
    }
}

impl Guest for Connection {
    fn turn(&self, readiness: Readiness) -> Turn {
        let now = Instant::now();
        let options = &self.service.options;
        {
            let mut state = self.state.borrow_mut();
            state.readable |= readiness.readable;
            state.writable |= readiness.writable;
            if state.deadline.is_some_and(|deadline| deadline <= now) {
                state.too_late();
            }
        }
        let more = self.serve();
        let state = &mut *self.state.borrow_mut();
        match more {
            Ok(true) if state.life != Life::Ended => Turn::Again,
            Ok(false) if state.life != Life::Ended => {
                state.expect(now, options);
                Turn::Wait(state.deadline)
            }
            _ => Turn::Over,
        }
    }

    fn ended(&self) {
        self.end();
    }
}

impl State {
    /// Writes what the socket takes. True if nothing is left.
    fn flush(&mut self) -> Result<bool, Broken> {
        while self.writable && !self.talk.output().is_empty() {
            match self.stream.write(self.talk.output()) {
                Ok(count) => {
                    self.talk.sent(count);
                    if self.waiting == Waiting::Output {
                        // It goes on: the deadline is for standing still.
                        self.deadline = None;
                    }
                }
                Err(error) if error.kind() == io::ErrorKind::WouldBlock => self.writable = false,
                Err(error) => return Err(error.into()),
            }
        }
        if self.writable && self.stream.wants_write() {
            match self.stream.flush() {
                Ok(()) => {}
                Err(error) if error.kind() == io::ErrorKind::WouldBlock => self.writable = false,
                Err(error) => return Err(error.into()),
            }
        }
        Ok(self.talk.output().is_empty() && !self.stream.wants_write())
    }

    /// Reads what there is room for. True if there was anything, and may be more.
    fn read(&mut self) -> Result<bool, Broken> {
        let mut buffer = [0; READ];
        let room = self.talk.room().min(buffer.len());
        let buffer = buffer.get_mut(..room).unwrap_or_default();
        if buffer.is_empty() {
            return Ok(false);
        }
        if self.ended {
            return self.heard_all();
        }
        if !self.readable {
            return Ok(false);
        }
        match self.stream.read(buffer) {
            Ok(0) => {
                self.ended = true;
                self.heard_all()
            }
            Ok(count) => {
                self.talk.received(buffer.get(..count).unwrap_or_default());
                Ok(true)
            }
            Err(error) if error.kind() == io::ErrorKind::WouldBlock => {
                self.readable = false;
                Ok(false)
            }
            // TLS: there may be more.
            Err(error) if error.kind() == io::ErrorKind::Interrupted => Ok(true),
            Err(error) => Err(error.into()),
        }
    }

    /// The client has sent all that it ever will. Whoever waits for a whole answer may have closed only one direction;
    /// who was reading a stream has left.
    fn heard_all(&mut self) -> Result<bool, Broken> {
        if self.talk.is_streaming() {
            return Err(Broken);
        }
        self.talk.end_after_answer();
        Ok(self.exchange.is_none())
    }

    /// All is said and sent: closes this direction, and reads on for a moment. True while there is more to read.
    fn linger(&mut self) -> Result<bool, Broken> {
        let discarded = match self.life {
            Life::Open => {
                self.stream.finish();
                self.flush()?;
                self.stream.shutdown_write()?;
                0
            }
            Life::Lingering(discarded) => discarded,
            Life::Ended => return Err(Broken),
        };
        self.life = Life::Lingering(discarded);
        if !self.readable {
            return Ok(false);
        }
        let mut buffer = [0; READ];
        match self.stream.read(&mut buffer) {
            Ok(count) if count > 0 && discarded < MOST_DISCARDED => {
                self.life = Life::Lingering(discarded + count);
                Ok(true)
            }
            Err(error) if error.kind() == io::ErrorKind::WouldBlock => {
                self.readable = false;
                Ok(false)
            }
            Err(error) if error.kind() == io::ErrorKind::Interrupted => Ok(true),
            _ => Err(Broken),
        }
    }

    /// The listener has been closed.
    fn close_service(&mut self) {
        if self.talk.is_streaming() {
            self.talk.finish();
            self.exchange = None;
        }
        self.talk.end_after_answer();
    }

    /// What it waits for has not come in time.
    fn too_late(&mut self) {
        self.deadline = None;
        match self.waiting {
            Waiting::Request if self.talk.is_receiving() => {
                let refusal = Refusal::new(408, "the request took too long");
                self.talk.refuse(refusal, &[]);
            }
            Waiting::Answer => {
                // (The handler is told that it is gone.)
                let refusal = Refusal::new(503, "the answer took too long");
                self.talk.refuse(refusal, &[]);
            }
            Waiting::Stream => {}
            Waiting::Request | Waiting::Idle => self.talk.end_after_answer(),
            Waiting::Output | Waiting::Linger => self.life = Life::Ended,
        }
    }

    /// Notes what it waits for from now on, and until when.
    fn expect(&mut self, now: Instant, options: &HttpOptions) {
        let waiting = match () {
            () if self.life != Life::Open => Waiting::Linger,
            () if !self.talk.output().is_empty() => Waiting::Output,
            () if self.talk.is_streaming() => Waiting::Stream,
            () if self.exchange.is_some() => Waiting::Answer,
            () if self.talk.is_receiving() => Waiting::Request,
            // Until its first request a connection does not wait for another one.
            () if self.waiting == Waiting::Request && self.deadline.is_some() => Waiting::Request,
            () => Waiting::Idle,
        };
        if waiting == self.waiting && self.deadline.is_some() {
            return;
        }
        self.waiting = waiting;
        let patience = match waiting {
            Waiting::Stream => None,
            Waiting::Request => Some(options.request_timeout),
            Waiting::Idle => Some(options.idle_timeout),
            Waiting::Answer | Waiting::Output => Some(options.answer_timeout),
            Waiting::Linger => Some(LINGER),
        };
        self.deadline = patience.map(|patience| now + patience);
    }
}
