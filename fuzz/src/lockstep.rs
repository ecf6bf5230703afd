//! A session that is passed on: a client's leg and a server's leg, which are stepped by the same packets.
//!
//! The two must stay in step, whatever the peers send: what one of them takes the other can be sent, both
//! are at the same point of the same answer, and both are idle at the same time. If not, the proxy would
//! close connections for nothing, or give one command's answer to another.

use dpm::session::{ClientSession, HEAD, Head, PacketKind, ServerSession, Step, rows};
use dpm::wire::{Auth, Handshake};

use crate::input::{From, Sent};

/// The two legs.
#[derive(Debug, Default)]
pub struct Legs {
    pub client: ClientSession,
    pub server: ServerSession,
}

/// What became of a packet.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Passed {
    /// It was passed on, and was this.
    On(Step),
    /// It has to wait, as it came out of turn.
    Waits,
    /// It broke the protocol, or ended the login: both ends are closed.
    Closed,
}

impl Legs {
    /// Passes a packet on.
    pub fn pass(&mut self, sent: &Sent<'_>) -> Passed {
        let head = Head {
            len: sent.announced.min(0xFF_FFFF),
            bytes: sent.payload.get(..HEAD).unwrap_or(sent.payload),
            seq: sent.seq,
        };
        let passed = match sent.from {
            From::Client => self.from_client(head, sent.payload),
            From::Server => self.from_server(head, sent),
        };
        if passed != Passed::Closed {
            self.in_step();
        }
        passed
    }

    fn from_client(&mut self, head: Head<'_>, payload: &[u8]) -> Passed {
        let client = &mut self.client;
        if !client.may_speak_now() && !(client.authenticated() && !client.full()) {
            return Passed::Waits;
        }
        let looked = client.peek(head);
        let received = client.receive(head);
        assert_eq!(looked, received, "a look changes nothing");
        let Ok(step) = received else {
            return Passed::Closed;
        };
        let taken = match step.kind {
            PacketKind::Auth => {
                let Ok(auth) = Auth::decode(payload) else {
                    return Passed::Closed;
                };
                let asked = auth.capabilities;
                client.negotiate(asked);
                self.server.send_auth(asked)
            }
            PacketKind::AuthData => self.server.send_auth_data(),
            PacketKind::Command => {
                // While a server waits for a file it would take a command for a piece of that.
                self.server.send_command(head)
            }
            _ => self.server.send_data(head.len == 0),
        };
        taken.expect("the server takes what its client may send");
        Passed::On(step)
    }

    fn from_server(&mut self, head: Head<'_>, sent: &Sent<'_>) -> Passed {
        let unsolicited = self.server.unsolicited();
        let in_rows = self.server.response().is_some_and(|r| r.in_rows());
        let looked = self.server.peek(head);
        let received = self.server.receive(head);
        assert_eq!(looked, received, "a look changes nothing");
        let Ok(step) = received else {
            return Passed::Closed;
        };
        if in_rows && self.server.authenticated() {
            skimmed(sent, &step);
        }
        if step.kind == PacketKind::Handshake {
            let Ok(handshake) = Handshake::decode(sent.payload) else {
                return Passed::Closed;
            };
            let offered = handshake.capabilities;
            self.server.set_offered(offered, offered);
            let greeted = self.client.send_handshake(offered);
            greeted.expect("a client takes its greeting");
            return Passed::On(step);
        }
        if unsolicited && self.client.authenticated() {
            return Passed::Closed;
        }
        let told = self.client.send(head, None);
        let told = told.expect("a client takes what its server may send");
        if told.refused {
            assert!(self.server.refused(), "both know that the login failed");
            return Passed::Closed;
        }
        assert_eq!(told.done, step.done, "both see the end of an answer");
        if told.done {
            self.client.finish_exchange();
        }
        Passed::On(step)
    }

    /// Both legs are at the same point.
    fn in_step(&self) {
        let (client, server) = (&self.client, &self.server);
        assert_eq!(client.authenticated(), server.authenticated());
        assert_eq!(client.idle(), server.idle());
        assert_eq!(client.outstanding(), server.outstanding());
        assert_eq!(client.response(), server.response());
        if client.authenticated() {
            assert_eq!(client.capabilities(), server.capabilities());
        }
        for id in [0, 1, u32::MAX] {
            assert_eq!(client.statement_params(id), server.statement_params(id));
        }
    }
}

/// The fast path over rows finds the same packets to be rows as the session does.
fn skimmed(sent: &Sent<'_>, step: &Step) {
    let [a, b, c, _] = (sent.announced as u32).to_le_bytes();
    let mut frame = [&[a, b, c, sent.seq], sent.payload].concat();
    let found = rows::skim(&mut frame, &mut 7);
    let is_row = matches!(step.kind, PacketKind::TextRow | PacketKind::BinaryRow);
    if found.rows > 0 {
        assert!(is_row && !step.done, "{step:?}");
        assert_eq!(found.bytes, frame.len());
        assert_eq!(frame[3], 7, "it is numbered");
    } else if is_row {
        let first = sent.payload.first().copied();
        let whole = sent.payload.len() == sent.announced && sent.announced < 0xFF_FFFF;
        assert!(!whole || first >= Some(0xFE), "{step:?}");
    }
}
