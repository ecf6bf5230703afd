//! A client and a server at the ends of a proxy, which negotiated differently with it. Each knows the
//! protocol, and what it has said and heard: what the proxy sends them must make sense to them.

use bytes::BytesMut;
use dpm::proxy::in_process::{feed, output, pair};
use dpm::proxy::{ConnId, Packet, Proxy};
use dpm::session::{ClientSession, EventSet, Head, PacketKind, ServerSession};
use dpm::wire::frame::{self, HEADER, Header};
use dpm::wire::{Auth, Capabilities, Com, Handshake, Ok};

use crate::input::{From, Sent};

/// One end of the proxy.
struct End {
    id: ConnId,
    /// How much of what was sent to it has been looked at.
    read: usize,
}

impl End {
    /// The payloads of the packets that the proxy has sent to it since.
    fn heard(&mut self, proxy: &Proxy) -> Vec<Vec<u8>> {
        let bytes = output(proxy, self.id);
        let mut payloads = Vec::new();
        while let Some(header) = Header::parse(&bytes[self.read..]) {
            let from = self.read + HEADER;
            let payload = bytes.get(from..from + header.len);
            payloads.push(payload.expect("whole packets only").to_vec());
            self.read = from + header.len;
        }
        assert_eq!(self.read, bytes.len(), "whole packets only");
        payloads
    }

    fn says(&self, proxy: &Proxy, seq: u8, payload: &[u8]) {
        let mut frames = BytesMut::new();
        frame::write(payload, &mut { seq }, &mut frames);
        feed(proxy, self.id, &frames);
    }
}

/// Both of them.
pub struct FarEnds {
    proxy: Proxy,
    client: End,
    server: End,
    /// What the client knows: a session with a server.
    of_client: ServerSession,
    /// What the server knows: a session with a client.
    of_server: ClientSession,
}

/// Whether a client would say this now. Of what has no name nobody knows the answer; and a client does not
/// send commands behind one whose answer it has to answer, or may.
fn is_command(known: &ServerSession, head: Head<'_>) -> bool {
    let alone = |com| {
        matches!(
            com,
            Com::CHANGE_USER | Com::BINLOG_DUMP | Com::BINLOG_DUMP_GTID
        )
    };
    let Some(com) = head.first().map(Com) else {
        return false;
    };
    com.is_known()
        && (known.idle() || !alone(com))
        && !known.response().is_some_and(|r| alone(r.com()))
}

fn encoded(encode: impl FnOnce(&mut Vec<u8>)) -> Vec<u8> {
    let mut payload = Vec::new();
    encode(&mut payload);
    payload
}

impl FarEnds {
    /// Logs both in, with these capabilities, and links them. `None`: these two cannot be linked.
    pub fn new(
        of_client: Capabilities,
        of_server: Capabilities,
        armed: EventSet,
    ) -> Option<FarEnds> {
        // Those without which nobody logs in, and none that need a socket.
        let always = Capabilities::PROTOCOL_41 | Capabilities::SECURE_CONNECTION;
        let never = Capabilities::SSL | Capabilities::COMPRESS | Capabilities::ZSTD_COMPRESSION;
        let [of_client, of_server] =
            [of_client, of_server].map(|capabilities| (capabilities | always) - never);
        let proxy = Proxy::new().expect("a poller");
        let (client, server) = pair(&proxy);
        let mut ends = FarEnds {
            proxy,
            client: End {
                id: client,
                read: 0,
            },
            server: End {
                id: server,
                read: 0,
            },
            of_client: ServerSession::default(),
            of_server: ClientSession::default(),
        };
        ends.log_client_in(of_client);
        ends.log_server_in(of_server);
        ends.proxy.link(client, server).ok()?;
        ends.proxy.arm(client, armed);
        ends.proxy.arm(server, armed);
        Some(ends)
    }

    fn log_client_in(&mut self, capabilities: Capabilities) {
        let greeting = Handshake {
            capabilities,
            ..Handshake::default()
        };
        let sent = self
            .proxy
            .send(self.client.id, Packet::Handshake(&greeting));
        sent.expect("a client takes its greeting");
        self.client_hears();
        let auth = Auth {
            capabilities,
            ..Auth::default()
        };
        self.of_client
            .send_auth(capabilities)
            .expect("after the greeting");
        self.client
            .says(&self.proxy, 1, &encoded(|out| auth.encode(out)));
        let sent = self.proxy.send(self.client.id, Packet::Ok(&Ok::default()));
        sent.expect("a client takes the answer");
        self.client_hears();
        assert!(self.of_client.authenticated());
    }

