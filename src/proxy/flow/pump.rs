//! Reading, and processing what was read.

use std::io;
use std::time::Duration;

use bytes::{Buf, BytesMut};

use super::outcome::Advance;
use crate::proxy::Proxy;
use crate::proxy::id::ConnId;
use crate::proxy::login::tls::CLEAR_BEFORE_TLS;
use crate::proxy::table::channel::Expect;
use crate::proxy::table::conn::{Conn, Listed, Role, Socket};
use crate::proxy::table::core::Core;
use crate::proxy::table::sides::FarEnd;
use crate::wire::ErrPacket;

/// More waiting bytes than this are processed in place rather than copied.
const IN_PLACE: usize = 4 << 10;

/// How many times a connection is read before others are.
const MAX_READS: usize = 8;

/// How long a client that has closed its sending side may take to read the last of its answer.
const LAST_BYTES: Duration = Duration::from_secs(60);

/// What is read.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Reading {
    /// The start of a packet: no earlier bytes wait.
    Fresh,
    /// The rest of a packet.
    GoesOn,
    /// Commands ahead of one that is being answered, which have to wait.
    Ahead,
}

/// The result of a read.
enum Fill {
    /// The buffer has this many bytes to process.
    Bytes(usize),
    /// The packet at the front is larger than the buffer; it was gathered in the connection, and is
    /// complete now.
    Large(BytesMut),
    /// A part of a large packet: read on.
    More,
    /// There is nothing to be done now.
    Nothing,
    /// The far end has closed, and all its bytes have been processed.
    Ended(String),
    /// The far end broke the protocol.
    Broken(String),
}

impl Proxy {
    /// Reads from a connection and processes the bytes, until there are no more, it has to wait, or
    /// it has had its share.
    pub(crate) fn pump(&self, id: ConnId) {
        let mut buffer = self.take_buffer();
        let mut turns = MAX_READS;
        loop {
            if turns == 0 || self.core().slice.is_spent() {
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
        let mut core = self.core();
        if turns == 0 || core.slice.is_spent() {
            core.schedule(id);
        }
        drop(core);
        self.give_buffer(buffer);
    }

    /// Processes packets at the front of `data`. Returns how many bytes were processed, and how
    /// many are needed before it makes sense to try again (0: not before something else happens).
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
                Advance::Later => return (at, 0),
                Advance::Broken(reason) => {
                    self.broken(id, &reason);
                    return (data.len(), 0);
                }
                Advance::TooLong(reason) => {
                    let message = "Got a packet bigger than the proxy's max_packet".to_string();
                    self.put_error(id, &ErrPacket::new(1153, b"08S01", message));
                    self.broken(id, &reason);
                    return (data.len(), 0);
                }
                Advance::Gone => return (data.len(), 0),
            }
        }
    }
}

