//! Name look-ups, off the loop.

use std::collections::{HashMap, VecDeque};
use std::io;
use std::net::{IpAddr, Ipv6Addr, SocketAddr, ToSocketAddrs};
use std::sync::mpsc::{self, Receiver, Sender};
use std::sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError};
use std::thread;
use std::time::{Duration, Instant};

use super::WakeHandle;

/// How many names may wait for a thread or for its answer, how many requests for one of them, and how many
/// answers are kept.
const MAX_NAMES: usize = 1024;
const MAX_REQUESTS: usize = 16_384;

/// How many look-ups run at a time. One takes a thread for as long as the name servers like: many
/// seconds if they do not answer.
const MAX_THREADS: usize = 16;

/// How long an answer is kept. (The system does not tell its lifetime.)
const KEEP: Duration = Duration::from_secs(5);
/// How long a failure is kept.
const KEEP_FAILURE: Duration = Duration::from_secs(1);

/// The answer to one request: its key, and the addresses (at least one) or why there are none. The families of
/// addresses take turns, so that where one of them leads nowhere the other is tried soon.
pub type Reply = (u32, io::Result<Vec<SocketAddr>>);

/// Finds the addresses of a name, with any port.
type Lookup = fn(&str) -> io::Result<Vec<SocketAddr>>;

/// Resolves host names on threads of its own, because the system's resolver blocks.
///
/// Equal names that are asked for at the same time are looked up once, and answers are kept for a few seconds.
/// Threads start as they are needed and end when the resolver is dropped. The process does not wait for a
/// look-up in order to exit.
#[derive(Debug)]
pub struct Resolver {
    wake: WakeHandle,
    lookup: Lookup,
    threads: usize,
    queue: Arc<Queue>,
    answers: (Sender<Answer>, Receiver<Answer>),
    /// Who waits for which name.
    waiting: HashMap<Arc<str>, Vec<Request>>,
    /// The names of requests.
    names: HashMap<u32, Arc<str>>,
    known: HashMap<Arc<str>, Known>,
    /// Requests whose answers were known.
    ready: VecDeque<Reply>,
}

#[derive(Debug, Clone, Copy)]
struct Request {
    port: u16,
    key: u32,
}

type Answer = (Arc<str>, io::Result<Vec<SocketAddr>>);

/// An answer that is kept.
#[derive(Debug)]
struct Known {
    until: Instant,
    answer: Result<Vec<SocketAddr>, (io::ErrorKind, String)>,
}

impl Known {
    fn new(answer: io::Result<Vec<SocketAddr>>) -> Known {
        let keep = match answer {
            Ok(_) => KEEP,
            Err(_) => KEEP_FAILURE,
        };
        Known {
            until: Instant::now() + keep,
            answer: answer.map_err(|error| (error.kind(), error.to_string())),
        }
    }

    fn reply(&self, request: Request) -> Reply {
        let answer = match &self.answer {
            Ok(addresses) => Ok(addresses
                .iter()
                .map(|address| with_port(*address, request.port))
                .collect()),
            Err((kind, text)) => Err(io::Error::new(*kind, text.clone())),
        };
        (request.key, answer)
    }
}

fn with_port(mut address: SocketAddr, port: u16) -> SocketAddr {
    address.set_port(port);
    address
}

/// The names that wait for a thread.
#[derive(Debug, Default)]
struct Queue {
    names: Mutex<Names>,
    more: Condvar,
}

#[derive(Debug, Default)]
struct Names {
    waiting: VecDeque<Arc<str>>,
    /// How many threads wait for a name.
    idle: usize,
    /// The resolver is gone.
    closed: bool,
}

