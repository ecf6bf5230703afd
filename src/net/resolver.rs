//! Name look-ups, off the loop.

use std::io;
use std::net::{IpAddr, SocketAddr, ToSocketAddrs};
use std::sync::mpsc::{self, Receiver, Sender, SyncSender, TrySendError};
use std::thread;

use super::WakeHandle;

/// How many look-ups may wait for the thread. When a name server hangs, each takes seconds: a
/// longer queue would only hold requests whose connects have timed out.
const QUEUE: usize = 1024;

/// The answer to one request: its key, and the addresses (at least one) or why there are none.
pub type Reply = (u32, io::Result<Vec<SocketAddr>>);

type Lookup = fn(&str, u16) -> io::Result<Vec<SocketAddr>>;

/// Resolves host names on a thread of its own, because the system's resolver blocks.
///
/// The thread starts with the first request, and ends when the resolver is dropped. The process
/// does not wait for a look-up in order to exit.
#[derive(Debug)]
pub struct Resolver {
    wake: WakeHandle,
    lookup: Lookup,
    requests: Option<SyncSender<Request>>,
    replies: (Sender<Reply>, Receiver<Reply>),
}

#[derive(Debug)]
struct Request {
    host: String,
    port: u16,
    key: u32,
}

impl Resolver {
    /// A resolver that uses `wake` to tell the loop of each answer.
    pub fn new(wake: WakeHandle) -> Self {
        Resolver::with_lookup(wake, system_lookup)
    }

    fn with_lookup(wake: WakeHandle, lookup: Lookup) -> Self {
        Resolver {
            wake,
            lookup,
            requests: None,
            replies: mpsc::channel(),
        }
    }

    /// Asks for the addresses of `host`, each to come with `port`. The answer carries `key`.
    ///
    /// Numeric addresses need no thread: ask [`numeric_address`] first. Fails at once, with
    /// `WouldBlock`, if too many requests are waiting.
    pub fn request(&mut self, host: &str, port: u16, key: u32) -> io::Result<()> {
        let requests = match &self.requests {
            Some(requests) => requests,
            None => self.requests.insert(self.start()?),
        };
        let request = Request {
            host: host.to_owned(),
            port,
            key,
        };
        match requests.try_send(request) {
            Ok(()) => Ok(()),
            Err(TrySendError::Full(_)) => Err(io::Error::new(
                io::ErrorKind::WouldBlock,
                "too many host names are waiting to be resolved",
            )),
            Err(TrySendError::Disconnected(_)) => {
                // The thread ends only after the sender is dropped, so this is a bug. The next
                // request starts a new thread.
                self.requests = None;
                Err(io::Error::other("the resolver's thread has died"))
            }
        }
    }

    /// The answers that have arrived, without waiting for more.
    pub fn poll_replies(&self) -> impl Iterator<Item = Reply> + '_ {
        self.replies.1.try_iter()
    }

    fn start(&self) -> io::Result<SyncSender<Request>> {
        let (sender, receiver) = mpsc::sync_channel(QUEUE);
        let replies = self.replies.0.clone();
        let wake = self.wake.clone();
        let lookup = self.lookup;
        // Not joined, hence detached: a look-up can hang for as long as the name server likes.
        thread::Builder::new()
            .name("resolver".to_owned())
            .spawn(move || serve(&receiver, &replies, &wake, lookup))?;
        Ok(sender)
    }
}

/// Answers requests until the resolver is dropped.
fn serve(requests: &Receiver<Request>, replies: &Sender<Reply>, wake: &WakeHandle, lookup: Lookup) {
    for Request { host, port, key } in requests {
        let answer = lookup(&host, port);
        if replies.send((key, answer)).is_err() {
            return;
        }
        if let Err(error) = wake.wake() {
            log::error!("cannot wake the loop for the address of {host}: {error}");
        }
    }
}

fn system_lookup(host: &str, port: u16) -> io::Result<Vec<SocketAddr>> {
    let addresses: Vec<_> = (host, port).to_socket_addrs()?.collect();
    if addresses.is_empty() {
        return Err(io::Error::new(
            io::ErrorKind::NotFound,
            "the name has no address",
        ));
    }
    Ok(addresses)
}

