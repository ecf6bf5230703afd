//! Thousands of clients in one thread.

use std::collections::{BTreeMap, HashSet, VecDeque};
use std::time::{Duration, Instant};

use mio::net::TcpStream;
use mio::{Events, Interest, Poll, Token};

use crate::peer::Peer;
use crate::support::wire::{Greeting, auth_packet, caps, text_row};
use crate::support::{PASSWORD, USER};
use crate::tls;

/// How long nothing at all may happen before the test fails.
const PATIENCE: Duration = Duration::from_secs(60);

/// All the clients of a test. They leave when dropped.
pub struct Crowd {
    port: u16,
    tls: bool,
    /// The name that the client with this number logs in with.
    user: fn(usize) -> String,
    poll: Poll,
    events: Events,
    clients: Vec<Client>,
}

struct Client {
    peer: Peer,
    state: State,
    /// What the answer consists of so far.
    rows: Vec<String>,
    since: Instant,
}

#[derive(Clone, PartialEq, Eq)]
enum State {
    /// Waits for the greeting.
    Outside,
    /// Has sent its password.
    AtTheDoor,
    Idle,
    /// Has asked, and waits for the first packet of the answer.
    Asked,
    /// Waits for the EOF behind the columns.
    Columns,
    /// Waits for the EOF behind the rows.
    Rows,
    /// Was refused, or has lost its connection.
    Gone(String),
}

/// How long something took for all, and for the one for whom it took longest.
pub struct Took {
    pub all: Duration,
    pub longest: Duration,
}

impl Crowd {
    pub fn new(port: u16, tls: bool) -> Crowd {
        Crowd {
            port,
            tls,
            user: |_| USER.to_owned(),
            poll: Poll::new().expect("a poll"),
            events: Events::with_capacity(1024),
            clients: Vec::new(),
        }
    }

    /// Each client has a name of its own; the password is the usual one.
    pub fn with_names(port: u16, user: fn(usize) -> String) -> Crowd {
        Crowd {
            user,
            ..Crowd::new(port, false)
        }
    }

    pub fn len(&self) -> usize {
        self.clients.len()
    }

    /// So many more log in, so many at a time. All of them must be let in.
    #[track_caller]
    pub fn log_in(&mut self, count: usize, at_once: usize) -> Took {
        let took = self.knock(count, at_once);
        let outcomes = self.outcomes();
        assert!(outcomes.is_empty(), "who was not let in: {outcomes:?}");
        took
    }

    /// The same for those who may be refused.
    #[track_caller]
    pub fn knock(&mut self, count: usize, at_once: usize) -> Took {
        let first = self.clients.len();
        let address = ([127, 0, 0, 1], self.port).into();
        self.run(count, at_once, |crowd, nth| {
            let mut peer = Peer::new(TcpStream::connect(address).expect("a socket"));
            let both = Interest::READABLE | Interest::WRITABLE;
            crowd
                .poll
                .registry()
                .register(&mut peer.socket, Token(first + nth), both)
                .expect("registered");
            crowd.clients.push(Client {
                peer,
                state: State::Outside,
                rows: Vec::new(),
                since: Instant::now(),
            });
            first + nth
        })
    }

    /// Why clients are gone, and how many for each reason.
    pub fn outcomes(&self) -> BTreeMap<&str, usize> {
        let mut outcomes = BTreeMap::new();
        for client in &self.clients {
            if let State::Gone(why) = &client.state {
                *outcomes.entry(&**why).or_default() += 1;
            }
        }
        outcomes
    }

    /// Whether this one is there and has nothing to wait for.
    pub fn is_idle(&self, at: usize) -> bool {
        self.clients[at].state == State::Idle
    }

    /// Each client that is there asks its own question, so many at a time, and must be given its own
    /// answer: rows as lines, or "OK".
    #[track_caller]
    pub fn ask(
        &mut self,
        at_once: usize,
        question: impl Fn(usize) -> String,
        answer: impl Fn(usize) -> String,
    ) -> Took {
        let askers: Vec<usize> = (0..self.len()).filter(|&at| self.is_idle(at)).collect();
        let took = self.run(askers.len(), at_once, |crowd, nth| {
            crowd.clients[askers[nth]].ask(&question(askers[nth]));
            askers[nth]
        });
        for at in askers {
            let client = &mut self.clients[at];
            let got = match &client.state {
                State::Idle => std::mem::take(&mut client.rows).join("\n"),
                State::Gone(why) => why.clone(),
                _ => unreachable!("it has been waited for"),
            };
            assert_eq!(got, answer(at), "client {at}, who asked {:?}", question(at));
        }
        took
    }

    /// All leave at once.
    pub fn leave(&mut self) {
        self.clients.clear();
    }

