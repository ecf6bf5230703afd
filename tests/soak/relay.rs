//! A relay of TCP connections that, while it is told to, cuts, resets, stalls and dribbles them at random
//! bytes.

use std::collections::HashMap;
use std::io::{Read as _, Write as _};
use std::net::{Shutdown, TcpListener, TcpStream};
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use rand::rngs::StdRng;
use rand::{RngExt as _, SeedableRng as _};

use crate::support::let_time_pass;

/// Relays connections from a port of its own to another one.
pub struct Relay {
    /// Where it listens.
    pub port: u16,
    shared: Arc<Shared>,
}

struct Shared {
    target: u16,
    wild: AtomicBool,
    dice: Mutex<StdRng>,
    open: Mutex<HashMap<u64, Open>>,
}

/// A connection's two ends, and how they are closed.
struct Open {
    ends: [TcpStream; 2],
    how: Shutdown,
}

impl Open {
    /// An end may be closed already.
    fn close(&self) {
        for end in &self.ends {
            let _ = end.shutdown(self.how);
        }
    }
}

/// What happens to a direction of a connection when so many bytes of it have passed.
#[derive(Debug, Clone, Copy)]
struct Fate {
    after: usize,
    what: What,
}

#[derive(Debug, Clone, Copy)]
enum What {
    /// Both ends are closed in order.
    Cut,
    /// Both ends are reset.
    Reset,
    /// Nothing passes for a while.
    Stall(Duration),
    /// The next bytes pass one by one.
    Dribble,
}

impl Relay {
    /// Relays every connection to this port of the loopback address.
    pub fn before(target: u16, seed: u64) -> Relay {
        let listener = TcpListener::bind("127.0.0.1:0").expect("a port");
        let port = listener.local_addr().expect("an address").port();
        let shared = Arc::new(Shared {
            target,
            wild: AtomicBool::new(false),
            dice: Mutex::new(StdRng::seed_from_u64(seed)),
            open: Mutex::default(),
        });
        let relay = Arc::clone(&shared);
        std::thread::spawn(move || {
            for (id, near) in listener.incoming().map_while(Result::ok).enumerate() {
                relay.connect(id as u64, near);
            }
        });
        Relay { port, shared }
    }

    /// Whether connections made from now on may come to grief.
    pub fn set_wild(&self, wild: bool) {
        self.shared.wild.store(wild, Ordering::Relaxed);
    }

    /// Cuts all connections. Returns how many there were.
    pub fn cut_all(&self) -> usize {
        let open = self.shared.open.lock().expect("the connections");
        open.values().for_each(Open::close);
        open.len()
    }
}

impl Shared {
    fn connect(self: &Arc<Shared>, id: u64, near: TcpStream) {
        // A server that is down: the client sees that its connection is closed.
        let Ok(far) = TcpStream::connect(("127.0.0.1", self.target)) else {
            return;
        };
        for end in [&near, &far] {
            end.set_nodelay(true).expect("an option");
        }
        let copy = |end: &TcpStream| end.try_clone().expect("a descriptor");
        let mut open = self.open.lock().expect("the connections");
        let ends = [copy(&near), copy(&far)];
        open.insert(
            id,
            Open {
                ends,
                how: Shutdown::Both,
            },
        );
        drop(open);
        for (from, to) in [(copy(&near), copy(&far)), (far, near)] {
            let (shared, fate) = (Arc::clone(self), self.fate());
            std::thread::spawn(move || {
                shared.pass(id, from, to, fate);
            });
        }
    }

    /// Of wild connections one direction in six comes to grief, most of them early.
    fn fate(&self) -> Option<Fate> {
        if !self.wild.load(Ordering::Relaxed) {
            return None;
        }
        let mut dice = self.dice.lock().expect("the dice");
        if !dice.random_ratio(1, 6) {
            return None;
        }
        let most = 10_usize.pow(dice.random_range(2..6));
        Some(Fate {
            after: dice.random_range(0..most),
            what: match dice.random_range(0..4) {
                0 => What::Cut,
                1 => What::Reset,
                2 => What::Stall(Duration::from_millis(dice.random_range(1..1500))),
                _ => What::Dribble,
            },
        })
    }

    fn pass(&self, id: u64, mut from: TcpStream, mut to: TcpStream, fate: Option<Fate>) {
        let mut buffer = [0; 32768];
        let (mut passed, mut fate) = (0, fate);
        while let Ok(count @ 1..) = from.read(&mut buffer) {
            let mut piece = &buffer[..count];
            if let Some(Fate { after, what }) = fate
                && passed + count > after
            {
                let (before, rest) = piece.split_at(after - passed);
                if to.write_all(before).is_err() {
                    break;
                }
                fate = None;
                piece = rest;
                match what {
                    What::Cut => break,
                    What::Reset => {
                        self.reset(id);
                        break;
                    }
                    What::Stall(time) => let_time_pass(time),
                    What::Dribble => {
                        for byte in piece.iter().take(200) {
                            let _ = to.write_all(&[*byte]);
                        }
                        piece = piece.get(200..).unwrap_or_default();
                    }
                }
            }
            if to.write_all(piece).is_err() {
                break;
            }
            passed += count;
        }
        // The end of one direction is that of the other: nobody here closes halfway.
        if let Some(open) = self.open.lock().expect("the connections").remove(&id) {
            open.close();
        }
    }

    /// Has the ends reset once the last descriptor of each is closed: there must be no shutdown that says
    /// goodbye before.
    fn reset(&self, id: u64) {
        if let Some(open) = self.open.lock().expect("the connections").get_mut(&id) {
            open.how = Shutdown::Read;
            for end in &open.ends {
                let _ = socket2::SockRef::from(end).set_linger(Some(Duration::ZERO));
            }
        }
    }
}
