//! A panic ends the connection that it is about, and the loop goes on.

use std::cell::Cell;
use std::io::{Read, Write};
use std::net::TcpStream;
use std::rc::Rc;
use std::time::Duration;

use crate::proxy::{ConnInfo, ConnKind, Hooks, Incoming, Observer, Options, Packet, Proxy};
use crate::proxy::{Shown, Verdict};
use crate::session::{Event, EventSet};
use crate::wire::{Auth, Handshake};

/// Greets clients.
struct Greeter {
    proxy: Proxy,
    accepted: Cell<u32>,
}

impl Hooks for Greeter {
    fn accepted(&self, _: &Rc<ConnInfo>, client: &Rc<ConnInfo>) -> Verdict {
        self.accepted.set(self.accepted.get() + 1);
        assert!(self.accepted.get() != 2, "a bug with the second client");
        let greeting = Handshake::default();
        self.proxy
            .send(client.id, Packet::Handshake(&greeting))
            .unwrap();
        Verdict::Forward
    }

    fn closing(&self, conn: &Rc<ConnInfo>, _: bool) {
        assert!(conn.state.get().is_none(), "a bug with each that closes");
    }

    fn timer(&self, key: u64) {
        assert!(key != 1, "a bug with a timer");
        self.proxy.exit(0);
    }
}

/// Has a bug that logins make visible.
struct Buggy;

impl Observer for Buggy {
    fn wants(&self, _: &Proxy, conn: &Rc<ConnInfo>) -> EventSet {
        match conn.kind {
            ConnKind::Client => Event::ClientWaiting.set(),
            _ => EventSet::NONE,
        }
    }

    fn event(&self, proxy: &Proxy, shown: Shown<'_>) -> Verdict {
        let payload = shown
            .packet
            .map_or(&[][..], |packet: Incoming<'_>| packet.payload);
        let user = Auth::decode(payload).unwrap().user;
        assert!(user != b"bug", "a bug with this user");
        if user == b"end" {
            proxy.schedule(Duration::from_millis(1), 1);
            proxy.schedule(Duration::from_millis(20), 2);
        }
        Verdict::Hold
    }
}

fn read(stream: &mut TcpStream) -> usize {
    stream.read(&mut [0; 1000]).unwrap_or(0)
}

fn log_in(stream: &mut TcpStream, user: &[u8]) {
    let auth = Auth {
        user: user.to_vec(),
        ..Auth::default()
    };
    let mut payload = Vec::new();
    auth.encode(&mut payload);
    let mut bytes = vec![payload.len() as u8, 0, 0, 1];
    bytes.extend_from_slice(&payload);
    stream.write_all(&bytes).unwrap();
}

#[test]
fn the_others_go_on() {
    let proxy = Proxy::new().unwrap();
    let greeter = Rc::new(Greeter {
        proxy: proxy.clone(),
        accepted: Cell::new(0),
    });
    proxy.set_hooks(greeter);
    proxy.observe(Rc::new(Buggy));
    let listener = proxy
        .listen_tcp(Some("127.0.0.1"), 0, Options::default())
        .unwrap();
    let address = ("127.0.0.1", listener.port.get());
    let clients = std::thread::spawn(move || {
        let connect = || {
            let stream = TcpStream::connect(address).unwrap();
            stream
                .set_read_timeout(Some(Duration::from_secs(20)))
                .unwrap();
            stream
        };
        let mut first = connect();
        assert!(read(&mut first) > 4);
        // Its accepting fails.
        assert_eq!(read(&mut connect()), 0);
        // Its packet fails.
        let mut third = connect();
        assert!(read(&mut third) > 4);
        log_in(&mut third, b"bug");
        assert_eq!(read(&mut third), 0);
        // The first, the listener and timers are as they were.
        assert!(read(&mut connect()) > 4);
        log_in(&mut first, b"end");
        assert_eq!(read(&mut first), 0, "it ends with the proxy");
    });
    assert_eq!(proxy.run().unwrap(), 0);
    let panics = proxy.stats().panics;
    // And whatever closed has panicked once more.
    assert!(panics >= 5, "{panics}");
    assert_eq!(proxy.stats().clients, 0);
    drop(proxy);
    clients.join().unwrap();
}
