//! The matrix: every client × server × authentication × TLS × compression must get the same results
//! directly and through the proxy. `tests/matrix.sh` installs the clients and runs it; it writes
//! doc/COMPATIBILITY.md.

mod battery;
mod client;
mod compare;
mod ground;
mod report;
mod strangers;
mod suites;
#[path = "../support/mod.rs"]
mod support;

use std::collections::VecDeque;
use std::sync::Mutex;
use std::time::Instant;

use serde_json::{Value, json};

use client::Client;
use compare::{clip, difference, first_difference, known_as, shown};
use ground::{Ground, PASSWORD, PROXIED, Plugin, Way};
use report::{Cell, Row, Verdict};
use support::{Flavour, Over};

/// How many connections the pool has.
const POOL_SIZE: u32 = 2;

const TLS: [&str; 3] = ["off", "required", "verify-ca"];
const COMPRESSION: [&str; 3] = ["none", "zlib", "zstd"];

fn main() {
    if std::env::var_os("DPM_MATRIX_HOME").is_none() {
        println!("skipped: run tests/matrix.sh, which installs the clients");
        return;
    }
    let begun = Instant::now();
    let flavours = [Flavour::MariaDb, Flavour::MariaDb11, Flavour::MySql];
    let wanted = std::env::var("DPM_MATRIX_SERVERS").ok();
    let suites = std::env::var("DPM_MATRIX_SUITES").ok();
    let pool_size = match suites {
        Some(_) => suites::POOL_SIZE,
        None => POOL_SIZE,
    };
    let grounds: Vec<Ground> = flavours
        .into_iter()
        .filter(|flavour| chosen(wanted.as_deref(), &format!("{flavour:?}").to_lowercase()))
        .filter_map(|flavour| Ground::prepare(flavour, pool_size))
        .collect();
    if let Some(wanted) = suites {
        let wanted = Some(wanted.as_str()).filter(|wanted| !wanted.is_empty());
        let failed = suites::run(&grounds, |name| chosen(wanted, name));
        drop(grounds);
        std::process::exit(i32::from(failed > 0));
    }
    let ways = std::env::var("DPM_MATRIX_WAYS").ok();
    let ways: Vec<Way> = PROXIED
        .into_iter()
        .filter(|way| chosen(ways.as_deref(), way.name()))
        .collect();
    let wanted = std::env::var("DPM_MATRIX_CLIENTS").ok();
    let kinds = client::ALL
        .iter()
        .filter(|kind| chosen(wanted.as_deref(), kind.name));
    let queue: Mutex<VecDeque<_>> = Mutex::new(kinds.collect());
    let rows = Mutex::new(Vec::new());
    let workers = std::env::var("DPM_MATRIX_WORKERS")
        .ok()
        .and_then(|n| n.parse().ok())
        .unwrap_or(3);
    let over = Over::default();
    let strangers: Vec<String> = std::thread::scope(|scope| {
        let strangers: Vec<_> = (grounds.iter())
            .map(|ground| scope.spawn(|| strangers::run(ground, &over)))
            .collect();
        let at_end = over.at_end();
        std::thread::scope(|scope| {
            for _ in 0..workers {
                scope.spawn(|| {
                    loop {
                        let next = queue.lock().unwrap().pop_front();
                        let Some(kind) = next else { return };
                        let done = examine(kind, &grounds, &ways);
                        rows.lock().unwrap().extend(done);
                    }
                });
            }
        });
        drop(at_end);
        let complaint = |stranger: std::thread::ScopedJoinHandle<'_, _>| match stranger.join() {
            Ok(complaint) => complaint,
            Err(_) => Some("a stranger has panicked".to_owned()),
        };
        strangers.into_iter().filter_map(complaint).collect()
    });
    let mut rows = rows.into_inner().unwrap();
    rows.sort_by_key(|row| client::ALL.iter().position(|kind| kind.name == row.client));
    for complaint in &strangers {
        println!("FAILED {complaint}");
    }
    let mut fell_back = strangers.len();
    for ground in &grounds {
        for (way, dpm) in ground.proxies() {
            let stats = dpm.stats();
            fell_back += report::fallbacks(&rows, &ground.title, way, &stats);
            if way == Way::Pool {
                fell_back += report::sharing(&rows, &ground.title, &stats);
            }
            if stats["callback_errors"] > 0.0 || stats["protocol_errors"] > 0.0 {
                let (callbacks, protocol) = (stats["callback_errors"], stats["protocol_errors"]);
                let name = format!("{} {}", ground.title, way.name());
                println!(
                    "!! {name}: {callbacks} errors in callbacks, {protocol} of the protocol; the first:"
                );
                let complaints = dpm.lines("[");
                let loud = |line: &&String| {
                    (line.contains(" WARN ") || line.contains(" ERROR ")) && !line.contains("SNI")
                };
                for line in complaints.iter().filter(loud).take(6) {
                    println!("     [{line}");
                }
            }
        }
    }
    let whole = wanted.is_none()
        && ways.len() == PROXIED.len()
        && std::env::var_os("DPM_MATRIX_SERVERS").is_none();
    let ended = report::print(&rows, &grounds, begun.elapsed(), fell_back, whole);
    drop(grounds);
    std::process::exit(ended);
}

