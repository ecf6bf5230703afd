//! The scenarios. Each gets a freshly started proxy of its own, or none.

use std::io::{Error, Result};
use std::net::SocketAddr;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering::Relaxed};
use std::thread::{self, sleep};
use std::time::{Duration, Instant};

use crate::client::Client;
use crate::process;

/// The sizes of the scenarios.
pub struct Size {
    /// Rows of the long select.
    pub rows: u64,
    /// Rows of the table of point selects.
    pub points: u64,
    /// How long point selects are counted.
    pub window: Duration,
    /// Connections made to time one.
    pub connections: u64,
    /// Connections held idle.
    pub idle: u64,
    /// The same of a pool's clients.
    pub pooled_idle: u64,
    /// Clients of a pool that ask.
    pub pooled: u64,
    /// For how long the stalling client stops reading.
    pub stall: Duration,
}

impl Size {
    pub const FULL: Self = Self {
        rows: 8_400_000,
        points: 10_000,
        window: Duration::from_secs(3),
        connections: 4000,
        idle: 1000,
        pooled_idle: 5000,
        pooled: 1000,
        stall: Duration::from_secs(10),
    };

    pub const QUICK: Self = Self {
        rows: 2_000_000,
        points: 1000,
        window: Duration::from_millis(300),
        connections: 200,
        idle: 100,
        pooled_idle: 500,
        pooled: 100,
        stall: Duration::from_secs(1),
    };

    fn long_select(&self) -> String {
        format!(
            "SELECT seq, seq % 1000, 'abcdefghijklmnop' FROM seq_1_to_{}",
            self.rows
        )
    }
}

/// The address that the load is sent to; `pid` is the proxy's, if there is one.
#[derive(Clone, Copy)]
pub struct Target {
    pub address: SocketAddr,
    pub tls: bool,
    pub pid: Option<u32>,
}

impl Target {
    fn cpu(self) -> Result<Option<f64>> {
        self.pid.map(process::cpu_seconds).transpose()
    }

    fn resident_kb(self) -> Result<Option<u64>> {
        self.pid.map(process::resident_kb).transpose()
    }

    fn login(self) -> Result<Client> {
        Client::login(self.address, self.tls, 16 << 10)
    }
}

