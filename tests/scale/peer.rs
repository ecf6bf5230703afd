//! One end of a connection among thousands: packets in and out of a socket that never blocks.

use std::io::{self, Read, Write};

use mio::net::TcpStream;
use rustls::ClientConnection;

use crate::support::wire::frames;

/// A socket, and what was read and not yet taken, or said and not yet written.
pub struct Peer {
    /// To be registered for both directions, edge-triggered.
    pub socket: TcpStream,
    tls: Option<Box<ClientConnection>>,
    input: Vec<u8>,
    output: Vec<u8>,
}

impl Peer {
    pub fn new(socket: TcpStream) -> Peer {
        // Not all systems have it on a socket that is still connecting.
        let _ = socket.set_nodelay(true);
        Peer {
            socket,
            tls: None,
            input: Vec::new(),
            output: Vec::new(),
        }
    }

    /// What is said from now on goes through TLS, and so does what is heard.
    pub fn begin_tls(&mut self, tls: ClientConnection) {
        self.tls = Some(Box::new(tls));
    }

    /// Reads what there is. Whether the far end may say more: it has not closed.
    pub fn receive(&mut self) -> bool {
        let mut buffer = [0; 16384];
        loop {
            match self.socket.read(&mut buffer) {
                Ok(0) => return false,
                Ok(count) => self.take(&buffer[..count]),
                Err(error) if error.kind() == io::ErrorKind::WouldBlock => return true,
                Err(error) if error.kind() == io::ErrorKind::NotConnected => return true,
                Err(_) => return false,
            }
        }
    }

    fn take(&mut self, mut bytes: &[u8]) {
        let Some(tls) = &mut self.tls else {
            self.input.extend_from_slice(bytes);
            return;
        };
        while !bytes.is_empty() {
            tls.read_tls(&mut bytes).expect("room for a record");
            tls.process_new_packets().expect("TLS");
            // Without more to read it says so by an error.
            let _ = tls.reader().read_to_end(&mut self.input);
        }
    }

    /// The next whole packet, and its sequence number.
    pub fn packet(&mut self) -> Option<(u8, Vec<u8>)> {
        let &[a, b, c, seq, ref rest @ ..] = &self.input[..] else {
            return None;
        };
        let len = u32::from_le_bytes([a, b, c, 0]) as usize;
        let payload = rest.get(..len)?.to_vec();
        self.input.drain(..4 + len);
        Some((seq, payload))
    }

    /// Queues a packet.
    pub fn say(&mut self, mut seq: u8, payload: &[u8]) {
        let bytes = frames(payload, &mut seq);
        match &mut self.tls {
            Some(tls) => tls.writer().write_all(&bytes).expect("room for a packet"),
            None => self.output.extend_from_slice(&bytes),
        }
    }

    /// Writes what is queued, as far as the socket takes it now. An error shows when reading.
    pub fn send(&mut self) {
        if let Some(tls) = &mut self.tls {
            while tls.wants_write() {
                tls.write_tls(&mut self.output).expect("memory");
            }
        }
        while !self.output.is_empty() {
            match self.socket.write(&self.output) {
                Ok(count) => drop(self.output.drain(..count)),
                Err(_) => return,
            }
        }
        // Nine thousand of them that are idle are to be small.
        self.output = Vec::new();
        if self.input.is_empty() {
            self.input = Vec::new();
        }
    }
}
