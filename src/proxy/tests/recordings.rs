//! Recorded sessions, replayed in process with the stream cut at every byte: wherever it is cut,
//! the same events fire with the same packets, and the same bytes are forwarded.
//!
//! The recordings in `tests/sessions` are of real clients and servers. Each line has the sender (C
//! or S) and the bytes, in hexadecimal.

use std::cell::RefCell;
use std::rc::Rc;

use crate::proxy::id::ConnId;
use crate::proxy::in_process::{feed, linked_pair, output};
use crate::proxy::info::{ConnInfo, ConnKind};
use crate::proxy::{Hooks, Incoming, Proxy, Verdict};
use crate::session::{Event, EventSet};

pub(crate) const RECORDINGS: [(&str, &str); 7] = [
    (
        "mariadb, connector/python",
        include_str!("../../../tests/sessions/mariadb-connector-python.txt"),
    ),
    (
        "mariadb, PyMySQL",
        include_str!("../../../tests/sessions/mariadb-pymysql.txt"),
    ),
    (
        "mysql, connector/python",
        include_str!("../../../tests/sessions/mysql-connector-python.txt"),
    ),
    (
        "mysql, its own client with RSA",
        include_str!("../../../tests/sessions/mysql-cli-rsa.txt"),
    ),
    (
        "mysql, connector/python with query attributes",
        include_str!("../../../tests/sessions/mysql-query-attributes.txt"),
    ),
    (
        "mariadb, its own client with progress reports",
        include_str!("../../../tests/sessions/mariadb-cli-progress.txt"),
    ),
    (
        "mariadb, connector/J with a bulk execute",
        include_str!("../../../tests/sessions/mariadb-java-bulk.txt"),
    ),
];

/// What fired, and with which payload.
type Log = Vec<(bool, Event, Vec<u8>)>;

#[derive(Default)]
struct Recorder(RefCell<Log>);

impl Hooks for Recorder {
    fn accepted(&self, _: &Rc<ConnInfo>, _: &Rc<ConnInfo>) -> Verdict {
        Verdict::Forward
    }
    fn event(&self, conn: &Rc<ConnInfo>, event: Event, packet: Option<Incoming<'_>>) -> Verdict {
        let payload = packet.map_or_else(Vec::new, |packet| packet.payload.to_vec());
        let is_client = conn.kind == ConnKind::Client;
        self.0.borrow_mut().push((is_client, event, payload));
        Verdict::Forward
    }
    fn closing(&self, conn: &Rc<ConnInfo>, _: bool) {
        let reason = conn.reason();
        let quit = ["the client quit", "its client is gone"].contains(&reason.as_str());
        assert!(quit, "connection {} closes: {reason}", conn.id.serial());
    }
}

/// A linked pair without sockets: what is forwarded stays in the queues.
struct Pair {
    proxy: Proxy,
    client: ConnId,
    server: ConnId,
    recorder: Rc<Recorder>,
}

impl Pair {
    fn new(armed: EventSet) -> Pair {
        let proxy = Proxy::new().expect("a poller");
        let recorder = Rc::new(Recorder::default());
        proxy.set_hooks(recorder.clone());
        let (client, server) = linked_pair(&proxy, armed);
        Pair {
            proxy,
            client,
            server,
            recorder,
        }
    }

    fn feed(&self, id: ConnId, bytes: &[u8]) {
        feed(&self.proxy, id, bytes);
    }

    fn output(&self, id: ConnId) -> Vec<u8> {
        output(&self.proxy, id)
    }
}

/// The sender (whether it is the client) and the bytes, in order.
pub(crate) type Turns = Vec<(bool, Vec<u8>)>;

/// Reads a recording.
pub(crate) fn turns(recording: &str) -> Turns {
    let byte = |pair: &[u8]| {
        let text = std::str::from_utf8(pair).expect("hexadecimal");
        u8::from_str_radix(text, 16).expect("hexadecimal")
    };
    recording
        .lines()
        .map(|line| {
            let (who, hex) = line.split_once(' ').expect("who and what");
            (who == "C", hex.as_bytes().chunks(2).map(byte).collect())
        })
        .collect()
}