impl Queue {
    fn names(&self) -> MutexGuard<'_, Names> {
        self.names.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// The next name; `None` at the end.
    fn take(&self) -> Option<Arc<str>> {
        let mut names = self.names();
        loop {
            if names.closed {
                return None;
            }
            if let Some(name) = names.waiting.pop_front() {
                return Some(name);
            }
            names.idle += 1;
            names = self
                .more
                .wait(names)
                .unwrap_or_else(PoisonError::into_inner);
            names.idle -= 1;
        }
    }
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
            threads: 0,
            queue: Arc::default(),
            answers: mpsc::channel(),
            waiting: HashMap::new(),
            names: HashMap::new(),
            known: HashMap::new(),
            ready: VecDeque::new(),
        }
    }

    /// Asks for the addresses of `host`, each to come with `port`. The answer carries `key`, which no other
    /// request that still waits has.
    ///
    /// Numeric addresses need no thread: ask [`numeric_address`] first. Fails at once, with
    /// `WouldBlock`, if too many requests are waiting.
    pub fn request(&mut self, host: &str, port: u16, key: u32) -> io::Result<()> {
        let request = Request { port, key };
        let name: Arc<str> = host.to_ascii_lowercase().into();
        if let Some(known) = self
            .known
            .get(&name)
            .filter(|known| known.until > Instant::now())
        {
            self.ready.push_back(known.reply(request));
            return self.wake.wake();
        }
        if self.names.len() >= MAX_REQUESTS || self.waiting.len() >= MAX_NAMES {
            return Err(io::Error::new(
                io::ErrorKind::WouldBlock,
                "too many host names are waiting to be resolved",
            ));
        }
        if let Some(requests) = self.waiting.get_mut(&name) {
            requests.push(request);
        } else {
            self.look_up(&name)?;
            self.waiting.insert(name.clone(), vec![request]);
        }
        self.names.insert(key, name);
        Ok(())
    }

    /// Nobody waits for the answer to this request any more. (It is known that a look-up under way cannot be
    /// ended; one that has not begun does not begin if it was for nobody else.)
    pub fn cancel(&mut self, key: u32) {
        let Some(name) = self.names.remove(&key) else {
            return;
        };
        let Some(requests) = self.waiting.get_mut(&name) else {
            return;
        };
        requests.retain(|request| request.key != key);
        if requests.is_empty() {
            let mut names = self.queue.names();
            let before = names.waiting.len();
            names.waiting.retain(|waiting| *waiting != name);
            if names.waiting.len() < before {
                self.waiting.remove(&name);
            }
        }
    }

    /// The answers that have arrived, without waiting for more.
    pub fn poll_replies(&mut self) -> Vec<Reply> {
        let mut replies: Vec<Reply> = self.ready.drain(..).collect();
        while let Ok((name, answer)) = self.answers.1.try_recv() {
            let known = Known::new(answer);
            for request in self.waiting.remove(&name).unwrap_or_default() {
                self.names.remove(&request.key);
                replies.push(known.reply(request));
            }
            self.keep(name, known);
        }
        replies
    }

    fn keep(&mut self, name: Arc<str>, known: Known) {
        if self.known.len() >= MAX_NAMES {
            let now = Instant::now();
            self.known.retain(|_, known| known.until > now);
        }
        if self.known.len() < MAX_NAMES {
            self.known.insert(name, known);
        }
    }

    /// Has a thread look the name up: one that is idle, a new one, or the first that will have time.
    fn look_up(&mut self, name: &Arc<str>) -> io::Result<()> {
        let mut names = self.queue.names();
        if names.idle <= names.waiting.len() && self.threads < MAX_THREADS {
            let queue = self.queue.clone();
            let answers = self.answers.0.clone();
            let wake = self.wake.clone();
            let lookup = self.lookup;
            // Not joined, hence detached: a look-up can hang for as long as the name server likes.
            let started = thread::Builder::new()
                .name("resolver".to_owned())
                .spawn(move || serve(&queue, &answers, &wake, lookup));
            match started {
                Ok(_) => self.threads += 1,
                Err(error) if self.threads == 0 => return Err(error),
                Err(_) => {}
            }
        }
        names.waiting.push_back(name.clone());
        self.queue.more.notify_one();
        Ok(())
    }
}

impl Drop for Resolver {
    fn drop(&mut self) {
        self.queue.names().closed = true;
        self.queue.more.notify_all();
    }
}

