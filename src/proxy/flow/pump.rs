//! Reading, and dealing with what was read.

use std::io;

use bytes::{Buf, BytesMut};

use super::advance::Advance;
use super::own_errors::error_packet;
use crate::proxy::Proxy;
use crate::proxy::id::ConnId;
use crate::proxy::login::tls::CLEAR_BEFORE_TLS;
use crate::proxy::table::channel::Expect;
use crate::proxy::table::conn::{Conn, Listed, Role, Socket};
use crate::proxy::table::core::Core;

/// The loop's read buffer, which all connections share: an idle connection owns none.
pub(crate) const READ_BUFFER: usize = 256 << 10;

/// More than so many waiting bytes are dealt with where they lie.
const IN_PLACE: usize = 4 << 10;

/// How many times a connection is read before others get their turn.
const MAX_READS: usize = 8;

/// What is read.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Reading {
    /// Nothing that came before waits for more.
    Fresh,
    /// The rest of a packet.
    GoesOn,
    /// What has to wait for its turn.
    Ahead,
}

/// What a read came to.
enum Fill {
    /// So many bytes lie in the buffer, to be looked at.
    Bytes(usize),
    /// The packet at the front is larger than the buffer; it is gathered in the connection, and
    /// is all there now.
    Large(BytesMut),
    /// A part of a large packet: read on.
    More,
    /// There is nothing to be done now.
    Nothing,
    /// The far end has closed, or is gone, and all that it said has been dealt with.
    Ended(String),
    /// What it said makes no sense.
    Broken(String),
}

impl Proxy {
    /// Reads from a connection and deals with what came, until it is exhausted, must wait, or has
    /// had its turn.
    pub(crate) fn pump(&self, id: ConnId) {
        let mut buffer = self.take_buffer();
        let mut turns = MAX_READS;
        loop {
            if turns == 0 {
                self.core().schedule(id);
                break;
            }
            turns -= 1;
            let fill = self.core().fill(id, &mut buffer);
            match fill {
                Fill::Bytes(len) => {
                    let Some(data) = buffer.get_mut(..len) else {
                        break;
                    };
                    let (used, wait) = self.process(id, data);
                    let rest = data.get(used..).unwrap_or_default();
                    if !self.core().keep(id, rest, wait) {
                        break;
                    }
                }
                Fill::Large(mut data) => {
                    let (used, wait) = self.process(id, &mut data);
                    data.advance(used.min(data.len()));
                    if !self.core().keep_large(id, data, wait) {
                        break;
                    }
                }
                Fill::More => {}
                Fill::Nothing => break,
                Fill::Broken(reason) => {
                    self.broken(id, &reason);
                    break;
                }
                Fill::Ended(reason) => {
                    let reason = self.without_tls(id).unwrap_or(reason);
                    self.close_for(id, &reason);
                    break;
                }
            }
        }
        self.give_buffer(buffer);
    }

    /// Deals with packets at the front of `data`: returns how many bytes are dealt with, and how
    /// many there must be before it is worth to look again (0: not before something else happens).
    pub(crate) fn process(&self, id: ConnId, data: &mut [u8]) -> (usize, usize) {
        let mut at = 0;
        let logging_in = self.core().logging_in(id);
        loop {
            let Some(rest) = data.get_mut(at..) else {
                return (at, 0);
            };
            let (used, advance) = self.core().advance(id, rest);
            at += used;
            match advance {
                Advance::Again => {}
                Advance::Arrived { to, events } => self.fire_all(to, events),
                Advance::Packet(size) => {
                    let rows = self.watched_rows(id, data.get(at..).unwrap_or_default());
                    if rows > 0 {
                        at += rows;
                        continue;
                    }
                    let Some((frames, rest)) =
                        data.get(at..).and_then(|data| data.split_at_checked(size))
                    else {
                        return (at, size);
                    };
                    if self.core().accept_ssl_request(id, frames, rest) {
                        return (data.len(), 0);
                    }
                    let behind = !rest.is_empty();
                    let in_clear = logging_in && !self.core().is_tls(id);
                    self.packet(id, frames);
                    at += size;
                    if logging_in && self.core().just_compressed(id) {
                        return (at, 0);
                    }
                    if in_clear && behind && self.core().is_tls(id) {
                        self.broken(id, CLEAR_BEFORE_TLS);
                        return (data.len(), 0);
                    }
                }
                Advance::Wait(need) => return (at, need),
                Advance::Broken(reason) => {
                    self.broken(id, &reason);
                    return (data.len(), 0);
                }
                Advance::TooLong(reason) => {
                    let message = "Got a packet bigger than the proxy's max_packet".to_string();
                    self.put_error(id, &error_packet(1153, b"08S01", message));
                    self.broken(id, &reason);
                    return (data.len(), 0);
                }
                Advance::Gone => return (data.len(), 0),
            }
        }
    }
}

