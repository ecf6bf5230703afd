//! Many of everything: clients of each kind of listener, timers, tasks, servers of a fleet. Nothing in the
//! proxy may have a ceiling but the descriptors and the memory, and nobody may get another's answer.
//!
//! In CI with a few thousand; `tests/long.sh` has as many as descriptors allow, and prints a table. A server
//! made of the test itself answers, so that no database is in the way.

#[path = "../support/mod.rs"]
mod support;
#[allow(dead_code)]
#[path = "../../benches/proxies/tls.rs"]
mod tls;

mod administration;
mod crowd;
mod echo;
mod listeners;
mod peer;
mod pools;
mod storms;
mod things;

use std::sync::{Mutex, MutexGuard, PoisonError};

use support::Dpm;
use support::dpm::Launch;

/// The descriptors that the proxy may have, where a process may have as many.
fn descriptors() -> u32 {
    let (_, hard) = rlimit::Resource::NOFILE.get().expect("a limit");
    hard.min(20_000) as u32
}

/// How many clients there are: DPM_SCALE, or as many as CI has time for.
fn clients() -> usize {
    let asked = std::env::var("DPM_SCALE").ok();
    asked.map_or(2_500, |text| text.parse().expect("a number"))
}

/// How many of something that `full` are asked of in the end.
fn share_of(full: usize) -> usize {
    full * clients() / 9_000
}

/// Tests of this size one after the other, and with descriptors for both far ends of each pair.
fn alone() -> MutexGuard<'static, ()> {
    static ONE: Mutex<()> = Mutex::new(());
    let guard = ONE.lock().unwrap_or_else(PoisonError::into_inner);
    let limit = rlimit::increase_nofile_limit(u64::MAX).expect("a limit");
    let needed = 2 * clients() as u64 + 500;
    assert!(
        limit >= needed,
        "{needed} open files are needed, {limit} allowed"
    );
    guard
}

/// Starts a script that has `listener`, `dpml` and `h`, and the backend's host and port as its arguments.
fn proxy(script: &str, options: &str, port: u16) -> Dpm {
    launch(script, options, port)
        .open_files(descriptors())
        .start()
}

fn launch(script: &str, options: &str, port: u16) -> Launch {
    Launch::script(&format!(
        "-- How long a login takes says how busy the machine is with the other ends.
         dpm.config {{ handshake_timeout = 60, connect_timeout = 60 }}
         dpml, h = require 'dpml', require 'harness'
         listener = h.listen(function() end, {{ {options} }})
         {script}"
    ))
    .quiet()
    .arg("127.0.0.1")
    .arg(port)
}

/// A row of the table that `tests/long.sh` shows.
fn row(what: &str, columns: &[(&str, String)]) {
    let columns: Vec<String> = columns
        .iter()
        .map(|(name, value)| format!("{name} {value}"))
        .collect();
    println!("SCALE | {what} | {} |", columns.join(" | "));
}