/// The address of a host that is written in digits, IPv6 with or without brackets; `None` for a
/// name, which has to go through a [`Resolver`].
pub fn numeric_address(host: &str, port: u16) -> Option<SocketAddr> {
    let bare = host
        .strip_prefix('[')
        .and_then(|rest| rest.strip_suffix(']'));
    let ip = match bare {
        Some(inside) => IpAddr::V6(inside.parse().ok()?),
        None => host.parse().ok()?,
    };
    Some(SocketAddr::new(ip, port))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::net::Poller;
    use std::time::{Duration, Instant};

    /// Waits like the loop does: for the poller, then takes what there is.
    fn wait_for(count: usize, poller: &mut Poller, resolver: &Resolver) -> Vec<Reply> {
        let deadline = Instant::now() + Duration::from_secs(20);
        let mut replies: Vec<Reply> = resolver.poll_replies().collect();
        while replies.len() < count {
            assert!(
                Instant::now() < deadline,
                "{count} replies expected, got {replies:?}"
            );
            poller
                .wait(Some(Duration::from_secs(1)), &mut Vec::new())
                .unwrap();
            replies.extend(resolver.poll_replies());
        }
        replies
    }

    fn fake_lookup(host: &str, port: u16) -> io::Result<Vec<SocketAddr>> {
        match host {
            "there" => Ok(vec![SocketAddr::from(([192, 0, 2, 1], port))]),
            _ => Err(io::ErrorKind::NotFound.into()),
        }
    }

    #[test]
    fn answers_in_order_with_the_key() {
        let mut poller = Poller::new().unwrap();
        let mut resolver = Resolver::with_lookup(poller.wake_handle(), fake_lookup);
        resolver.request("there", 3306, 1).unwrap();
        resolver.request("nowhere", 3306, 2).unwrap();

        let replies = wait_for(2, &mut poller, &resolver);
        assert_eq!(replies[0].0, 1);
        assert_eq!(
            replies[0].1.as_ref().unwrap(),
            &["192.0.2.1:3306".parse().unwrap()]
        );
        assert_eq!(replies[1].0, 2);
        assert!(replies[1].1.is_err());
    }

    #[test]
    fn starts_no_thread_before_it_is_needed() {
        let poller = Poller::new().unwrap();
        let resolver = Resolver::new(poller.wake_handle());
        assert!(resolver.requests.is_none());
        assert_eq!(resolver.poll_replies().count(), 0);
    }

    #[test]
    fn asks_the_system() {
        let mut poller = Poller::new().unwrap();
        let mut resolver = Resolver::new(poller.wake_handle());
        resolver.request("localhost", 80, 9).unwrap();
        resolver.request("no\0name", 80, 10).unwrap();
        let replies = wait_for(2, &mut poller, &resolver);
        let addresses = replies[0].1.as_ref().unwrap();
        assert!(addresses.iter().all(|address| address.ip().is_loopback()));
        assert!(replies[1].1.is_err());
    }

    #[test]
    fn the_queue_is_bounded() {
        fn hang(_: &str, _: u16) -> io::Result<Vec<SocketAddr>> {
            loop {
                thread::park();
            }
        }
        let poller = Poller::new().unwrap();
        let mut resolver = Resolver::with_lookup(poller.wake_handle(), hang);
        // The thread may have taken one already.
        let refused = (0..=QUEUE as u32 + 1).find_map(|key| resolver.request("x", 1, key).err());
        assert_eq!(refused.unwrap().kind(), io::ErrorKind::WouldBlock);
    }

    #[test]
    fn the_thread_ends_with_the_resolver() {
        let poller = Poller::new().unwrap();
        let (sender, receiver) = mpsc::sync_channel(1);
        let (replies, _kept) = mpsc::channel();
        let wake = poller.wake_handle();
        let thread = thread::spawn(move || serve(&receiver, &replies, &wake, fake_lookup));
        drop(sender);
        thread.join().unwrap();
    }

    #[test]
    fn knows_numbers_from_names() {
        let address = |host| numeric_address(host, 1).map(|address| address.to_string());
        assert_eq!(address("127.0.0.1").as_deref(), Some("127.0.0.1:1"));
        assert_eq!(address("::1").as_deref(), Some("[::1]:1"));
        assert_eq!(address("[::1]").as_deref(), Some("[::1]:1"));
        for name in [
            "",
            "localhost",
            "[127.0.0.1]",
            "[::1",
            "::1]",
            "1.2.3",
            "[]",
        ] {
            assert_eq!(address(name), None, "{name:?}");
        }
    }
}