/// A thread: answers until the resolver is dropped.
fn serve(queue: &Queue, answers: &Sender<Answer>, wake: &WakeHandle, lookup: Lookup) {
    while let Some(name) = queue.take() {
        let answer = lookup(&name).map(interleaved);
        if answers.send((name, answer)).is_err() {
            return;
        }
        if let Err(error) = wake.wake() {
            log::error!("cannot wake the loop for the addresses of a name: {error}");
        }
    }
}

/// The addresses in their order, but so that the two families take turns, beginning with the first one's.
fn interleaved(addresses: Vec<SocketAddr>) -> Vec<SocketAddr> {
    let first_is_v4 = addresses.first().is_some_and(SocketAddr::is_ipv4);
    let (first, second): (Vec<_>, Vec<_>) = addresses
        .into_iter()
        .partition(|address| address.is_ipv4() == first_is_v4);
    let (mut first, mut second) = (first.into_iter(), second.into_iter());
    let mut ordered = Vec::with_capacity(first.len() + second.len());
    loop {
        let before = ordered.len();
        ordered.extend(first.next());
        ordered.extend(second.next());
        if ordered.len() == before {
            return ordered;
        }
    }
}

fn system_lookup(host: &str) -> io::Result<Vec<SocketAddr>> {
    let addresses: Vec<_> = (host, 0).to_socket_addrs()?.collect();
    if addresses.is_empty() {
        return Err(io::Error::new(
            io::ErrorKind::NotFound,
            "the name has no address",
        ));
    }
    Ok(addresses)
}

