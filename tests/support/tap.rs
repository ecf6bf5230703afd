//! A relay that records the bytes that pass, to compare them with what was logged.

use std::io::{Read, Write};
use std::net::{Shutdown, TcpListener, TcpStream};
use std::sync::{Arc, Mutex};

/// The bytes of one connection so far.
#[derive(Default)]
pub struct Recording {
    /// From the client's end to the server's.
    pub said: Mutex<Vec<u8>>,
    /// From the server's end to the client's.
    pub heard: Mutex<Vec<u8>>,
}

/// A relay from a port of its own to another one.
pub struct Tap {
    /// Where it listens.
    pub port: u16,
    recordings: Arc<Mutex<Vec<Arc<Recording>>>>,
}

impl Tap {
    /// Relays every connection to this port of the loopback address.
    pub fn before(target: u16) -> Tap {
        let listener = TcpListener::bind("127.0.0.1:0").expect("a port");
        let port = listener.local_addr().expect("an address").port();
        let recordings = Arc::<Mutex<Vec<Arc<Recording>>>>::default();
        let list = Arc::clone(&recordings);
        std::thread::spawn(move || {
            for near in listener.incoming().map_while(Result::ok) {
                let Ok(far) = TcpStream::connect(("127.0.0.1", target)) else {
                    continue;
                };
                let recording = Arc::new(Recording::default());
                list.lock().unwrap().push(Arc::clone(&recording));
                let (near2, far2) = (near.try_clone().unwrap(), far.try_clone().unwrap());
                let recording2 = Arc::clone(&recording);
                std::thread::spawn(move || relay(near, far, &recording.said));
                std::thread::spawn(move || relay(far2, near2, &recording2.heard));
            }
        });
        Tap { port, recordings }
    }

    /// Both directions of every connection so far, the client's first.
    pub fn recordings(&self) -> Vec<(Vec<u8>, Vec<u8>)> {
        let all = self.recordings.lock().unwrap();
        all.iter()
            .map(|one| {
                let said = one.said.lock().unwrap().clone();
                (said, one.heard.lock().unwrap().clone())
            })
            .collect()
    }
}

fn relay(mut from: TcpStream, mut to: TcpStream, log: &Mutex<Vec<u8>>) {
    let mut buffer = [0; 65536];
    while let Ok(count) = from.read(&mut buffer) {
        if count == 0 {
            break;
        }
        log.lock().unwrap().extend_from_slice(&buffer[..count]);
        if to.write_all(&buffer[..count]).is_err() {
            break;
        }
    }
    let _ = to.shutdown(Shutdown::Write);
    let _ = from.shutdown(Shutdown::Read);
}