impl Core {
    /// Puts what waits in the connection, and what its socket has, at the front of the buffer.
    fn fill(&mut self, id: ConnId, buffer: &mut [u8]) -> Fill {
        let Some(conn) = self.open_mut(id) else {
            return Fill::Nothing;
        };
        if !matches!(conn.socket, Socket::Open(_)) || !conn.read.stopped.is_empty() {
            return Fill::Nothing;
        }
        // It became so while another connection was dealt with: nothing of it is in the buffer.
        conn.read.just_compressed = false;
        if !self.may_take(id) && !self.mid_packet(id) {
            return self.fill_while_busy(id);
        }
        let Some(conn) = self.open_mut(id) else {
            return Fill::Nothing;
        };
        let waiting = conn.read.input.len();
        let need = conn.read.input.need();
        // What waits may have become worth a look without a byte more: the exchange before it
        // is over.
        let worth_a_look = waiting > 0 && waiting >= need;
        if waiting + need > buffer.len() / 2 && !worth_a_look {
            return self.gather(id, buffer);
        }
        // Many commands that wait their turn are not copied back and forth for each of them.
        if worth_a_look && waiting > IN_PLACE {
            return Fill::Large(conn.read.input.take());
        }
        let input = conn.read.input.take();
        if let Some(front) = buffer.get_mut(..waiting) {
            front.copy_from_slice(&input);
        }
        let read = match buffer.get_mut(waiting..) {
            // A whole command waits, and is looked at now.
            Some(space) if worth_a_look => self.read(id, space, Reading::Ahead),
            Some(space) if waiting > 0 => self.read(id, space, Reading::GoesOn),
            Some(space) => self.read(id, space, Reading::Fresh),
            None => Ok(None),
        };
        match read {
            Ok(Some(0)) if waiting == 0 => Fill::Ended(self.ended_reason(id)),
            Ok(Some(n)) if n > 0 => Fill::Bytes(waiting + n),
            Ok(_) if worth_a_look => Fill::Bytes(waiting),
            Ok(Some(_)) => Fill::Ended("closed in the middle of a packet".to_string()),
            Ok(None) => {
                let Some(conn) = self.open_mut(id) else {
                    return Fill::Nothing;
                };
                conn.read.input.put(input, need);
                self.exhausted(id)
            }
            Err(error) => self.read_failed(id, &error),
        }
    }

    /// A client that must wait for its turn is not read, but its death is noticed.
    fn fill_while_busy(&mut self, id: ConnId) -> Fill {
        let Some(conn) = self.open_mut(id) else {
            return Fill::Nothing;
        };
        if !conn.read.hung_up || !conn.read.readable || conn.read.input.len() > READ_BUFFER {
            return Fill::Nothing;
        }
        let mut space = [0; 4096];
        loop {
            match self.read(id, &mut space, Reading::Ahead) {
                Ok(Some(0)) => {
                    let nothing_left = self.open(id).is_some_and(|conn| conn.read.input.is_empty());
                    if nothing_left {
                        return Fill::Ended(self.ended_reason(id));
                    }
                    return Fill::Nothing;
                }
                Ok(Some(n)) => {
                    let Some(conn) = self.open_mut(id) else {
                        return Fill::Nothing;
                    };
                    conn.read.input.push(space.get(..n).unwrap_or_default());
                    if conn.read.input.len() > READ_BUFFER {
                        return Fill::Nothing;
                    }
                }
                Ok(None) => return self.exhausted(id),
                Err(error) => return self.read_failed(id, &error),
            }
        }
    }

    /// Gathers a packet that is larger than the buffer. Only what has really come takes memory,
    /// whatever the packet announces.
    fn gather(&mut self, id: ConnId, buffer: &mut [u8]) -> Fill {
        match self.read(id, buffer, Reading::GoesOn) {
            Ok(Some(0)) => Fill::Ended("closed in the middle of a packet".to_string()),
            Ok(Some(n)) => {
                let Some(conn) = self.open_mut(id) else {
                    return Fill::Nothing;
                };
                let input = &mut conn.read.input;
                input.push(buffer.get(..n).unwrap_or_default());
                if input.len() < input.need() {
                    return Fill::More;
                }
                Fill::Large(input.take())
            }
            Ok(None) => self.exhausted(id),
            Err(error) => self.read_failed(id, &error),
        }
    }

