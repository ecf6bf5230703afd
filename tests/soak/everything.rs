//! The soak itself: a storm and a calm, twice, and what is left afterwards.

use std::collections::HashMap;
use std::time::{Duration, Instant};

use mysql::prelude::Queryable as _;

use crate::asked;
use crate::clients::Client;
use crate::mischief::Mischief;
use crate::others::{Tally, command_lines, multiplexes, python, stalls};
use crate::scene::{CLIENTS, Scene, Weather};
use crate::support::{Over, connect, eventually, let_time_pass};

/// How long each calm lasts.
const CALM: Duration = Duration::from_secs(6);

/// How long the first storm lasts, before which nothing is measured.
const SHOWER: Duration = Duration::from_secs(10);

/// Keeps the record if the test fails.
struct Kept<'a>(&'a Scene);

impl Drop for Kept<'_> {
    fn drop(&mut self) {
        if std::thread::panicking() {
            let Scene {
                record,
                dpm,
                servers,
                ..
            } = self.0;
            println!("The last events:\n{}", record.last(40));
            println!(
                "All of them, and the logs: {}",
                record.keep(dpm, servers).display()
            );
            println!("Again with the same dice: DPM_SOAK_SEED={}", record.seed);
        }
    }
}

/// What the program holds while it has no clients.
#[derive(Debug)]
struct Holdings {
    stats: HashMap<String, f64>,
    files: usize,
    memory: u64,
}

impl Holdings {
    /// Once the last client has left, and all that the program connects by itself is connected.
    fn of(scene: &Scene) -> Holdings {
        let multiplexer = scene
            .ways_of("multiplexer")
            .next()
            .expect("the multiplexer");
        let mut conn = connect(multiplexer.port);
        eventually("all members of the fleet are active", || {
            let status: Vec<mysql::Row> = conn.query("SHOW DB STATUS").expect("the status");
            status
                .iter()
                .all(|row| row.get::<String, _>("active").as_deref() == Some("1"))
        });
        // It keeps the rounds of queries.
        conn.query_drop("FORGET ALL").expect("it forgets");
        drop(conn);
        eventually("all clients have left", || scene.dpm.stat("clients") == 0.0);
        scene.dpm.settle();
        Holdings {
            stats: scene.dpm.stats(),
            files: scene.dpm.open_files(),
            memory: scene.dpm.memory_kib("VmRSS"),
        }
    }
}

