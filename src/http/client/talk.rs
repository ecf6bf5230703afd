//! One request and its answer, without a socket: what is to be sent comes out, what the server sends goes in.

use bytes::{Buf, BytesMut};

use super::call::Call;
use super::failure::Failure;
use super::reply::{Ending, Reply, ReplyHead};
use crate::http::head::HeadEnd;

/// How many answers may come before the final one ("100 Continue" and the like).
const MOST_INFORMATIONAL: usize = 8;

/// See the module.
#[derive(Debug)]
pub(super) struct Talk {
    output: BytesMut,
    input: BytesMut,
    head_end: HeadEnd,
    informational: usize,
    is_head: bool,
    max_size: usize,
    /// The answer whose body is still to come.
    arriving: Option<ReplyHead>,
    heard: bool,
}

/// A complete answer.
#[derive(Debug)]
pub(super) struct Answered {
    pub reply: Reply,
    /// Whether the connection can have another request.
    pub reusable: bool,
}

impl Talk {
    pub fn new(call: &Call) -> Talk {
        Talk {
            output: call.encode(),
            input: BytesMut::new(),
            head_end: HeadEnd::default(),
            informational: 0,
            is_head: call.is_head(),
            max_size: call.options.max_size,
            arriving: None,
            heard: false,
        }
    }

    /// What is to be sent.
    pub fn output(&self) -> &[u8] {
        &self.output
    }

    /// So much of it has been sent.
    pub fn sent(&mut self, count: usize) {
        self.output.advance(count.min(self.output.len()));
    }

    /// Whether anything has come of the answer.
    pub fn has_heard(&self) -> bool {
        self.heard
    }

    /// The server has sent this.
    pub fn received(&mut self, bytes: &[u8]) -> Result<Option<Answered>, Failure> {
        self.heard = true;
        self.input.extend_from_slice(bytes);
        while self.arriving.is_none() {
            let malformed = |refusal: crate::http::Refusal| Failure::Malformed(refusal.reason);
            let Some((begin, end)) = self.head_end.find(&self.input).map_err(malformed)? else {
                return Ok(None);
            };
            self.head_end = HeadEnd::default();
            let bytes = self.input.split_to(end);
            let bytes = bytes.get(begin..).unwrap_or_default();
            let head = ReplyHead::parse(bytes, self.is_head, self.max_size)?;
            match head.reply.status {
                101 => return Err(Failure::Malformed("it changes to another protocol")),
                100..200 => self.informational += 1,
                _ => self.arriving = Some(head),
            }
            if self.informational > MOST_INFORMATIONAL {
                return Err(Failure::Malformed("it has a head after the other"));
            }
        }
        self.body()
    }

    fn body(&mut self) -> Result<Option<Answered>, Failure> {
        let Some(head) = &mut self.arriving else {
            return Ok(None);
        };
        let body = &mut head.reply.body;
        match &mut head.ending {
            Ending::None => Ok(self.answered()),
            Ending::Framed(reader) => {
                let max = self.max_size;
                reader
                    .read(&mut self.input, body)
                    .map_err(|refusal| match refusal.status {
                        413 => Failure::TooLarge(max),
                        _ => Failure::Malformed(refusal.reason),
                    })?;
                match reader.is_done() {
                    true => Ok(self.answered()),
                    false => Ok(None),
                }
            }
            Ending::Connection => {
                if body.len() + self.input.len() > self.max_size {
                    return Err(Failure::TooLarge(self.max_size));
                }
                body.extend_from_slice(&self.input);
                self.input.clear();
                Ok(None)
            }
        }
    }

    fn answered(&mut self) -> Option<Answered> {
        let head = self.arriving.take()?;
        Some(Answered {
            // What follows an answer was not asked for, and a request that was not read would be taken for the next one.
            reusable: head.keep_alive && self.input.is_empty() && self.output.is_empty(),
            reply: head.reply,
        })
    }

    /// The server sends nothing more.
    pub fn ended(&mut self) -> Result<Reply, Failure> {
        let head = self.arriving.take();
        let whole = head.filter(|head| matches!(head.ending, Ending::Connection));
        whole.map(|head| head.reply).ok_or(Failure::Ended)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::http::client::call::{Address, CallOptions};
    use crate::net::TlsClientOptions;
    use proptest::prelude::*;
    use std::time::Duration;

    fn talk(method: &str, max_size: usize) -> Talk {
        let options = CallOptions {
            method: method.into(),
            headers: Vec::new(),
            body: Vec::new(),
            timeout: Duration::from_secs(1),
            max_size,
            tls: TlsClientOptions::default(),
        };
        let address = Address::parse("http://localhost/", None).unwrap();
        let mut talk = Talk::new(&Call::new(address, options).unwrap());
        talk.sent(talk.output().len());
        talk
    }

    /// The answer that comes in such pieces, then the end of the connection.
    fn answer_of<'a>(
        talk: &mut Talk,
        pieces: impl IntoIterator<Item = &'a [u8]>,
    ) -> Result<(Reply, bool), Failure> {
        for piece in pieces {
            if let Some(answered) = talk.received(piece)? {
                return Ok((answered.reply, answered.reusable));
            }
        }
        talk.ended().map(|reply| (reply, false))
    }

