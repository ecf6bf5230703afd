//! The dialogue that finishes the login at a server whose client has left before it had logged in.
//!
//! Servers count connections that end in the middle of a login, for each host that they come from,
//! and after `max_connect_errors` of them let nobody in from there any more: of a proxy that is all
//! clients. A login that is denied does not count, at MariaDB 10.11 and 11.8 and MySQL 9.7. So the
//! proxy itself logs in under a name that nobody has and without a password, or gives an answer of
//! no worth where the client owed one, and waits for the error. Nobody is shown any of this.

use bytes::BytesMut;

use crate::wire::frame::{self, HEADER, Header};
use crate::wire::{Auth, Capabilities, Handshake};

/// Whoever reads a server's log finds this name.
const NAME: &[u8] = b"client-left-before-its-login";

/// The most that a server may send meanwhile.
const MOST_BYTES: usize = 64 << 10;

/// The most packets that are answered.
const MOST_PACKETS: usize = 8;

/// A login that is being finished.
#[derive(Debug)]
pub(crate) struct Parting {
    /// What has been read, but not looked at yet.
    input: BytesMut,
    /// Packets looked at.
    packets: usize,
    greeted: bool,
    /// The method of the login.
    plugin: Vec<u8>,
}

/// The login has ended, or cannot be finished.
#[derive(Debug)]
pub(crate) struct Over;

/// What a packet of the server's is answered with.
#[derive(Debug, PartialEq, Eq)]
pub(crate) enum Reply {
    /// An auth packet, of these capabilities at most.
    Auth(Capabilities),
    /// An answer to a round of authentication.
    Answer(&'static [u8]),
    /// COM_QUIT: it has let nobody in.
    Quit,
}

impl Parting {
    /// `input`: what has been read already. `plugin`: the method that the client has named, if it
    /// came so far.
    pub fn new(input: BytesMut, greeted: bool, plugin: Vec<u8>) -> Parting {
        Parting {
            input,
            packets: 0,
            greeted,
            plugin,
        }
    }

    /// More has been read.
    pub fn push(&mut self, bytes: &[u8]) -> Result<(), Over> {
        self.input.extend_from_slice(bytes);
        match self.input.len() > MOST_BYTES {
            true => Err(Over),
            false => Ok(()),
        }
    }

    /// What the next packet is answered with, and the number of the answer; `None` if it is not all
    /// there yet.
    pub fn step(&mut self) -> Result<Option<(Reply, u8)>, Over> {
        let Some(header) = Header::parse(&self.input) else {
            return Ok(None);
        };
        if HEADER + header.len > MOST_BYTES || self.packets == MOST_PACKETS {
            return Err(Over);
        }
        if self.input.len() < HEADER + header.len {
            return Ok(None);
        }
        let packet = self.input.split_to(HEADER + header.len);
        let payload = frame::payload(&packet);
        self.packets += 1;
        let greeted = std::mem::replace(&mut self.greeted, true);
        let reply = match payload.first() {
            Some(0x00) if greeted => return Ok(Some((Reply::Quit, 0))),
            Some(0xFE | 0x01 | 0x02) if greeted => {
                if let Some(plugin) = named(&payload) {
                    self.plugin = plugin;
                }
                Reply::Answer(self.answer())
            }
            Some(10) if !greeted => {
                let handshake = Handshake::decode(&payload).map_err(|_| Over)?;
                Reply::Auth(handshake.capabilities)
            }
            _ => return Err(Over),
        };
        Ok(Some((reply, header.seq.wrapping_add(1))))
    }

    /// An answer that the method reads whole, and then denies.
    pub fn answer(&self) -> &'static [u8] {
        match self.plugin.as_slice() {
            b"client_ed25519" => &[0; 64],
            // Without a password it is not a hash that is expected, but the password's end.
            b"caching_sha2_password" | b"sha256_password" => b"\0",
            _ => b"",
        }
    }
}

/// The method that a request to switch names.
fn named(payload: &[u8]) -> Option<Vec<u8>> {
    let rest = payload.strip_prefix(&[0xFE])?;
    rest.split(|byte| *byte == 0).next().map(<[u8]>::to_vec)
}

/// The auth packet of nobody.
pub(crate) fn nobodys_auth(offered: Capabilities, with_tls: bool) -> Auth {
    let mut auth = Auth {
        user: NAME.to_vec(),
        ..Auth::default()
    };
    auth.capabilities &= offered | Capabilities::LONG_PASSWORD;
    auth.capabilities.set(Capabilities::SSL, with_tls);
    auth
}

#[cfg(test)]
mod tests {
    use super::*;

    fn parting(packets: &[&[u8]]) -> Parting {
        let mut input = BytesMut::new();
        for packet in packets {
            frame::write(packet, &mut 1, &mut input);
        }
        Parting::new(input, true, Vec::new())
    }

    #[test]
    fn each_round_is_answered() {
        let mut it = parting(&[
            b"\xFEclient_ed25519\0nonce",
            b"\x01more",
            b"\0\0\0\x02\0\0\0",
        ]);
        for _ in 0..2 {
            let (reply, seq) = it.step().unwrap().unwrap();
            assert_eq!((reply, seq), (Reply::Answer(&[0; 64]), 2));
        }
        assert_eq!(it.step().unwrap(), Some((Reply::Quit, 0)));
        assert_eq!(it.step().unwrap(), None);
    }

    #[test]
    fn nothing_goes_on_for_ever() {
        let rounds = [b"\x01more".as_slice(); 20];
        let mut it = parting(&rounds);
        let answered = (0..20).take_while(|_| it.step().is_ok()).count();
        assert_eq!(answered, MOST_PACKETS);
        assert!(parting(&[b"\xFF\x15\x04denied"]).step().is_err());
        assert!(parting(&[b"", b""]).step().is_err());
        let mut long = parting(&[]);
        assert!(long.push(&vec![0xFF; MOST_BYTES]).is_ok());
        assert!(long.step().is_err());
        assert!(long.push(b"x").is_err());
    }
}
