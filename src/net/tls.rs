//! TLS: a session between the proxy and a client or a server, inside a [`Stream`](super::Stream).
//!
//! - [`TlsServer`] is the configuration of a listener, [`TlsClient`] that of a connect; either
//!   makes [`TlsSession`]s;
//! - `certificate`: reading, describing and making certificates;
//! - `verify`: which certificates are accepted; `lifetime`: until when our own are;
//! - [`TlsInfo`]: what scripts can learn about a session.
//!
//! rustls implements the protocol, TLS 1.2 and 1.3 only. Where it refuses a certificate (one of
//! version 1, MD5, SHA-1), the error text made here names the certificate.

mod certificate;
mod client;
mod info;
mod lifetime;
mod server;
mod verify;

use std::io::{self, IoSlice, Read, Write};
use std::sync::{Arc, OnceLock};

use rustls::crypto::CryptoProvider;
use rustls::{Connection, SupportedProtocolVersion};

pub use client::{TlsClient, TlsClientOptions, TlsMode};
pub use info::TlsInfo;
pub use server::{TlsServer, TlsServerOptions, TlsVerify};

/// A buffer's size that the longest record fits into.
const RECORD: usize = 20 << 10;

/// How often one call of `read` reads the socket: a peer may send records without data, and must
/// not keep the loop busy with them.
const READS: usize = 2;

/// Why TLS cannot be set up.
#[derive(Debug, Clone, thiserror::Error)]
#[error("{0}")]
pub struct TlsError(pub(super) String);

/// The oldest version of TLS that is accepted.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Default)]
pub enum TlsVersion {
    /// TLS 1.2, the oldest that is safe.
    #[default]
    V1_2,
    /// TLS 1.3.
    V1_3,
}

impl TlsVersion {
    fn and_newer(self) -> &'static [&'static SupportedProtocolVersion] {
        static BOTH: [&SupportedProtocolVersion; 2] =
            [&rustls::version::TLS13, &rustls::version::TLS12];
        match self {
            TlsVersion::V1_2 => &BOTH,
            TlsVersion::V1_3 => BOTH.get(..1).unwrap_or_default(),
        }
    }
}

/// The one library that all cryptography comes from.
fn provider() -> Arc<CryptoProvider> {
    static PROVIDER: OnceLock<Arc<CryptoProvider>> = OnceLock::new();
    PROVIDER
        .get_or_init(|| Arc::new(rustls::crypto::aws_lc_rs::default_provider()))
        .clone()
}

/// One end of a TLS connection, without its socket.
pub struct TlsSession {
    connection: Connection,
    /// Bytes to send in clear before the first of TLS.
    before: Vec<u8>,
    /// Why the session failed.
    failure: Option<String>,
    /// Whether the socket had nothing more when it was last read.
    drained: bool,
    /// Whether [`news`](TlsSession::news) has returned the session's information.
    announced: bool,
}

impl std::fmt::Debug for TlsSession {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("TlsSession")
    }
}

/// A socket with the traits that rustls needs.
struct Socket<'a, S>(&'a mut S);

/// What a session needs of a socket.
pub(super) trait Plain {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize>;
    fn write_vectored(&mut self, pieces: &[IoSlice<'_>]) -> io::Result<usize>;
}

impl<S: Plain> Read for Socket<'_, S> {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        self.0.read(buffer)
    }
}