    const WHOLE: [(&[u8], &[u8], bool); 6] = [
        (b"HTTP/1.1 200 OK\r\nContent-Length: 3\r\n\r\nabc", b"abc", true),
        (
            b"HTTP/1.1 103 Early Hints\r\nLink: x\r\n\r\nHTTP/1.1 200 OK\r\ntransfer-encoding: Chunked\r\n\r\n2;x=y\r\nab\r\n1\r\nc\r\n0\r\nX: y\r\n\r\n",
            b"abc",
            true,
        ),
        (b"HTTP/1.1 200 OK\r\n\r\nabc", b"abc", false),
        (b"HTTP/1.0 200 OK\r\nContent-Length: 3\r\n\r\nabc", b"abc", false),
        (b"HTTP/1.1 204 No Content\r\n\r\n", b"", true),
        (
            b"HTTP/1.1 200 OK\r\nConnection: x, close\r\nContent-Length: 0\r\n\r\n",
            b"",
            false,
        ),
    ];

    #[test]
    fn whole_answers_in_pieces() {
        for (bytes, body, reusable) in WHOLE {
            for size in 1..=bytes.len() {
                let mut talk = talk("GET", 3);
                let (reply, again) = answer_of(&mut talk, bytes.chunks(size)).unwrap();
                assert_eq!(reply.body, body);
                // With all bytes at once nothing else can have come.
                assert_eq!(again, reusable, "{}", bytes.escape_ascii());
            }
        }
    }

    #[test]
    fn a_death_at_any_byte_is_told() {
        for (bytes, ..) in WHOLE {
            let head_only = bytes
                .windows(4)
                .position(|four| four == b"\r\n\r\n")
                .unwrap()
                + 4;
            let ends_with_connection = bytes.starts_with(b"HTTP/1.1 200 OK\r\n\r\n");
            for cut in 0..bytes.len() {
                if ends_with_connection && cut >= head_only {
                    continue;
                }
                let answer = answer_of(&mut talk("GET", 3), [&bytes[..cut]]);
                assert!(answer.is_err(), "{}", bytes[..cut].escape_ascii());
            }
        }
    }

    #[test]
    fn head_has_no_body() {
        let bytes = b"HTTP/1.1 200 OK\r\nContent-Length: 1000\r\n\r\n";
        let (reply, reusable) = answer_of(&mut talk("HEAD", 3), [&bytes[..]]).unwrap();
        assert!(reply.body.is_empty() && reusable);
        // A body all the same is not taken for the next answer.
        let more = [&bytes[..], b"x"].concat();
        assert!(!answer_of(&mut talk("HEAD", 3), [&more[..]]).unwrap().1);
    }

    #[test]
    fn what_is_refused() {
        let endless_head = [&b"HTTP/1.1 200 OK\r\n"[..], &b"X: y\r\n".repeat(10_000)].concat();
        let endless_line = [&b"HTTP/1.1 200 OK\r\nX: "[..], &[b'y'; 100_000]].concat();
        let endless_hints = b"HTTP/1.1 100 Continue\r\n\r\n".repeat(10_000);
        let endless_body = [&b"HTTP/1.1 200 OK\r\n\r\n"[..], &[b'y'; 100_000]].concat();
        let endless_chunks = [
            &b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n"[..],
            &b"1\r\nx\r\n".repeat(10_000),
        ]
        .concat();
        for (bytes, part) in [
            (&b"SSH-2.0-OpenSSH\r\n\r\n"[..], "does the port speak HTTP?"),
            (b"HTTP/2 200\r\n\r\n", "not well formed"),
            (b"HTTP/1.1 20 OK\r\n\r\n", "not well formed"),
            (b"HTTP/1.1 101 Switching\r\n\r\n", "another protocol"),
            (b"HTTP/1.1 200 OK\nX: y\n\n", "CR LF"),
            (
                b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\nContent-Length: 3\r\n\r\n",
                "twice",
            ),
            (
                b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\nTransfer-Encoding: chunked\r\n\r\n",
                "twice",
            ),
            (
                b"HTTP/1.1 200 OK\r\nContent-Length: +2\r\n\r\n",
                "no number",
            ),
            (
                b"HTTP/1.1 200 OK\r\nContent-Length: 99999999999999999999999\r\n\r\n",
                "no number",
            ),
            (
                b"HTTP/1.1 200 OK\r\nContent-Length: 101\r\n\r\n",
                "more than 100 bytes",
            ),
            (
                b"HTTP/1.1 200 OK\r\nTransfer-Encoding: gzip\r\n\r\n",
                "not asked for",
            ),
            (
                b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n-1\r\n",
                "chunk",
            ),
            (
                b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\nFFFFFFFFFFFFFFFF\r\n",
                "chunk",
            ),
            (&endless_head, "too large"),
            (&endless_line, "too large"),
            (&endless_hints, "a head after the other"),
            (&endless_body, "more than 100 bytes"),
            (&endless_chunks, "more than 100 bytes"),
        ] {
            for size in [1, 1000, bytes.len()] {
                let failure = answer_of(&mut talk("GET", 100), bytes.chunks(size)).unwrap_err();
                let failure = failure.to_string();
                assert!(
                    failure.contains(part),
                    "{}: {failure}",
                    bytes[..bytes.len().min(80)].escape_ascii()
                );
            }
        }
    }

    proptest! {
        #[test]
        fn any_bytes_do_no_harm(pieces in prop::collection::vec(prop::collection::vec(any::<u8>(), 0..50), 0..20)) {
            let pieces = pieces.iter().map(Vec::as_slice);
            let _ = answer_of(&mut talk("GET", 100), pieces);
        }

        #[test]
        fn mutated_answers_do_no_harm(which in 0usize..6, at in 0usize..200, byte in any::<u8>()) {
            let mut bytes = WHOLE[which].0.to_vec();
            let at = at % bytes.len();
            bytes[at] = byte;
            if let Ok((reply, _)) = answer_of(&mut talk("GET", 3), bytes.chunks(7)) {
                prop_assert!(reply.body.len() <= 3);
            }
        }
    }
}