    fn log_server_in(&mut self, capabilities: Capabilities) {
        let greeting = Handshake {
            capabilities,
            ..Handshake::default()
        };
        let greeted = self.of_server.send_handshake(capabilities);
        greeted.expect("it begins so");
        self.server
            .says(&self.proxy, 0, &encoded(|out| greeting.encode(out)));
        let auth = Auth {
            capabilities,
            ..Auth::default()
        };
        let sent = self.proxy.send(self.server.id, Packet::Auth(&auth));
        sent.expect("a server takes an auth packet");
        self.server_hears();
        let ok = encoded(|out| Ok::default().encode(capabilities, out));
        let told = self.of_server.send(Head::of(&ok), None);
        assert!(told.expect("the answer to the login").done);
        self.of_server.finish_exchange();
        self.server.says(&self.proxy, 2, &ok);
    }

    /// The client understands what it is sent.
    fn client_hears(&mut self) {
        for payload in self.client.heard(&self.proxy) {
            let step = self.of_client.receive(Head::of(&payload));
            let step = step.unwrap_or_else(|broken| panic!("the client: {broken}: {payload:?}"));
            if step.kind == PacketKind::Handshake {
                let greeting = Handshake::decode(&payload).expect("a greeting");
                let offered = greeting.capabilities;
                self.of_client.set_offered(offered, offered);
            }
        }
    }

    /// The server understands what it is sent.
    fn server_hears(&mut self) {
        for payload in self.server.heard(&self.proxy) {
            let step = self.of_server.receive(Head::of(&payload));
            let step = step.unwrap_or_else(|broken| panic!("the server: {broken}: {payload:?}"));
            if step.kind == PacketKind::Auth {
                let auth = Auth::decode(&payload).expect("an auth packet");
                self.of_server.negotiate(auth.capabilities);
            }
        }
    }

    /// Whether both connections are open.
    pub fn open(&self) -> bool {
        let open = |end: &End| self.proxy.info(end.id).is_some();
        open(&self.client) && open(&self.server)
    }

    /// One of them says something, unless it makes no sense at this point.
    pub fn say(&mut self, sent: &Sent<'_>) {
        let head = Head::of(sent.payload);
        match sent.from {
            From::Client => {
                let known = &mut self.of_client;
                let waits_for_data = known
                    .response()
                    .is_some_and(|r| r.wants_file() || r.is_binlog());
                let allowed = if known.response().is_some_and(|r| r.wants_auth()) {
                    known.send_auth_data()
                } else if waits_for_data {
                    known.send_data(head.len == 0)
                } else if is_command(known, head) {
                    known.send_command(head)
                } else {
                    return;
                };
                if allowed.is_ok() {
                    let seq = match waits_for_data {
                        true => known.seq,
                        false => 0,
                    };
                    self.client.says(&self.proxy, seq, sent.payload);
                }
            }
            From::Server => {
                // An ERR of this number is a progress report to clients that know those. No server has an
                // error of this number.
                let is_progress = sent.payload.starts_with(&[0xFF; 3]);
                // A client that may be asked for a file does not send the next command before.
                let response = self.of_server.response();
                let asks_for_file = head.first() == Some(0xFB)
                    && response.is_some_and(|r| r.expects().contains("a file request"));
                if is_progress || asks_for_file && self.of_client.outstanding() > 1 {
                    return;
                }
                let Ok(told) = self.of_server.send(head, None) else {
                    return;
                };
                if told.done {
                    self.of_server.finish_exchange();
                }
                self.server.says(&self.proxy, sent.seq, sent.payload);
            }
        }
        // A client that had to wait is read again.
        feed(&self.proxy, self.client.id, &[]);
        if self.open() {
            self.client_hears();
            self.server_hears();
        }
    }

    /// Once the server has answered all, the client has all answers.
    pub fn nobody_waits(&self) {
        if self.open() && self.of_server.idle() {
            assert!(
                self.of_client.idle(),
                "{} answers are missing, the first to {:?}",
                self.of_client.outstanding(),
                self.of_client.response()
            );
        }
    }
}