/// The address of a host that is written in digits, IPv6 with or without brackets, and with or without a
/// scope (`fe80::1%eth0`, `fe80::1%2`); `None` for a name, which has to go through a [`Resolver`].
pub fn numeric_address(host: &str, port: u16) -> Option<SocketAddr> {
    let bracketed = host
        .strip_prefix('[')
        .and_then(|rest| rest.strip_suffix(']'));
    let bare = bracketed.unwrap_or(host);
    if let Some((ip, scope)) = bare.split_once('%') {
        ip.parse::<Ipv6Addr>().ok().filter(|_| !scope.is_empty())?;
        // The system knows the interfaces. It asks nobody else, as the address is in digits.
        return (bare, port).to_socket_addrs().ok()?.next();
    }
    let ip = match bracketed {
        Some(inside) => IpAddr::V6(inside.parse().ok()?),
        None => host.parse().ok()?,
    };
    Some(SocketAddr::new(ip, port))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::net::Poller;
    use std::sync::atomic::{AtomicUsize, Ordering};

    /// Waits like the loop does: for the poller, then takes what there is.
    fn wait_for(count: usize, poller: &mut Poller, resolver: &mut Resolver) -> Vec<Reply> {
        let deadline = Instant::now() + Duration::from_secs(20);
        let mut replies: Vec<Reply> = resolver.poll_replies();
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

    fn fake_lookup(host: &str) -> io::Result<Vec<SocketAddr>> {
        match host {
            "there" => Ok(vec![SocketAddr::from(([192, 0, 2, 1], 0))]),
            "hangs" | "hangs2" | "hangs3" | "hangs4" | "hangs5" => loop {
                thread::park();
            },
            _ => Err(io::Error::new(io::ErrorKind::NotFound, "no such name")),
        }
    }

    fn resolver(lookup: Lookup) -> (Poller, Resolver) {
        let poller = Poller::new().unwrap();
        let resolver = Resolver::with_lookup(poller.wake_handle(), lookup);
        (poller, resolver)
    }

    #[test]
    fn answers_have_the_key_and_the_port() {
        let (mut poller, mut resolver) = resolver(fake_lookup);
        resolver.request("there", 3306, 1).unwrap();
        resolver.request("nowhere", 3306, 2).unwrap();
        resolver.request("There", 3307, 3).unwrap();

        let mut replies = wait_for(3, &mut poller, &mut resolver);
        replies.sort_by_key(|reply| reply.0);
        let address = |reply: &Reply| reply.1.as_ref().unwrap()[0].to_string();
        assert_eq!(
            (replies[0].0, address(&replies[0])),
            (1, "192.0.2.1:3306".to_owned())
        );
        assert!(replies[1].1.is_err());
        assert_eq!(
            (replies[2].0, address(&replies[2])),
            (3, "192.0.2.1:3307".to_owned())
        );
        assert!(resolver.names.is_empty() && resolver.waiting.is_empty());
    }

    #[test]
    fn names_that_hang_keep_no_other_waiting() {
        let (mut poller, mut resolver) = resolver(fake_lookup);
        for (key, name) in (10..).zip(["hangs", "hangs2", "hangs3", "hangs4", "hangs5", "hangs"]) {
            resolver.request(name, 1, key).unwrap();
        }
        resolver.request("there", 1, 1).unwrap();
        assert_eq!(wait_for(1, &mut poller, &mut resolver)[0].0, 1);
        assert_eq!(resolver.threads, 6, "equal names are looked up once");
    }

    #[test]
    fn equal_names_are_looked_up_once_and_answers_are_kept() {
        static LOOKUPS: AtomicUsize = AtomicUsize::new(0);
        fn counted(host: &str) -> io::Result<Vec<SocketAddr>> {
            LOOKUPS.fetch_add(1, Ordering::SeqCst);
            // So that the requests below meet.
            thread::sleep(Duration::from_millis(50));
            fake_lookup(host)
        }
        let (mut poller, mut resolver) = resolver(counted);
        for key in 0..100 {
            resolver.request("there", 1, key).unwrap();
        }
        assert_eq!(wait_for(100, &mut poller, &mut resolver).len(), 100);
        resolver.request("there", 2, 100).unwrap();
        let replies = wait_for(1, &mut poller, &mut resolver);
        assert_eq!(replies[0].1.as_ref().unwrap()[0].port(), 2);
        assert_eq!(LOOKUPS.load(Ordering::SeqCst), 1);

        // Until they are too old.
        for known in resolver.known.values_mut() {
            assert!(known.until <= Instant::now() + KEEP);
            known.until = Instant::now();
        }
        resolver.request("there", 2, 101).unwrap();
        wait_for(1, &mut poller, &mut resolver);
        assert_eq!(LOOKUPS.load(Ordering::SeqCst), 2);

        resolver.request("nowhere", 2, 102).unwrap();
        wait_for(1, &mut poller, &mut resolver);
        let known = &resolver.known["nowhere"];
        assert!(known.until <= Instant::now() + KEEP_FAILURE);
    }

    #[test]
    fn a_request_that_is_cancelled_is_not_answered() {
        fn slow(host: &str) -> io::Result<Vec<SocketAddr>> {
            thread::sleep(Duration::from_millis(20));
            fake_lookup(host)
        }
        let (mut poller, mut resolver) = resolver(slow);
        resolver.request("there", 1, 1).unwrap();
        resolver.request("there", 1, 2).unwrap();
        resolver.cancel(1);
        resolver.cancel(7);
        let replies = wait_for(1, &mut poller, &mut resolver);
        assert_eq!(replies.iter().map(|reply| reply.0).collect::<Vec<_>>(), [2]);
        assert!(resolver.names.is_empty() && resolver.waiting.is_empty());
    }

    #[test]
    fn a_name_that_nobody_waits_for_is_not_looked_up() {
        fn hang(_: &str) -> io::Result<Vec<SocketAddr>> {
            loop {
                thread::park();
            }
        }
        let (_poller, mut resolver) = resolver(hang);
        for key in 0..=MAX_THREADS as u32 {
            resolver.request(&key.to_string(), 1, key).unwrap();
        }
        // The last may have been taken by none of the threads, which all hang.
        resolver.cancel(MAX_THREADS as u32);
        let last: Arc<str> = MAX_THREADS.to_string().into();
        assert!(!resolver.queue.names().waiting.contains(&last));
        assert!(!resolver.waiting.contains_key(&last));
        assert_eq!(resolver.threads, MAX_THREADS);
    }

    #[test]
    fn starts_no_thread_before_it_is_needed() {
        let poller = Poller::new().unwrap();
        let mut resolver = Resolver::new(poller.wake_handle());
        assert_eq!(resolver.threads, 0);
        assert_eq!(resolver.poll_replies().len(), 0);
    }

    #[test]
    fn asks_the_system() {
        let mut poller = Poller::new().unwrap();
        let mut resolver = Resolver::new(poller.wake_handle());
        resolver.request("localhost", 80, 9).unwrap();
        resolver.request("no\0name", 80, 10).unwrap();
        let mut replies = wait_for(2, &mut poller, &mut resolver);
        replies.sort_by_key(|reply| reply.0);
        let addresses = replies[0].1.as_ref().unwrap();
        assert!(
            addresses
                .iter()
                .all(|address| address.ip().is_loopback() && address.port() == 80)
        );
        assert!(replies[1].1.is_err());
    }

    #[test]
    fn what_waits_is_bounded() {
        let (_poller, mut resolver) = resolver(|_| {
            loop {
                thread::park();
            }
        });
        let refused = (0..=MAX_NAMES as u32).find_map(|key| {
            let name = key.to_string();
            resolver.request(&name, 1, key).err()
        });
        assert_eq!(refused.unwrap().kind(), io::ErrorKind::WouldBlock);
        let (_poller, mut resolver) = self::resolver(|_| {
            loop {
                thread::park();
            }
        });
        let refused = (0..=MAX_REQUESTS as u32).find_map(|key| resolver.request("x", 1, key).err());
        assert_eq!(refused.unwrap().kind(), io::ErrorKind::WouldBlock);
    }

    #[test]
    fn threads_end_with_the_resolver() {
        let poller = Poller::new().unwrap();
        let queue = Arc::new(Queue::default());
        let (answers, _kept) = mpsc::channel();
        let (wake, threads) = (poller.wake_handle(), queue.clone());
        let thread = thread::spawn(move || serve(&threads, &answers, &wake, fake_lookup));
        queue.names().closed = true;
        queue.more.notify_all();
        thread.join().unwrap();
    }

    #[test]
    fn families_take_turns() {
        let order = |hosts: &[&str]| {
            let addresses = hosts.iter().map(|host| numeric_address(host, 1).unwrap());
            let ordered = interleaved(addresses.collect());
            ordered
                .iter()
                .map(|address| address.ip().to_string())
                .collect::<Vec<_>>()
        };
        assert_eq!(
            order(&["::1", "::2", "::3", "1.1.1.1", "2.2.2.2"]),
            ["::1", "1.1.1.1", "::2", "2.2.2.2", "::3"]
        );
        assert_eq!(order(&["1.1.1.1", "::1", "::2"]), ["1.1.1.1", "::1", "::2"]);
        assert_eq!(order(&["1.1.1.1", "2.2.2.2"]), ["1.1.1.1", "2.2.2.2"]);
        assert!(order(&[]).is_empty());
    }

    #[test]
    fn knows_numbers_from_names() {
        let address = |host| numeric_address(host, 1).map(|address| address.to_string());
        assert_eq!(address("127.0.0.1").as_deref(), Some("127.0.0.1:1"));
        assert_eq!(address("::1").as_deref(), Some("[::1]:1"));
        assert_eq!(address("[::1]").as_deref(), Some("[::1]:1"));
        assert_eq!(address("::1%1").as_deref(), Some("[::1%1]:1"));
        assert_eq!(address("[fe80::1%1]").as_deref(), Some("[fe80::1%1]:1"));
        assert_eq!(address("fe80::1%lo").as_deref(), Some("[fe80::1%1]:1"));
        for name in [
            "",
            "localhost",
            "[127.0.0.1]",
            "[::1",
            "::1]",
            "1.2.3",
            "[]",
            "fe80::1%",
            "fe80::1%no-such-interface",
            "127.0.0.1%lo",
            "x%lo",
        ] {
            assert_eq!(address(name), None, "{name:?}");
        }
    }
}
