//! A server that lets everybody in and answers `SELECT x` with x, for thousands at once.

use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use mio::net::TcpListener;
use mio::{Events, Interest, Poll, Token};
use socket2::{Domain, Socket, Type};

use crate::peer::Peer;
use crate::support::Over;
use crate::support::wire::{caps, column, com, eof, greeting, ok, pack_row};

const LISTENER: Token = Token(usize::MAX);

/// It runs until it is dropped.
pub struct Echo {
    /// Where it listens.
    pub port: u16,
    over: Arc<Over>,
}

impl Echo {
    pub fn start() -> Echo {
        let mut listener = listen().expect("a port");
        let port = listener.local_addr().expect("an address").port();
        let over = Arc::new(Over::default());
        let ends = Arc::clone(&over);
        std::thread::spawn(move || serve(&mut listener, &ends));
        Echo { port, over }
    }
}

/// Listens with a queue as long as the system allows: from a full one, connections are lost without
/// either end being told.
fn listen() -> std::io::Result<TcpListener> {
    let socket = Socket::new(Domain::IPV4, Type::STREAM, None)?;
    socket.bind(&SocketAddr::from(([127, 0, 0, 1], 0)).into())?;
    socket.listen(i32::MAX)?;
    socket.set_nonblocking(true)?;
    Ok(TcpListener::from_std(socket.into()))
}

impl Drop for Echo {
    fn drop(&mut self) {
        self.over.declare();
    }
}

struct Client {
    peer: Peer,
    is_in: bool,
}

fn serve(listener: &mut TcpListener, over: &Over) {
    let mut poll = Poll::new().expect("a poll");
    let mut events = Events::with_capacity(1024);
    let registry = poll.registry().try_clone().expect("a registry");
    let both = Interest::READABLE | Interest::WRITABLE;
    registry
        .register(listener, LISTENER, Interest::READABLE)
        .expect("registered");
    let mut clients: Vec<Option<Client>> = Vec::new();
    let mut free: Vec<usize> = Vec::new();
    while !over.is() {
        poll.poll(&mut events, Some(Duration::from_millis(200)))
            .expect("events");
        for event in &events {
            if event.token() == LISTENER {
                while let Ok((socket, _)) = listener.accept() {
                    let mut peer = Peer::new(socket);
                    let at = free.pop().unwrap_or_else(|| {
                        clients.push(None);
                        clients.len() - 1
                    });
                    registry
                        .register(&mut peer.socket, Token(at), both)
                        .expect("registered");
                    peer.say(
                        0,
                        &greeting(caps::BASE | caps::MULTI | caps::CONNECT_WITH_DB),
                    );
                    peer.send();
                    clients[at] = Some(Client { peer, is_in: false });
                }
                continue;
            }
            let Some(client) = &mut clients[event.token().0] else {
                continue;
            };
            let mut stays = client.peer.receive();
            while let Some((seq, packet)) = client.peer.packet() {
                match packet == [com::QUIT] {
                    true => stays = false,
                    false => client.answer(seq, &packet),
                }
            }
            client.peer.send();
            if !stays {
                clients[event.token().0] = None;
                free.push(event.token().0);
            }
        }
    }
}

impl Client {
    fn answer(&mut self, seq: u8, packet: &[u8]) {
        if !std::mem::replace(&mut self.is_in, true) {
            self.peer.say(seq.wrapping_add(1), &ok());
            return;
        }
        match packet.strip_prefix(b"\x03SELECT ") {
            Some(said) => {
                let answer = [
                    &[1][..],
                    &column("said"),
                    &eof(2),
                    &pack_row(&[Some(said)]),
                    &eof(2),
                ];
                for (seq, packet) in (1..).zip(answer) {
                    self.peer.say(seq, packet);
                }
            }
            None => self.peer.say(1, &ok()),
        }
    }
}