impl Core {
    /// Fills the buffer with the connection's waiting bytes, and with bytes from its socket.
    fn fill(&mut self, id: ConnId, buffer: &mut [u8]) -> Fill {
        let Some(conn) = self.open_mut(id) else {
            return Fill::Nothing;
        };
        if !matches!(conn.socket, Socket::Open(_)) || !conn.read.stopped.is_empty() {
            return Fill::Nothing;
        }
        // Compression began while another connection was processed, so the buffer has no bytes of
        // this one.
        conn.read.just_compressed = false;
        if !self.may_take(id) && !self.mid_packet(id) {
            return self.fill_while_busy(id);
        }
        let Some(conn) = self.open_mut(id) else {
            return Fill::Nothing;
        };
        let waiting = conn.read.input.len();
        let need = conn.read.input.need();
        // The waiting bytes may be processed now without any more: the exchange before them is
        // over.
        let worth_a_look = conn.read.input.suffices();
        if waiting + need > buffer.len() / 2 && !worth_a_look {
            return self.gather(id, buffer);
        }
        // So that many waiting commands are not copied back and forth for each of them.
        if worth_a_look && waiting > IN_PLACE {
            return Fill::Large(conn.read.input.take());
        }
        let input = conn.read.input.take();
        if let Some(front) = buffer.get_mut(..waiting) {
            front.copy_from_slice(&input);
        }
        let read = match buffer.get_mut(waiting..) {
            // A complete command waits, and is processed now.
            Some(space) if worth_a_look => self.read(id, space, Reading::Ahead),
            Some(space) if waiting > 0 => self.read(id, space, Reading::GoesOn),
            Some(space) => self.read(id, space, Reading::Fresh),
            None => Ok(None),
        };
        match read {
            Ok(Some(n)) => Fill::Bytes(waiting + n),
            Ok(None) if worth_a_look => Fill::Bytes(waiting),
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

    /// A client that has to wait is not read, but its end is noticed.
    fn fill_while_busy(&mut self, id: ConnId) -> Fill {
        let mut space = [0; 4096];
        loop {
            let Some(conn) = self.open_mut(id) else {
                return Fill::Nothing;
            };
            if conn.read.far_end == FarEnd::Open
                || conn.read.input.len() > crate::proxy::READ_BUFFER
            {
                return Fill::Nothing;
            }
            match self.read(id, &mut space, Reading::Ahead) {
                Ok(Some(n)) => {
                    if let Some(conn) = self.open_mut(id) {
                        conn.read.input.push(space.get(..n).unwrap_or_default());
                    }
                }
                Ok(None) => return self.exhausted(id),
                Err(error) => return self.read_failed(id, &error),
            }
        }
    }

    /// Gathers a packet that is larger than the buffer. Memory is allocated only for bytes that
    /// have arrived, not for the announced length.
    fn gather(&mut self, id: ConnId, buffer: &mut [u8]) -> Fill {
        match self.read(id, buffer, Reading::GoesOn) {
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

    /// There is nothing to read now. That is the end if writing has failed, or if the far end sends
    /// nothing more; but what a client is owed it gets first.
    fn exhausted(&mut self, id: ConnId) -> Fill {
        let conn = self
            .open_mut(id)
            .filter(|conn| !conn.listed.contains(Listed::TO_PUMP));
        let Some(conn) = conn else {
            return Fill::Nothing;
        };
        if let Some(error) = conn.write.broken.take() {
            return Fill::Ended(format!("write: {error}"));
        }
        match conn.read.far_end {
            FarEnd::Open | FarEnd::HungUp => Fill::Nothing,
            FarEnd::Ended if conn.is_owed() => {
                if conn.idle() && !conn.limits.has_deadline() {
                    self.set_deadline(id, LAST_BYTES);
                } else {
                    self.pass_on_the_end(id);
                }
                Fill::Nothing
            }
            FarEnd::Ended | FarEnd::Gone => Fill::Ended(self.ended_reason(id)),
        }
    }

    /// A server that is this client's alone, and that nobody else writes to, learns that nothing
    /// more will come, as it would without a proxy: then it can give up what only makes a client
    /// wait, such as SLEEP, if the client is gone altogether.
    fn pass_on_the_end(&mut self, id: ConnId) {
        let Some(client) = self.open(id) else {
            return;
        };
        let more = client.read.streaming.is_some() || !client.read.input.is_empty();
        if more || !client.authenticated() || self.attended(client) {
            return;
        }
        let server = client.peer.and_then(|peer| self.open_mut(peer));
        if let Some(server) = server
            && server.passthrough() == Some(id)
            && !server.unsent()
        {
            server.end_writing();
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

    /// Reads once, into `space`, which is not empty. `None`: there is nothing now, or nothing any
    /// more.
    fn read(
        &mut self,
        id: ConnId,
        space: &mut [u8],
        reading: Reading,
    ) -> io::Result<Option<usize>> {
        let now = self.now;
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
            Ok(0) => {
                conn.read.readable = false;
                conn.read.far_end_is(FarEnd::Ended);
                Ok(None)
            }
            Ok(n) => {
                // The socket returned less than there was room for: it is empty, and the next byte
                // causes an event. There is only one event for the end of the stream, so after that
                // the socket is read again.
                let open = conn.read.far_end == FarEnd::Open;
                if n < space.len() && open && short_read_is_all {
                    conn.read.readable = false;
                }
                conn.limits.has_read(now, n);
                conn.info.tallies.read(n as u64);
                self.stats.bytes_in += n as u64;
                Ok(Some(n))
            }
            Err(error) if error.kind() == io::ErrorKind::WouldBlock => {
                conn.read.readable = holds_back;
                Ok(None)
            }
            // It has sent much that gave no bytes, and has had its share.
            Err(error) if error.kind() == io::ErrorKind::Interrupted => {
                self.schedule(id);
                Ok(None)
            }
            // An end in the middle of a compressed frame.
            Err(error) if error.kind() == io::ErrorKind::UnexpectedEof => {
                conn.read.readable = false;
                conn.read.far_end_is(FarEnd::Ended);
                match conn.is_owed() {
                    true => Ok(None),
                    false => Err(error),
                }
            }
            Err(error) => Err(error),
        };
        if answers {
            self.touch(id);
        }
        result
    }

    /// Keeps the bytes that were not processed. Returns whether to go on reading.
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
        conn.may_read() || conn.read.exhausted()
    }

    /// The same for gathered bytes, which may be many and are not copied.
    fn keep_large(&mut self, id: ConnId, rest: BytesMut, need: usize) -> bool {
        match self.open_mut(id) {
            Some(conn) if conn.read.input.is_empty() && !conn.read.just_compressed => {
                conn.read.input.put(rest, need);
                conn.may_read() || conn.read.exhausted()
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

    /// Whether what follows the packet just processed is compressed.
    fn just_compressed(&self, id: ConnId) -> bool {
        self.open(id).is_some_and(|conn| conn.read.just_compressed)
    }

    fn mid_packet(&self, id: ConnId) -> bool {
        self.open(id)
            .is_some_and(|conn| conn.read.streaming.is_some())
    }

    fn ended_reason(&self, id: ConnId) -> String {
        let inside = self
            .open(id)
            .is_some_and(|conn| conn.read.streaming.is_some() || !conn.read.input.is_empty());
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
