//! What has happened, for whoever has to find out why a soak failed.

use std::fmt::Write as _;
use std::path::{Path, PathBuf};
use std::sync::Mutex;
use std::time::Instant;

use crate::support::{Dpm, Server};

/// The events so far. If the test fails, they are written to a folder, with what the program and the servers
/// have logged.
pub struct Record {
    begun: Instant,
    pub seed: u64,
    events: Mutex<Vec<(f64, String)>>,
}

impl Record {
    pub fn new(seed: u64) -> Record {
        Record {
            begun: Instant::now(),
            seed,
            events: Mutex::default(),
        }
    }

    /// Notes an event.
    pub fn note(&self, event: impl Into<String>) {
        let at = self.begun.elapsed().as_secs_f64();
        // A client that fails meanwhile has poisoned nothing that matters.
        let mut events = self
            .events
            .lock()
            .unwrap_or_else(|poison| poison.into_inner());
        events.push((at, event.into()));
    }

    /// Notes an event that everybody is to see at once.
    pub fn say(&self, event: impl Into<String>) {
        let event = event.into();
        println!("{:7.1} s  {event}", self.begun.elapsed().as_secs_f64());
        self.note(event);
    }

    /// The last events, one in each line.
    pub fn last(&self, count: usize) -> String {
        let events = self
            .events
            .lock()
            .unwrap_or_else(|poison| poison.into_inner());
        let mut text = String::new();
        for (at, event) in &events[events.len().saturating_sub(count)..] {
            let _ = writeln!(text, "{at:9.3} s  {event}");
        }
        text
    }

    /// Writes all there is to a folder that stays.
    pub fn keep(&self, dpm: &Dpm, servers: &[Server]) -> PathBuf {
        let folder = Path::new(env!("CARGO_TARGET_TMPDIR")).join(format!("soak-{}", self.seed));
        let _ = std::fs::create_dir_all(&folder);
        let _ = std::fs::write(folder.join("events"), self.last(usize::MAX));
        let _ = std::fs::write(folder.join("dpm.log"), dpm.output());
        for server in servers {
            let name = format!("{:?}.log", server.flavour);
            let _ = std::fs::copy(server.folder().join("log"), folder.join(name));
        }
        folder
    }
}