/// Replays the turns with one more cut, after this many bytes of the whole.
fn replay(turns: &[(bool, Vec<u8>)], cut: usize, armed: EventSet) -> (Log, Vec<u8>, Vec<u8>) {
    let pair = Pair::new(armed);
    let mut before = 0;
    for (from_client, bytes) in turns {
        let id = if *from_client {
            pair.client
        } else {
            pair.server
        };
        let at = cut.saturating_sub(before).min(bytes.len());
        for part in [&bytes[..at], &bytes[at..]] {
            if !part.is_empty() {
                pair.feed(id, part);
                // A client that had to wait may be processed now.
                pair.feed(pair.client, &[]);
            }
        }
        before += bytes.len();
    }
    let log = pair.recorder.0.take();
    (log, pair.output(pair.client), pair.output(pair.server))
}

/// All bytes of one end.
pub(crate) fn said(turns: &[(bool, Vec<u8>)], by_client: bool) -> Vec<u8> {
    turns
        .iter()
        .filter(|(from_client, _)| *from_client == by_client)
        .flat_map(|(_, bytes)| bytes.iter().copied())
        .collect()
}

#[test]
fn any_cut_gives_the_same_events_and_bytes() {
    for (name, recording) in RECORDINGS {
        let turns = turns(recording);
        let total: usize = turns.iter().map(|(_, bytes)| bytes.len()).sum();
        assert!((1000..=16 << 10).contains(&total), "{name}: {total} bytes");
        for armed in [EventSet(!0), EventSet::NONE] {
            let whole = replay(&turns, 0, armed);
            // With or without hooks the forwarded bytes are the received ones.
            assert!(whole.1 == said(&turns, false), "{name}: to the client");
            // (MySQL's client asks for query attributes although they were not offered.)
            let mut client_said = said(&turns, true);
            client_said[4..8].copy_from_slice(&whole.2[4..8]);
            assert!(whole.2 == client_said, "{name}: to the server");
            for cut in 1..total {
                let cut_up = replay(&turns, cut, armed);
                assert!(cut_up.0 == whole.0, "{name}: events, cut at {cut}");
                assert!(cut_up.1 == whole.1, "{name}: to the client, cut at {cut}");
                assert!(cut_up.2 == whole.2, "{name}: to the server, cut at {cut}");
            }
        }
    }
}

#[test]
fn a_recording_fires_what_the_contract_says() {
    let turns = turns(RECORDINGS[0].1);
    let (log, _, _) = replay(&turns, 0, EventSet(!0));
    let count = |wanted: Event| log.iter().filter(|(_, event, _)| *event == wanted).count();
    assert_eq!(count(Event::ServerWaitAuth), 1);
    assert_eq!(count(Event::ClientWaitAuth), 1);
    assert_eq!(count(Event::ServerSentInfile), 1);
    assert_eq!(count(Event::ClientSentData), 1);
    assert_eq!(count(Event::ServerPrepared), 2);
    assert_eq!(count(Event::ServerSendingStats), 1);
    assert!(count(Event::ServerReceivedError) >= 1);
    // The columns of every resultset end exactly once, with or without an EOF on the wire, and so
    // do those of prepared statements.
    let results = count(Event::ServerSentResultset);
    assert!(count(Event::ServerSentFields) >= results && results > 0);
}

#[test]
fn recordings_have_what_newer_peers_agree_on() {
    let fires = |wanted: &str, event: Event| {
        let (_, recording) = RECORDINGS
            .iter()
            .find(|(name, _)| name.contains(wanted))
            .expect("a recording");
        let (log, _, _) = replay(&turns(recording), 0, EventSet(!0));
        let payloads = log
            .into_iter()
            .filter(move |(_, fired, _)| *fired == event)
            .map(|(_, _, payload)| payload);
        payloads.collect::<Vec<_>>()
    };
    let attributes = fires("query attributes", Event::ClientSentCommand);
    assert!(
        attributes
            .iter()
            .any(|payload| payload.starts_with(b"\x03\x02\x01"))
    );
    assert!(!fires("progress", Event::ServerSendingProgress).is_empty());
    let bulk = fires("bulk", Event::ClientSentCommand);
    assert!(bulk.iter().any(|payload| payload.first() == Some(&0xFA)));
}