    /// There is nothing to be read now: the end, if writing has failed already.
    fn exhausted(&mut self, id: ConnId) -> Fill {
        let conn = self
            .open_mut(id)
            .filter(|conn| !conn.listed.contains(Listed::TO_PUMP));
        match conn.and_then(|conn| conn.write.broken.take()) {
            Some(error) => Fill::Ended(format!("write: {error}")),
            None => Fill::Nothing,
        }
    }

    /// Nothing more can be read.
    fn read_failed(&self, id: ConnId, error: &io::Error) -> Fill {
        let compressed = self.open(id).is_some_and(Conn::compressed);
        if compressed && error.kind() == io::ErrorKind::InvalidData {
            return Fill::Broken(error.to_string());
        }
        Fill::Ended(format!("read: {error}"))
    }

    /// Reads once. `None`: there is nothing now.
    fn read(
        &mut self,
        id: ConnId,
        space: &mut [u8],
        reading: Reading,
    ) -> io::Result<Option<usize>> {
        let Some(conn) = self.open_mut(id) else {
            return Ok(None);
        };
        if !conn.read.readable {
            return Ok(None);
        }
        let expect = match reading {
            Reading::Fresh if conn.compressed() => conn.expected(),
            _ => Expect::More,
        };
        let Socket::Open(channel) = &mut conn.socket else {
            return Ok(None);
        };
        channel.expect(expect);
        let read = channel.read(space, reading == Reading::Ahead);
        let short_read_is_all = channel.short_read_is_all();
        let answers = channel.wants_write();
        let holds_back = channel.holds_back();
        if let Some(news) = channel.stream.tls_news() {
            conn.established(news);
        }
        let result = match read {
            Ok(n) => {
                // The socket gave less than it could have: it is empty, and the next byte is
                // told of. The end of the stream is told of only once, so it is read for.
                if n < space.len() && !conn.read.hung_up && short_read_is_all {
                    conn.read.readable = false;
                }
                conn.active = true;
                self.stats.bytes_in += n as u64;
                Ok(Some(n))
            }
            Err(error) if error.kind() == io::ErrorKind::WouldBlock => {
                conn.read.readable = holds_back;
                Ok(None)
            }
            // It has sent much of which nothing came, and has had its turn.
            Err(error) if error.kind() == io::ErrorKind::Interrupted => {
                self.schedule(id);
                Ok(None)
            }
            Err(error) => Err(error),
        };
        if answers {
            self.touch(id);
        }
        result
    }

    /// Keeps what was not dealt with. Returns whether to go on reading.
    pub(crate) fn keep(&mut self, id: ConnId, rest: &[u8], need: usize) -> bool {
        let Some(conn) = self.open_mut(id) else {
            return false;
        };
        if std::mem::take(&mut conn.read.just_compressed)
            && let Socket::Open(channel) = &mut conn.socket
        {
            channel.unread(rest);
            conn.read.readable = true;
            return conn.may_read();
        }
        conn.read.input.push_front(rest, need);
        conn.may_read()
    }

    /// The same for what was gathered, which may be long and is not copied.
    fn keep_large(&mut self, id: ConnId, rest: BytesMut, need: usize) -> bool {
        match self.open_mut(id) {
            Some(conn) if conn.read.input.is_empty() && !conn.read.just_compressed => {
                conn.read.input.put(rest, need);
                conn.may_read()
            }
            _ => self.keep(id, &rest, need),
        }
    }

    /// Whether its login is not over yet.
    fn logging_in(&self, id: ConnId) -> bool {
        self.open(id).is_some_and(|conn| !conn.logged_in())
    }

    fn is_tls(&self, id: ConnId) -> bool {
        self.open(id).is_some_and(Conn::is_tls)
    }

    /// Whether what follows the packet that was just dealt with is compressed.
    fn just_compressed(&self, id: ConnId) -> bool {
        self.open(id).is_some_and(|conn| conn.read.just_compressed)
    }

    fn mid_packet(&self, id: ConnId) -> bool {
        self.open(id)
            .is_some_and(|conn| conn.read.transit.is_some())
    }

    fn ended_reason(&self, id: ConnId) -> String {
        let inside = self
            .open(id)
            .is_some_and(|conn| conn.read.transit.is_some());
        let who = match self.open(id).map(|conn| &conn.role) {
            Some(Role::Client(_)) => "the client",
            _ => "the server",
        };
        if inside {
            format!("{who} closed the connection in the middle of a packet")
        } else {
            format!("{who} closed the connection")
        }
    }
}