/// Whether this name is in the comma-separated list; true without a list.
fn chosen(list: Option<&str>, name: &str) -> bool {
    list.is_none_or(|list| list.split(',').any(|item| item == name))
}

/// Runs everything for one client.
fn examine(kind: &'static client::Kind, grounds: &[Ground], ways: &[Way]) -> Vec<Row> {
    let begun = Instant::now();
    let mut rows = Vec::new();
    let mut client = match Client::start(kind) {
        Ok(client) => client,
        Err(error) => {
            println!("!!!! {} is SKIPPED: {error}", kind.title);
            return grounds
                .iter()
                .map(|ground| Row::skipped(kind.name, kind.title, &ground.title))
                .collect();
        }
    };
    for ground in grounds {
        let base = format!("m_{}", kind.name);
        ground.database(&base);
        let mut row = Row {
            client: kind.name,
            title: client.title.clone(),
            server: ground.title.clone(),
            cells: Vec::new(),
            battery: Vec::new(),
            steps: 0,
            skipped: false,
        };
        for &plugin in &ground.plugins {
            for tls in TLS {
                for compression in COMPRESSION {
                    let mut seat = Seat {
                        client: &mut client,
                        ground,
                        ways,
                        base: &base,
                    };
                    let verdicts = seat.cell(plugin, tls, compression);
                    report::say(
                        kind.name,
                        ground,
                        &format!("{} {tls} {compression}", plugin.name),
                        &verdicts,
                    );
                    row.cells.push(Cell {
                        plugin: plugin.name,
                        tls,
                        compression,
                        verdicts,
                    });
                }
            }
        }
        let mut seat = Seat {
            client: &mut client,
            ground,
            ways,
            base: &base,
        };
        (row.battery, row.steps) = seat.battery(&row.cells);
        report::say(kind.name, ground, "battery", &row.battery);
        rows.push(row);
    }
    println!(
        "   {} done in {:.0} s",
        client.title,
        begun.elapsed().as_secs_f32()
    );
    rows
}

/// A client and the server that it is tested with.
struct Seat<'a> {
    client: &'a mut Client,
    ground: &'a Ground,
    ways: &'a [Way],
    base: &'a str,
}

