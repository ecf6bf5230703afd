//! A collector of traces that reads what it is sent by OpenTelemetry's own schema.

use std::io::{BufRead, BufReader};
use std::process::Stdio;
use std::sync::{Arc, Mutex};

use serde_json::Value;

use super::eventually;
use super::process::{self, Process};
use super::server::cache;

/// A running collector.
pub struct Collector {
    /// Its port.
    pub port: u16,
    lines: Arc<Mutex<Vec<String>>>,
    _process: Process,
}

impl Collector {
    /// Starts one. `tests/run.sh` installs what it needs.
    pub fn start() -> Collector {
        let mut command = process::command(cache().join("otlp/bin/python"));
        command.args(["-u", "tests/support/collector.py"]);
        command.current_dir(env!("CARGO_MANIFEST_DIR"));
        command.stdout(Stdio::piped());
        let mut process = process::spawn(command);
        let mut stdout = BufReader::new(process.stdout.take().unwrap());
        let mut line = String::new();
        stdout.read_line(&mut line).unwrap();
        let port = line.trim().parse().expect("a port");
        let lines: Arc<Mutex<Vec<String>>> = Arc::default();
        let told = lines.clone();
        std::thread::spawn(move || {
            for line in stdout.lines().map_while(Result::ok) {
                told.lock().unwrap().push(line);
            }
        });
        Collector {
            port,
            lines,
            _process: process,
        }
    }

    /// The spans so far, in the order in which they came. Panics if anything was wrong with a request.
    #[track_caller]
    pub fn spans(&self) -> Vec<Value> {
        let lines = self.lines.lock().unwrap();
        let spans = lines.iter().map(|line| {
            assert!(!line.starts_with("bad"), "{line}");
            serde_json::from_str(line).unwrap()
        });
        spans.collect()
    }

    /// Waits for so many spans.
    #[track_caller]
    pub fn wait_for(&self, count: usize) -> Vec<Value> {
        eventually(&format!("{count} spans"), || self.spans().len() >= count);
        self.spans()
    }
}