/// Named figures, in the order of the table's columns.
pub type Figures = Vec<(&'static str, f64)>;

/// Long enough for the proxy to finish what it was sent.
const SETTLE: Duration = Duration::from_millis(100);

/// How long it may take until all clients have been answered once.
const READY: Duration = Duration::from_secs(60);

/// One long result: (a), (f) with a script that has row callbacks, (g) with TLS.
pub fn stream(target: Target, size: &Size) -> Result<Figures> {
    let mut client = Client::login(target.address, target.tls, 256 << 10)?;
    let sql = size.long_select();
    let split = || target.pid.map(process::user_and_system).transpose();

    let (cpu, times) = (target.cpu()?, split()?);
    let start = Instant::now();
    let count = client.query(&sql)?;
    let wall = start.elapsed().as_secs_f64();
    sleep(SETTLE);
    expect(count.rows, size.rows, "rows")?;

    let mut figures = vec![("wall s", wall), ("MB", count.bytes as f64 / 1e6)];
    if let (Some(before), Some(after)) = (cpu, target.cpu()?) {
        figures.push(("CPU s", after - before));
    }
    if let (Some(before), Some(after)) = (times, split()?) {
        figures.push(("user s", after.0 - before.0));
        figures.push(("system s", after.1 - before.1));
    }
    client.quit()?;
    Ok(figures)
}

/// How clients ask.
#[derive(Clone, Copy, PartialEq, Eq)]
pub enum Manner {
    /// By a query of its own each time.
    Query,
    /// The same, by clients of which each has a time zone of its own.
    TimeZones,
    /// By a statement that each client has prepared.
    Prepared,
}

/// (b), (i), (j): as many point selects as `clients` connections can do.
pub fn points(target: Target, size: &Size, clients: u64, manner: Manner) -> Result<Figures> {
    let done = AtomicU64::new(0);
    let stop = AtomicBool::new(false);
    let connections = (1..=clients)
        .map(|seed| {
            let mut client = target.login()?;
            if manner == Manner::TimeZones {
                client.query(&format!("SET time_zone='{}'", time_zone(seed)))?;
            }
            let statement = match manner {
                Manner::Prepared => Some(client.prepare("SELECT c FROM points WHERE id=?")?),
                Manner::Query | Manner::TimeZones => None,
            };
            Ok((client, statement, Ids::new(seed, size.points)))
        })
        .collect::<Result<Vec<_>>>()?;

    let (queries, wall, cpu, calls) = thread::scope(|scope| {
        let (done, stop) = (&done, &stop);
        let threads: Vec<_> = connections
            .into_iter()
            .map(|(mut client, statement, mut ids)| {
                scope.spawn(move || {
                    while !stop.load(Relaxed) {
                        match statement {
                            Some(id) => expect(client.execute(id, ids.next())?.rows, 1, "row")?,
                            None => select_point(&mut client, &mut ids)?,
                        }
                        done.fetch_add(1, Relaxed);
                    }
                    client.quit()
                })
            })
            .collect();

        // A pool opens its connections first.
        let begun = Instant::now();
        while done.load(Relaxed) < clients && begun.elapsed() < READY {
            sleep(SETTLE);
        }
        sleep(size.window / 10);
        let (first, cpu) = (done.load(Relaxed), target.cpu());
        let start = Instant::now();
        sleep(size.window);
        let (last, cpu_after) = (done.load(Relaxed), target.cpu());
        let wall = start.elapsed().as_secs_f64();
        // Apart, as counting takes time, too.
        let calls = target
            .pid
            .and_then(|pid| process::system_calls(pid, size.window / 3));
        let counted = (done.load(Relaxed) - last) as f64;
        stop.store(true, Relaxed);
        join(threads)?;
        let cpu = cpu?.zip(cpu_after?).map(|(before, after)| after - before);
        let calls = calls.map(|calls| calls as f64 / counted);
        Ok::<_, Error>(((last - first) as f64, wall, cpu, calls))
    })?;

    let mut figures = vec![("per s", queries / wall)];
    figures.extend(cpu.map(|cpu| ("CPU µs each", cpu * 1e6 / queries)));
    figures.extend(calls.map(|calls| ("system calls each", calls)));
    Ok(figures)
}

/// One of the 1560 offsets that MariaDB has, too.
fn time_zone(seed: u64) -> String {
    let minutes = seed % (13 * 60 + 1 + 12 * 60 + 59);
    let (sign, minutes) = match minutes.checked_sub(13 * 60) {
        Some(west @ 1..) => ('-', west),
        _ => ('+', minutes),
    };
    format!("{sign}{:02}:{:02}", minutes / 60, minutes % 60)
}

/// (c), and (h) with TLS: log in and quit, over and over, eight at a time.
pub fn connections(target: Target, size: &Size) -> Result<Figures> {
    const THREADS: u64 = 8;
    let each = size.connections / THREADS;
    let round = |count: u64| {
        thread::scope(|scope| {
            let threads = (0..THREADS)
                .map(|_| scope.spawn(move || (0..count).try_for_each(|_| target.login()?.quit())));
            join(threads.collect())
        })
    };
    round(5)?;
    sleep(SETTLE);

    let cpu = target.cpu()?;
    let start = Instant::now();
    round(each)?;
    let wall = start.elapsed().as_secs_f64();
    sleep(SETTLE);

    let made = (each * THREADS) as f64;
    let mut figures = vec![("per s", made / wall)];
    if let (Some(before), Some(after)) = (cpu, target.cpu()?) {
        figures.push(("CPU µs each", (after - before) * 1e6 / made));
    }
    Ok(figures)
}

/// (d), (i): the memory of so many connections that were used once and are idle now.
pub fn idle(target: Target, size: &Size, clients: u64) -> Result<Figures> {
    let mut ids = Ids::new(1, size.points);
    let mut open = |count| {
        let one = |_| {
            let mut client = target.login()?;
            select_point(&mut client, &mut ids)?;
            Ok(client)
        };
        (0..count).map(one).collect::<Result<Vec<_>>>()
    };
    drop(open(10)?);
    sleep(SETTLE);

    let before = target.resident_kb()?;
    let mut held = open(clients)?;
    sleep(SETTLE * 5);
    let after = target.resident_kb()?;
    for client in &mut held {
        client.query("SELECT 1")?;
    }

    Ok(before.zip(after).map_or_else(Vec::new, |(before, after)| {
        let growth = after as f64 - before as f64;
        vec![("KB each", growth / clients as f64)]
    }))
}

/// (e): one client stops reading in the middle of a long result, while others go on; then the same
/// without the stall.
pub fn stall(target: Target, size: &Size) -> Result<Figures> {
    let steady = beside_stream(target, size, Duration::ZERO)?;
    let stalled = beside_stream(target, size, size.stall)?;

    let mut figures = vec![
        ("p50 ms", stalled.percentile(50)),
        ("p99 ms", stalled.percentile(99)),
        ("max ms", stalled.percentile(100)),
        ("unstalled p50 ms", steady.percentile(50)),
        ("unstalled p99 ms", steady.percentile(99)),
        ("unstalled max ms", steady.percentile(100)),
    ];
    figures.extend(stalled.growth_kb.map(|kb| ("growth KB", kb)));
    Ok(figures)
}

struct Beside {
    /// Sorted.
    milliseconds: Vec<f64>,
    growth_kb: Option<f64>,
}

impl Beside {
    fn percentile(&self, percent: usize) -> f64 {
        let last = self.milliseconds.len().saturating_sub(1);
        let at = last * percent / 100;
        self.milliseconds.get(at).copied().unwrap_or(f64::NAN)
    }
}

/// Latencies of four clients with a few hundred point selects a second each, during the stall, or
/// during the whole long result if there is none.
fn beside_stream(target: Target, size: &Size, stall: Duration) -> Result<Beside> {
    const OTHERS: u64 = 4;
    const PACE: Duration = Duration::from_millis(3);

    let stop = AtomicBool::new(false);
    let mut reader = Client::login(target.address, target.tls, 256 << 10)?;
    let mut others = Vec::new();
    for seed in 1..=OTHERS {
        let (mut client, mut ids) = (target.login()?, Ids::new(seed, size.points));
        select_point(&mut client, &mut ids)?;
        others.push((client, ids));
    }
    sleep(SETTLE);
    target.pid.map(process::forget_peak).transpose()?;
    let base = target.resident_kb()?;

    thread::scope(|scope| {
        let stop = &stop;
        let spawn = |(mut client, mut ids)| {
            scope.spawn(move || {
                let mut spans = Vec::new();
                while !stop.load(Relaxed) {
                    let start = Instant::now();
                    select_point(&mut client, &mut ids)?;
                    spans.push((start, Instant::now()));
                    sleep(PACE);
                }
                Ok(spans)
            })
        };
        let threads = others.into_iter().map(spawn).collect();
        let sampler = scope.spawn(move || {
            let mut peak = None;
            while !stop.load(Relaxed) {
                peak = peak.max(target.resident_kb()?);
                sleep(PACE * 10);
            }
            Ok(peak)
        });

        // At most a quarter of the result: a row has more than 30 bytes.
        let middle = size.rows * 30 / 4;
        let mut stalled = None;
        let start = Instant::now();
        let count = reader.query_watched(&size.long_select(), |bytes| {
            if stalled.is_none() && bytes > middle && !stall.is_zero() {
                let start = Instant::now();
                sleep(stall);
                stalled = Some((start, Instant::now()));
            }
        });
        let (from, to) = stalled.unwrap_or((start, Instant::now()));
        stop.store(true, Relaxed);

        let mut milliseconds: Vec<_> = join(threads)?
            .concat()
            .into_iter()
            .filter(|&(start, end)| start <= to && end >= from)
            .map(|(start, end)| (end - start).as_secs_f64() * 1e3)
            .collect();
        milliseconds.sort_by(f64::total_cmp);
        let sampled = join(vec![sampler])?[0];
        expect(count?.rows, size.rows, "rows")?;

        let peak = target.pid.map(process::peak_kb).transpose()?.max(sampled);
        let growth_kb = peak.zip(base).map(|(peak, base)| peak as f64 - base as f64);
        Ok(Beside {
            milliseconds,
            growth_kb,
        })
    })
}

fn select_point(client: &mut Client, ids: &mut Ids) -> Result<()> {
    let sql = format!("SELECT c FROM points WHERE id={}", ids.next());
    expect(client.query(&sql)?.rows, 1, "row")
}

/// Ids of the table of point selects, in random order.
struct Ids {
    state: u64,
    count: u64,
}

impl Ids {
    fn new(seed: u64, count: u64) -> Self {
        Self {
            state: seed.wrapping_mul(0x9e37_79b9_7f4a_7c15),
            count,
        }
    }

    fn next(&mut self) -> u64 {
        self.state ^= self.state << 13;
        self.state ^= self.state >> 7;
        self.state ^= self.state << 17;
        self.state % self.count + 1
    }
}

fn join<T>(threads: Vec<thread::ScopedJoinHandle<'_, Result<T>>>) -> Result<Vec<T>> {
    threads
        .into_iter()
        .map(|thread| thread.join().map_err(|_| Error::other("a client failed"))?)
        .collect()
}

fn expect(found: u64, wanted: u64, what: &str) -> Result<()> {
    if found == wanted {
        return Ok(());
    }
    Err(Error::other(format!("{found} {what} instead of {wanted}")))
}