impl Seat<'_> {
    fn job(
        &mut self,
        way: Way,
        user: &str,
        (tls, compression): (&str, &str),
        steps: Vec<Value>,
    ) -> Value {
        let job = json!({
            "host": "127.0.0.1", "port": self.ground.port(way), "socket": null,
            "user": user, "password": PASSWORD, "database": self.base,
            "tls": tls, "ca": self.ground.ca, "compression": compression, "steps": steps,
        });
        let _visit = (way == Way::Pool).then(|| self.ground.visit());
        let answer = self.client.job(&job).to_string();
        // Some errors contain the server's address.
        let answer = answer.replace(&format!("127.0.0.1:{}", self.ground.port(way)), "SERVER");
        serde_json::from_str(&answer).unwrap_or(Value::String(answer))
    }

    /// Connects in one combination, directly and, if that works, in the other ways. Empty if it
    /// does not work directly either.
    fn cell(&mut self, plugin: Plugin, tls: &str, compression: &str) -> Vec<Verdict> {
        let legs = (tls, compression);
        let mut steps = battery::connect();
        steps.push(battery::probe());
        let user = self.ground.account(plugin);
        let mut direct = self.job(Way::Direct, &user, legs, steps);
        let Some(said) = direct.get_mut("steps").and_then(Value::as_array_mut) else {
            return Vec::new();
        };
        let probe = said.pop().unwrap_or_default().to_string();
        if !came_about(&probe, tls, compression) {
            return Vec::new();
        }
        let direct = known_as(&direct, &user);
        let ways = self.ways.iter().copied();
        ways.map(|way| {
            let mut failure = None;
            // A login may time out once on a busy machine; twice is a failure.
            for _ in 0..2 {
                let user = self.ground.account(plugin);
                let said = self.job(way, &user, legs, battery::connect());
                let said = shown(way, known_as(&said, &user));
                failure = difference(&shown(way, direct.clone()), &said);
                if failure.is_none() {
                    break;
                }
            }
            Verdict { way, failure }
        })
        .collect()
    }

    /// Runs the whole battery, with the best account that the client can use directly. Also returns
    /// how many of its steps the client supports.
    fn battery(&mut self, cells: &[Cell]) -> (Vec<Verdict>, usize) {
        let Some(cell) = cells.iter().find(|cell| !cell.verdicts.is_empty()) else {
            return (Vec::new(), 0);
        };
        let legs = (cell.tls, cell.compression);
        let flavour = self.ground.server.flavour;
        let file = self.ground.file.to_string_lossy().into_owned();
        let steps = battery::whole(flavour, &file, "a_other", PASSWORD, self.base);
        let user = &format!("a_{}", cell.plugin);
        let mut direct = Vec::new();
        let run = |seat: &mut Self, way| {
            [steps.clone(), battery::kill()]
                .map(|steps| known_as(&seat.job(way, user, legs, steps), user))
        };
        direct.push(run(self, Way::Direct));
        if std::env::var_os("DPM_MATRIX_SHOW").is_some() {
            for (step, said) in steps
                .iter()
                .zip(direct[0][0]["steps"].as_array().into_iter().flatten())
            {
                println!(
                    "{} -> {}",
                    clip(&step.to_string(), 150),
                    clip(&said.to_string(), 300)
                );
            }
            println!("{}", clip(&direct[0][1].to_string(), 600));
        }
        if direct[0].iter().any(|said| said.get("steps").is_none()) {
            // There is nothing to compare with: the driver fails directly, too.
            println!(
                "!! {} × {}: its battery is left out, since its direct run failed: {}",
                self.client.title,
                self.ground.title,
                clip(&direct[0][0].to_string(), 300)
            );
            return (Vec::new(), 0);
        }
        let mut verdicts = Vec::new();
        for way in self.ways.iter().copied() {
            let said = run(self, way);
            let mut failure = first_difference(way, &direct, &said, &steps);
            if failure.is_some() {
                // On a busy machine two runs of the same may differ in time-outs.
                let again = run(self, way);
                failure = first_difference(way, &direct, &again, &steps);
            }
            if failure.is_some() {
                // A difference that also occurs between two direct runs, such as how a killed
                // session ends, is not the proxy's fault.
                direct.push(run(self, Way::Direct));
                failure = first_difference(way, &direct, &said, &steps);
            }
            verdicts.push(Verdict { way, failure });
        }
        let done = direct[0][0]["steps"].as_array().map_or(0, |said| {
            said.iter()
                .filter(|said| said.as_str() != Some("unsupported"))
                .count()
        });
        (verdicts, done)
    }
}

/// Whether the server's own status shows the requested TLS and compression: some clients ignore
/// options that they do not know.
fn came_about(probe: &str, tls: &str, compression: &str) -> bool {
    // Clients show it in different forms: as text, as hexadecimal digits, in a line or in a list.
    let words: Vec<&str> = probe
        .split(|c: char| !c.is_ascii_alphanumeric() && c != '_')
        .filter(|word| !["", "s", "x", "Value", "String"].contains(word))
        .collect();
    let names = ["Compression", "436f6d7072657373696f6e"];
    let compressed = words
        .windows(2)
        .any(|pair| names.contains(&pair[0]) && ["ON", "4f4e"].contains(&pair[1]));
    let ciphers = ["AES", "CHACHA", "414553", "434841434841"];
    let encrypted = ciphers.iter().any(|cipher| probe.contains(cipher));
    encrypted == (tls != "off") && compressed == (compression != "none")
}