/// All clients at once, for so long.
fn campaign(scene: &Scene, clients: &mut [Client<'_>], weather: Weather, time: Duration) {
    scene
        .record
        .say(format!("{weather:?}, for {} s", time.as_secs()));
    scene.set_weather(weather);
    let over = Over::default();
    let mut mischief = Mischief::default();
    let free = clients.len();
    let count = |clients: &[Client<'_>]| -> (u64, u64) {
        let answers = clients.iter().map(|client| client.answers).sum();
        (answers, clients.iter().map(|client| client.errors).sum())
    };
    let before = count(clients);
    let others: Vec<(String, Tally)> = std::thread::scope(|scope| {
        let (over, mischief) = (&over, &mut mischief);
        for client in clients.iter_mut() {
            scope.spawn(move || {
                let _ends = over.at_end_of_panic();
                client.run(over);
            });
        }
        let mut others = Vec::new();
        let mut number = free;
        let mut next = || {
            number += 1;
            assert!(number < CLIENTS, "it has rows");
            number
        };
        for way in scene.ways_of("plain").chain(scene.ways_of("chain")) {
            let number = next();
            let work = move || stalls(scene, way, number, over);
            others.push((
                format!("stalls at {}", way.name),
                scope.spawn(guarded(over, work)),
            ));
        }
        for way in scene.ways_of("plain").chain(scene.ways_of("proxied")) {
            let number = next();
            let work = move || python(scene, way, number, over);
            others.push((
                format!("PyMySQL at {}", way.name),
                scope.spawn(guarded(over, work)),
            ));
        }
        let number = next();
        let work = move || command_lines(scene, number, over);
        others.push(("command lines".to_owned(), scope.spawn(guarded(over, work))));
        let way = scene
            .ways_of("multiplexer")
            .next()
            .expect("the multiplexer");
        let work = move || multiplexes(scene, way, over);
        others.push(("multiplexer".to_owned(), scope.spawn(guarded(over, work))));
        if weather == Weather::Storm {
            scope.spawn(move || mischief.run(scene, over));
        }
        let (begun, mut told) = (Instant::now(), Instant::now());
        while begun.elapsed() < time && !over.is() {
            let_time_pass(Duration::from_millis(100));
            if told.elapsed() > Duration::from_secs(20) {
                told = Instant::now();
                scene.record.say(format!(
                    "{} s to go",
                    (time.saturating_sub(begun.elapsed())).as_secs()
                ));
            }
        }
        over.declare();
        others
            .into_iter()
            .map(|(name, thread)| (name, thread.join().expect("a client's thread")))
            .collect()
    });
    let (answers, errors) = count(clients);
    let (answers, errors) = (answers - before.0, errors - before.1);
    scene.record.say(format!(
        "{answers} answers and {errors} errors; {mischief:?}"
    ));
    for (name, Tally { answers, errors }) in &others {
        scene
            .record
            .say(format!("  {name}: {answers} answers and {errors} errors"));
        assert!(*answers > 0, "{name} got none");
    }
    assert!(answers > errors, "most get an answer");
}

/// A calm, and what is left afterwards.
fn calm(scene: &Scene, clients: &mut [Client<'_>]) -> Holdings {
    campaign(scene, clients, Weather::Calm, CALM);
    Holdings::of(scene)
}

/// A storm, at the end of which the program has noticed all that has happened.
fn storm(scene: &Scene, clients: &mut [Client<'_>], time: Duration) {
    campaign(scene, clients, Weather::Storm, time);
    scene.set_weather(Weather::Calm);
    for relay in scene.server_relays.iter().chain(&scene.client_relays) {
        relay.cut_all();
    }
    Holdings::of(scene);
}

/// What a thread does, ending all others if it fails.
fn guarded<'a, T>(
    over: &'a Over,
    work: impl FnOnce() -> T + Send + 'a,
) -> impl FnOnce() -> T + Send + 'a {
    move || {
        let _ends = over.at_end_of_panic();
        work()
    }
}

/// For twenty seconds, or as long as DPM_SOAK_SECONDS says.
#[test]
fn everything_at_once() {
    let time = Duration::from_secs(asked("DPM_SOAK_SECONDS").unwrap_or(20));
    let seed = asked("DPM_SOAK_SEED").unwrap_or_else(rand::random);
    let mut scene = Scene::new(seed);
    let kept = Kept(&scene);
    let mut clients: Vec<Client<'_>> = ["plain", "chain", "proxied", "coalesce", "service"]
        .into_iter()
        .flat_map(|kind| scene.ways_of(kind))
        .flat_map(|way| [way, way])
        .enumerate()
        .map(|(number, way)| Client::new(&scene, way, number))
        .collect();
    // What is made once, and whatever is remembered of trouble, is there after some of it.
    storm(&scene, &mut clients, SHOWER);
    let before = calm(&scene, &mut clients);
    storm(&scene, &mut clients, time);
    let after = calm(&scene, &mut clients);
    for (name, before) in &before.stats {
        let after = after.stats[name];
        scene.record.note(format!("{name}: {before} -> {after}"));
    }
    let Holdings {
        stats,
        files,
        memory,
    } = &after;
    scene.record.say(format!(
        "{} -> {files} descriptors, {} -> {memory} KiB, of Lua {} -> {}",
        before.files, before.memory, before.stats["lua_memory"], stats["lua_memory"]
    ));
    for name in ["servers", "listeners", "timers", "lua_handles", "lua_refs"] {
        assert!(
            stats[name] <= before.stats[name],
            "{name}: {} -> {}",
            before.stats[name],
            stats[name]
        );
    }
    assert!(
        *files <= before.files,
        "{} -> {files} descriptors",
        before.files
    );
    assert!(stats["lua_memory"] < before.stats["lua_memory"] + 300_000.0);
    assert!(
        *memory < before.memory + 30_000,
        "{} -> {memory} KiB",
        before.memory
    );
    assert!(!scene.dpm.wrote("panicked"), "nothing panics");
    assert_eq!(stats["callback_errors"], 0.0, "no callback fails");
    // A driver whose time is over in the middle of LOAD DATA LOCAL says COM_QUIT there, which is numbered as a new
    // command; a server would close it, too.
    let given_up = scene.dpm.count("got one numbered 0");
    assert_eq!(
        stats["protocol_errors"], given_up as f64,
        "nobody breaks the protocol"
    );
    drop(clients);
    drop(kept);
    assert!(scene.dpm.runs());
}