impl<S: Plain> Write for Socket<'_, S> {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        self.0.write_vectored(&[IoSlice::new(bytes)])
    }
    fn write_vectored(&mut self, pieces: &[IoSlice<'_>]) -> io::Result<usize> {
        self.0.write_vectored(pieces)
    }
    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

impl TlsSession {
    fn new(connection: Connection) -> TlsSession {
        TlsSession {
            connection,
            before: Vec::new(),
            failure: None,
            drained: false,
            announced: false,
        }
    }

    /// Sets bytes to send in clear before the session's first.
    pub(super) fn after(mut self, before: Vec<u8>) -> TlsSession {
        self.before = before;
        self
    }

    /// Takes bytes that were read from the far end before the session began. They are treated as
    /// TLS in any case.
    pub(super) fn feed(&mut self, mut bytes: &[u8]) {
        while !bytes.is_empty() && self.failure.is_none() {
            match self.connection.read_tls(&mut bytes) {
                Ok(0) => return,
                Ok(_) => self.digest(),
                Err(error) => self.failure = Some(error.to_string()),
            }
        }
    }

    /// Lets rustls process what was read.
    fn digest(&mut self) {
        if let Err(error) = self.connection.process_new_packets() {
            self.failure = Some(verify::in_words(&error));
        }
    }

    pub(super) fn read<S: Plain>(
        &mut self,
        socket: &mut S,
        buffer: &mut [u8],
    ) -> io::Result<usize> {
        let mut len = 0;
        let mut turns = READS;
        self.drained = false;
        loop {
            let ended = self.take_plaintext(buffer, &mut len);
            if len == buffer.len() {
                self.drained = false;
                return Ok(len);
            }
            if let Some(failure) = self.failure.as_ref().filter(|_| len == 0) {
                return Err(io::Error::new(io::ErrorKind::InvalidData, failure.clone()));
            }
            if ended || self.failure.is_some() {
                self.drained = false;
                return Ok(len);
            }
            if turns == 0 {
                self.drained = false;
                return match len {
                    0 => Err(io::ErrorKind::Interrupted.into()),
                    _ => Ok(len),
                };
            }
            turns -= 1;
            match self.read_socket(socket, buffer, &mut len) {
                Ok(true) => {}
                Ok(false) if len > 0 => return Ok(len),
                Ok(false) => return Err(io::ErrorKind::WouldBlock.into()),
                Err(error) if len == 0 => return Err(error),
                // The next read returns the error again.
                Err(_) => {
                    self.drained = false;
                    return Ok(len);
                }
            }
        }
    }

    /// Moves plaintext into the buffer. Returns whether the far end has ended the session.
    fn take_plaintext(&mut self, buffer: &mut [u8], len: &mut usize) -> bool {
        while let Some(space) = buffer.get_mut(*len..).filter(|space| !space.is_empty()) {
            match self.connection.reader().read(space) {
                Ok(0) => return true,
                Ok(n) => *len += n,
                // An end without close_notify counts as an end, too: many peers just close, and no
                // packet is delimited by the end of the connection, so none can be cut short
                // unnoticed.
                Err(error) => return error.kind() != io::ErrorKind::WouldBlock,
            }
        }
        false
    }

    /// Reads the socket once. Returns false if it has nothing now.
    ///
    /// Encrypted bytes are read into the back of the caller's buffer, and plaintext is written to
    /// its front. Plaintext is shorter than the bytes it came from, and less than one record was
    /// held from before, so the plaintext never overwrites encrypted bytes that are not yet
    /// decoded.
    fn read_socket<S: Plain>(
        &mut self,
        socket: &mut S,
        buffer: &mut [u8],
        len: &mut usize,
    ) -> io::Result<bool> {
        // With no plaintext yet the socket has to be read even if it seemed empty: it may have
        // ended, and there is only one event for that.
        if self.drained && *len > 0 {
            return Ok(false);
        }
        let start = *len + RECORD;
        let Some(space) = buffer
            .get_mut(start..)
            .filter(|space| space.len() >= RECORD)
        else {
            if *len > 0 {
                // Little room is left: let the caller process what it has first.
                self.drained = false;
                return Ok(false);
            }
            return self.read_little(socket);
        };
        let room = space.len();
        let read = match socket.read(space) {
            Err(error) if error.kind() == io::ErrorKind::WouldBlock => {
                self.drained = true;
                return Ok(false);
            }
            read => read?,
        };
        if read == 0 {
            // Tells rustls of the end.
            self.connection.read_tls(&mut io::empty())?;
            return Ok(true);
        }
        let end = start + read;
        let mut at = start;
        while at < end && self.failure.is_none() {
            let Some(mut rest) = buffer.get(at..end) else {
                break;
            };
            let taken = match self.connection.read_tls(&mut rest) {
                Ok(taken) => taken,
                Err(error) => {
                    // A failure of the session, since the rest of these bytes is lost.
                    self.failure = Some(error.to_string());
                    break;
                }
            };
            if taken == 0 {
                // After a close_notify.
                break;
            }
            at += taken;
            self.digest();
            let Some(front) = buffer.get_mut(..at) else {
                break;
            };
            self.take_plaintext(front, len);
        }
        self.drained = read < room;
        Ok(true)
    }

    /// Reads the socket into rustls' own buffer, where the caller's is too small for both.
    fn read_little<S: Plain>(&mut self, socket: &mut S) -> io::Result<bool> {
        match self.connection.read_tls(&mut Socket(socket)) {
            Ok(_) => {
                self.digest();
                Ok(true)
            }
            Err(error) if error.kind() == io::ErrorKind::WouldBlock => {
                self.drained = true;
                Ok(false)
            }
            Err(error) => Err(error),
        }
    }

    pub(super) fn short_read_is_all(&self) -> bool {
        self.drained
    }

    pub(super) fn wants_write(&self) -> bool {
        !self.before.is_empty() || self.connection.wants_write()
    }

    pub(super) fn flush<S: Plain>(&mut self, socket: &mut S) -> io::Result<()> {
        while !self.before.is_empty() {
            let written = socket.write_vectored(&[IoSlice::new(&self.before)])?;
            self.before.drain(..written);
        }
        self.before = Vec::new();
        while self.connection.wants_write() {
            if self.connection.write_tls(&mut Socket(socket))? == 0 {
                return Err(io::ErrorKind::WriteZero.into());
            }
        }
        Ok(())
    }

    pub(super) fn write<S: Plain>(&mut self, socket: &mut S, bytes: &[u8]) -> io::Result<usize> {
        self.flush(socket)?;
        // rustls limits how much it buffers, also before the handshake is over.
        let taken = self.connection.writer().write(bytes)?;
        if taken == 0 && !bytes.is_empty() {
            return Err(io::ErrorKind::WouldBlock.into());
        }
        match self.flush(socket) {
            Err(error) if error.kind() != io::ErrorKind::WouldBlock => Err(error),
            _ => Ok(taken),
        }
    }

    pub(super) fn finish(&mut self) {
        if self.failure.is_none() {
            self.connection.send_close_notify();
        }
    }

    /// The session's information: once, as soon as it is established.
    pub(super) fn news(&mut self) -> Option<TlsInfo> {
        if self.announced || self.connection.is_handshaking() {
            return None;
        }
        self.announced = true;
        Some(TlsInfo::of(&self.connection))
    }

    /// Why the session failed, or never began although the socket has ended.
    pub(super) fn failure(&self) -> Option<&str> {
        match &self.failure {
            Some(failure) => Some(failure),
            None if self.connection.is_handshaking() => {
                Some("the connection was lost during the TLS handshake")
            }
            None => None,
        }
    }
}

#[cfg(test)]
mod tests;
