//! Sessions on scripted sockets.

use std::collections::VecDeque;

use super::*;

/// A socket that returns these pieces, one for each read, and counts its reads.
struct Script {
    pieces: VecDeque<Vec<u8>>,
    reads: usize,
}

impl Plain for Script {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        self.reads += 1;
        let piece = self.pieces.pop_front();
        let piece = piece.ok_or(io::ErrorKind::WouldBlock)?;
        buffer[..piece.len()].copy_from_slice(&piece);
        Ok(piece.len())
    }
    fn write_vectored(&mut self, _: &[IoSlice<'_>]) -> io::Result<usize> {
        Err(io::ErrorKind::WouldBlock.into())
    }
}

fn session() -> TlsSession {
    let server = TlsServer::new(&TlsServerOptions::default()).unwrap();
    server.session().unwrap()
}

/// The beginning of a record that is never complete.
const BEGUN: [u8; 8] = [0x16, 3, 1, 0x40, 0, 1, 0, 0];

#[test]
fn the_end_behind_half_a_record_is_seen_at_once() {
    // Reading into large buffers and into small ones takes different paths.
    for room in [256 << 10, 4 << 10] {
        let mut socket = Script {
            pieces: [BEGUN.to_vec(), Vec::new()].into(),
            reads: 0,
        };
        let read = session().read(&mut socket, &mut vec![0; room]);
        let blocks = |error: &io::Error| error.kind() == io::ErrorKind::WouldBlock;
        assert!(!read.as_ref().is_err_and(blocks), "{room}: {read:?}");
        assert_eq!(socket.reads, 2);
    }
}

#[test]
fn what_yields_nothing_is_read_but_so_far() {
    for room in [256 << 10, 4 << 10] {
        let mut pieces = VecDeque::from([BEGUN.to_vec()]);
        pieces.extend(std::iter::repeat_n(vec![0], 100));
        let mut socket = Script { pieces, reads: 0 };
        let mut session = session();
        for turn in 1..10 {
            let error = session.read(&mut socket, &mut vec![0; room]).unwrap_err();
            assert_eq!(error.kind(), io::ErrorKind::Interrupted);
            assert_eq!(socket.reads, turn * READS);
        }
    }
}