    /// Starts `count` things, no more than `at_once` at a time, each of a client, whose number `start` gives,
    /// and waits until all of these clients have what they wanted, or are gone.
    #[track_caller]
    fn run(
        &mut self,
        count: usize,
        at_once: usize,
        mut start: impl FnMut(&mut Crowd, usize) -> usize,
    ) -> Took {
        let begun = Instant::now();
        let (mut started, mut longest, mut moved) = (0, Duration::ZERO, begun);
        let mut waiting = HashSet::new();
        let mut ready = VecDeque::new();
        while started < count || !waiting.is_empty() {
            while started < count && waiting.len() < at_once {
                let at = start(self, started);
                waiting.insert(at);
                started += 1;
            }
            self.poll
                .poll(&mut self.events, Some(Duration::from_millis(100)))
                .expect("events");
            ready.extend(self.events.iter().map(|event| event.token().0));
            if !ready.is_empty() {
                moved = Instant::now();
            }
            for at in ready.drain(..) {
                // Some may have left since.
                let Some(client) = self.clients.get_mut(at) else {
                    continue;
                };
                client.go_on(self.tls, || (self.user)(at));
                let over = matches!(client.state, State::Idle | State::Gone(_));
                if over && waiting.remove(&at) {
                    longest = longest.max(client.since.elapsed());
                }
            }
            assert!(
                moved.elapsed() < PATIENCE,
                "{} of {count} wait for ever; gone are {:?}",
                waiting.len(),
                self.outcomes()
            );
        }
        Took {
            all: begun.elapsed(),
            longest,
        }
    }
}

impl Client {
    fn ask(&mut self, question: &str) {
        self.state = State::Asked;
        self.since = Instant::now();
        self.rows.clear();
        self.peer.say(0, &[b"\x03", question.as_bytes()].concat());
        self.peer.send();
    }

    /// Takes what has come, and says what there is to say.
    fn go_on(&mut self, tls: bool, user: impl Fn() -> String) {
        let stays = self.peer.receive();
        while let Some((seq, packet)) = self.peer.packet() {
            self.take(seq, &packet, tls, &user);
        }
        self.peer.send();
        if !stays && !matches!(self.state, State::Gone(_)) {
            self.state = State::Gone("closed".to_owned());
        }
    }

    fn take(&mut self, seq: u8, packet: &[u8], tls: bool, user: impl Fn() -> String) {
        let is_end = packet.first() == Some(&0xFE) && packet.len() < 9;
        match (&self.state, packet) {
            (State::Gone(_), _) => {}
            (State::Outside, [0xFF, ..]) | (State::AtTheDoor, [0xFF, ..]) => {
                self.state = State::Gone(error_text(packet));
            }
            (State::Outside, _) => self.log_in(&Greeting::parse(packet), tls, &user()),
            (State::AtTheDoor, [0, ..]) => self.state = State::Idle,
            (State::Asked, [0, ..]) => {
                self.rows.push("OK".to_owned());
                self.state = State::Idle;
            }
            (State::Asked | State::Columns | State::Rows, [0xFF, ..]) => {
                self.rows.push(error_text(packet));
                self.state = State::Idle;
            }
            (State::Asked, _) => self.state = State::Columns,
            (State::Columns, _) if is_end => self.state = State::Rows,
            (State::Columns, _) => {}
            (State::Rows, _) if is_end => self.state = State::Idle,
            (State::Rows, _) => {
                let values = text_row(packet)
                    .into_iter()
                    .map(|value| String::from_utf8_lossy(&value.unwrap_or_default()).into_owned());
                self.rows.push(values.collect::<Vec<_>>().join("\t"));
            }
            (State::AtTheDoor | State::Idle, _) => {
                self.state = State::Gone(format!("unexpected: {seq} {}", packet.escape_ascii()));
            }
        }
    }

    fn log_in(&mut self, greeting: &Greeting, tls: bool, user: &str) {
        let mut capabilities = caps::BASE | caps::MULTI;
        let mut seq = 1;
        if tls {
            capabilities |= caps::SSL;
            let request = auth_packet(&greeting.nonce, user, "", capabilities);
            self.peer.say(1, &request[..32]);
            self.peer.send();
            self.peer
                .begin_tls(tls::connection().expect("TLS can be had"));
            seq = 2;
        }
        let mut auth = auth_packet(&greeting.nonce, user, PASSWORD, capabilities);
        auth.extend_from_slice(b"mysql_native_password\0");
        self.peer.say(seq, &auth);
        self.state = State::AtTheDoor;
    }
}

/// "1040 08004 Too many connections"
fn error_text(packet: &[u8]) -> String {
    let number = packet
        .get(1..3)
        .map_or(0, |n| u16::from_le_bytes([n[0], n[1]]));
    match packet.get(3..) {
        Some([b'#', rest @ ..]) if rest.len() >= 5 => {
            let (state, message) = rest.split_at(5);
            format!(
                "{number} {} {}",
                state.escape_ascii(),
                String::from_utf8_lossy(message)
            )
        }
        Some(message) => format!("{number} {}", String::from_utf8_lossy(message)),
        None => format!("{number}"),
    }
}
