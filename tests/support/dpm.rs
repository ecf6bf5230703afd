//! The program under test.

use std::collections::HashMap;
use std::ffi::OsString;
use std::io::{BufRead, BufReader, Read};
use std::os::fd::OwnedFd;
use std::path::{Path, PathBuf};
use std::process::{ExitStatus, Stdio};
use std::sync::{Arc, Condvar, Mutex};
use std::time::{Duration, Instant};

use super::{PASSWORD, PATIENCE, Server, USER, process};

/// The module that every startfile of a test may `require`.
const HARNESS_LUA: &str = include_str!("harness.lua");

/// Appended to every startfile of a test for [`Dpm::stats`]. It does not change the line numbers of
/// the startfile.
const TAIL: &str = "\ndpm.on_signal('USR1', require('harness').print_stats)\n";

/// The lines that the program has written so far, on either stream.
#[derive(Default)]
struct Log {
    lines: Mutex<Vec<String>>,
    more: Condvar,
    /// The same as raw bytes.
    bytes: Mutex<Vec<u8>>,
}

/// How to start the program.
pub struct Launch {
    program: OsString,
    /// `None` for the built-in script.
    startfile: Option<PathBuf>,
    args: Vec<String>,
    options: Vec<String>,
    env: Vec<(String, String)>,
    /// Options of `prlimit`.
    limits: Vec<String>,
    /// A socket that the program is handed as descriptor 3.
    socket: Option<OwnedFd>,
}

/// A running `dpm`. Killed when dropped; when that happens because a test fails, it first shows what
/// the program has written.
pub struct Dpm {
    child: process::Process,
    log: Arc<Log>,
    /// The folder that the startfile is in, if it was given as text.
    pub folder: PathBuf,
}

impl Launch {
    /// A startfile given as text. It runs beside `harness.lua`.
    pub fn script(script: &str) -> Launch {
        let folder = process::folder("dpm");
        std::fs::write(folder.join("harness.lua"), HARNESS_LUA).expect("a file");
        let startfile = folder.join("start.lua");
        std::fs::write(&startfile, format!("{script}{TAIL}")).expect("a file");
        Launch::file(startfile)
    }

    /// The folder that the startfile is in.
    pub fn folder(&self) -> PathBuf {
        let folder = self.startfile.as_deref().and_then(Path::parent);
        folder.expect("a startfile").to_owned()
    }

    /// A startfile, unchanged.
    pub fn file(startfile: PathBuf) -> Launch {
        Launch {
            startfile: Some(startfile),
            ..Launch::built_in()
        }
    }

    /// No startfile: the built-in script.
    pub fn built_in() -> Launch {
        Launch {
            program: program(),
            startfile: None,
            args: Vec::new(),
            options: vec!["--verbose".to_owned()],
            env: Vec::new(),
            limits: Vec::new(),
            socket: None,
        }
    }

    /// One of the demos, listening on a free port.
    pub fn demo(name: &str, server: &Server) -> Launch {
        Launch::of_the_tree(&format!("demos/{name}.lua"), server)
    }

    /// A demo in both languages: a program that embeds the proxy, and its startfile.
    pub fn embedding_demo(name: &str, server: &Server) -> Launch {
        Launch {
            program: example(name),
            ..Launch::demo(name, server)
        }
    }

    /// One of the R5 startfiles, which have the arguments of the demos.
    pub fn old(name: &str, server: &Server) -> Launch {
        Launch::of_the_tree(&format!("tests/r5/{name}.lua"), server)
    }

    fn of_the_tree(path: &str, server: &Server) -> Launch {
        Launch::file(Path::new(env!("CARGO_MANIFEST_DIR")).join(path))
            .server(server)
            .arg(0)
            .arg(USER)
            .arg(PASSWORD)
    }

    /// Adds an argument of the script.
    pub fn arg(mut self, arg: impl ToString) -> Launch {
        self.args.push(arg.to_string());
        self
    }

    /// Adds a server's host and port as arguments of the script.
    pub fn server(self, server: &Server) -> Launch {
        self.arg(server.host()).arg(server.port)
    }

    /// Another program than the one that cargo has built.
    pub fn runs(mut self, program: &Path) -> Launch {
        self.program = program.into();
        self
    }

    /// Adds an option of the program.
    pub fn option(mut self, option: &str) -> Launch {
        self.options.push(option.to_owned());
        self
    }

    /// No line in the log for each connection.
    pub fn quiet(mut self) -> Launch {
        self.options.retain(|option| option != "--verbose");
        self
    }

    /// Sets a variable of the environment.
    pub fn env(mut self, name: &str, value: &str) -> Launch {
        self.env.push((name.to_owned(), value.to_owned()));
        self
    }

    /// Limits the number of open files.
    pub fn open_files(self, limit: u32) -> Launch {
        self.open_files_between(limit, limit)
    }

    /// Limits the number of open files, with a hard limit that the program may go up to.
    pub fn open_files_between(mut self, soft: u32, hard: u32) -> Launch {
        self.limits.push(format!("--nofile={soft}:{hard}"));
        self
    }

    /// Limits the address space, in MiB.
    pub fn address_space(mut self, limit: u64) -> Launch {
        self.limits.push(format!("--as={}", limit << 20));
        self
    }

    /// Hands a socket over as systemd does. `LISTEN_FDS` is another variable to be set.
    pub fn socket(mut self, socket: impl Into<OwnedFd>) -> Launch {
        self.socket = Some(socket.into());
        self
    }

    /// Starts it.
    pub fn start(self) -> Dpm {
        let program = self.program;
        let startfile = self.startfile.as_deref();
        let mut command = match (self.limits.is_empty(), &self.socket) {
            (true, None) => process::command(program),
            (true, Some(_)) => {
                let mut command = process::command("sh");
                let hand_over = "exec 3<&0 </dev/null; LISTEN_PID=$$ exec \"$@\"";
                command.args(["-c", hand_over, "sh"]).arg(program);
                command
            }
            (false, _) => {
                let mut command = process::command("prlimit");
                command.args(self.limits).arg(program);
                command
            }
        };
        command
            .args(&self.options)
            .args(
                startfile
                    .iter()
                    .flat_map(|file| [Path::new("--startfile"), file]),
            )
            .arg("--")
            .args(&self.args)
            .env_remove("RUST_LOG")
            .env("RUST_BACKTRACE", "1")
            .envs(self.env)
            .stdin(self.socket.map_or_else(Stdio::null, Stdio::from))
            .stdout(Stdio::piped())
            .stderr(Stdio::piped());
        let mut child = process::spawn(command);
        let log = Arc::new(Log::default());
        watch(child.stdout.take().unwrap(), &log);
        watch(child.stderr.take().unwrap(), &log);
        let folder = startfile.and_then(Path::parent).unwrap_or(Path::new("/"));
        Dpm {
            child,
            log,
            folder: folder.to_owned(),
        }
    }
}

/// The binary that cargo built, or another one to compare with.
fn program() -> OsString {
    std::env::var_os("DPM_TEST_PROGRAM").unwrap_or_else(|| env!("CARGO_BIN_EXE_dpm").into())
}

/// The program of an example, which cargo does not build for the tests by itself.
pub fn example(name: &str) -> OsString {
    let built = std::process::Command::new(env!("CARGO"))
        .args(["build", "--example", name])
        .current_dir(env!("CARGO_MANIFEST_DIR"))
        .output()
        .expect("cargo");
    assert!(
        built.status.success(),
        "{}",
        String::from_utf8_lossy(&built.stderr)
    );
    let folder = Path::new(env!("CARGO_BIN_EXE_dpm")).parent();
    let folder = folder.expect("the folder of what cargo builds");
    folder.join("examples").join(name).into()
}

fn watch(stream: impl Read + Send + 'static, log: &Arc<Log>) {
    let log = Arc::clone(log);
    std::thread::spawn(move || {
        for line in BufReader::new(stream).split(b'\n') {
            let Ok(line) = line else { return };
            let mut bytes = log.bytes.lock().unwrap();
            bytes.extend_from_slice(&line);
            bytes.push(b'\n');
            drop(bytes);
            let line = String::from_utf8_lossy(&line).into_owned();
            log.lines.lock().unwrap().push(line);
            log.more.notify_all();
        }
    });
}

impl Dpm {
    /// Starts it with a startfile given as text and a server as `arg[1]` and `arg[2]`.
    pub fn start(script: &str, server: &Server) -> Dpm {
        Launch::script(script).server(server).start()
    }

    /// A plain 1:1 passthrough to a server, without callbacks.
    pub fn passthrough(server: &Server) -> Dpm {
        Dpm::start("require('harness').passthrough()", server)
    }

    /// A plain passthrough to a port of this host.
    pub fn passthrough_to(port: u16) -> Dpm {
        Launch::script("require('harness').passthrough()")
            .arg("127.0.0.1")
            .arg(port)
            .start()
    }

    /// The process id.
    pub fn pid(&self) -> u32 {
        self.child.id()
    }

    /// The port it listens on: the script has printed a line "port N".
    #[track_caller]
    pub fn port(&self) -> u16 {
        let line = self.wait_for(PATIENCE, "a line 'port N'", |line| {
            line.strip_prefix("port ").map(str::to_owned)
        });
        line.trim().parse().expect("a port number")
    }

    /// The port that a demo listens on: it has printed a line that ends so.
    #[track_caller]
    pub fn listening(&self) -> u16 {
        let port = self.wait_for(PATIENCE, "where it listens", |line| {
            let (_, port) = line
                .strip_prefix("dpm: ")?
                .split_once(" listening on 127.0.0.1:")?;
            Some(port.to_owned())
        });
        port.parse().expect("a port number")
    }

    /// Waits for a line that contains `needle`, and returns it.
    #[track_caller]
    pub fn line(&self, needle: &str) -> String {
        self.wait_for(PATIENCE, &format!("a line with {needle:?}"), |line| {
            line.contains(needle).then(|| line.to_owned())
        })
    }

    /// Waits until `pick` accepts a line, including those written before.
    #[track_caller]
    pub fn wait_for<T>(
        &self,
        patience: Duration,
        what: &str,
        pick: impl Fn(&str) -> Option<T>,
    ) -> T {
        let begun = Instant::now();
        let mut lines = self.log.lines.lock().unwrap();
        let mut seen = 0;
        loop {
            if let Some(found) = lines[seen..].iter().find_map(|line| pick(line)) {
                return found;
            }
            seen = lines.len();
            let left = patience.saturating_sub(begun.elapsed());
            if left.is_zero() {
                drop(lines);
                panic!("dpm did not write {what} in {patience:?}");
            }
            lines = self.log.more.wait_timeout(lines, left).unwrap().0;
        }
    }

    /// Whether a line that contains `needle` was written.
    pub fn wrote(&self, needle: &str) -> bool {
        self.count(needle) > 0
    }

    /// How many lines that contain `needle` were written, once the output has paused: lines of
    /// `dpm` take a moment to arrive here.
    pub fn count(&self, needle: &str) -> usize {
        let mut seen = usize::MAX;
        loop {
            let now = self.log.lines.lock().unwrap().len();
            if std::mem::replace(&mut seen, now) == now {
                break;
            }
            std::thread::sleep(Duration::from_millis(30));
        }
        let lines = self.log.lines.lock().unwrap();
        lines.iter().filter(|line| line.contains(needle)).count()
    }

    /// All that was written so far, byte for byte.
    pub fn output(&self) -> Vec<u8> {
        self.log.bytes.lock().unwrap().clone()
    }

    /// All lines so far that begin with `prefix`, without it.
    pub fn lines(&self, prefix: &str) -> Vec<String> {
        let lines = self.log.lines.lock().unwrap();
        lines
            .iter()
            .filter_map(|line| line.strip_prefix(prefix))
            .map(str::to_owned)
            .collect()
    }

    /// The counters of `dpm.stats()`.
    #[track_caller]
    pub fn stats(&self) -> HashMap<String, f64> {
        let before = self.count("STATS ");
        self.signal("USR1");
        super::eventually("dpm prints its counters", || self.count("STATS ") > before);
        let line = self.lines("STATS ").pop().expect("a line of counters");
        line.split_whitespace()
            .filter_map(|pair| pair.split_once('='))
            .filter_map(|(name, value)| Some((name.to_owned(), value.parse().ok()?)))
            .collect()
    }

    /// One counter.
    #[track_caller]
    pub fn stat(&self, name: &str) -> f64 {
        let stats = self.stats();
        *stats
            .get(name)
            .unwrap_or_else(|| panic!("no counter {name:?} in {stats:?}"))
    }

    /// Waits until no connection is left.
    #[track_caller]
    pub fn wait_until_idle(&self) {
        let begun = Instant::now();
        loop {
            let stats = self.stats();
            if stats["clients"] == 0.0 && stats["servers"] == 0.0 {
                return;
            }
            assert!(
                begun.elapsed() < PATIENCE,
                "connections are still open: {stats:?}"
            );
            std::thread::sleep(Duration::from_millis(20));
        }
    }

    /// Waits until it has processed all that it was sent, that is, until it sleeps and keeps
    /// sleeping. Bytes over the loopback interface make their receiver runnable at once, so this
    /// also works on a busy machine.
    #[track_caller]
    pub fn settle(&self) {
        let (mut rounds, mut before) = (0, None);
        super::eventually("dpm has nothing left to do", || {
            let (sleeps, runs) = process::activity(self.pid());
            let same = sleeps && before.as_ref() == Some(&runs);
            rounds = if same { rounds + 1 } else { 0 };
            before = Some(runs);
            rounds >= 5
        });
    }

    /// Panics if a callback has failed or a protocol error was counted.
    #[track_caller]
    pub fn assert_no_errors(&self) {
        let stats = self.stats();
        assert_eq!(stats["callback_errors"], 0.0, "{stats:?}");
        assert_eq!(stats["protocol_errors"], 0.0, "{stats:?}");
    }

    /// Sends a signal by name.
    pub fn signal(&self, name: &str) {
        process::signal(&self.child, name);
    }

    /// Asks it to end (SIGTERM) and waits for that.
    #[track_caller]
    pub fn stop(&mut self) -> ExitStatus {
        self.signal("TERM");
        self.wait_for_end()
    }

    /// Waits for its end.
    #[track_caller]
    pub fn wait_for_end(&mut self) -> ExitStatus {
        process::wait(&mut self.child, PATIENCE).expect("dpm ends")
    }

    /// Whether it still runs.
    pub fn runs(&mut self) -> bool {
        self.child
            .try_wait()
            .expect("it can be waited for")
            .is_none()
    }

    /// Memory in KiB: "VmRSS" now, "VmHWM" at its peak.
    pub fn memory_kib(&self, field: &str) -> u64 {
        process::memory_kib(self.pid(), field)
    }

    /// How long its loop has been on a processor.
    pub fn cpu_time(&self) -> Duration {
        process::cpu_time(self.pid())
    }

    /// Its open file descriptors.
    pub fn open_files(&self) -> usize {
        process::open_files(self.pid())
    }

    /// Waits until no more than `before` files are open, that is, until every connection is closed.
    #[track_caller]
    pub fn wait_for_open_files(&self, before: usize) {
        super::eventually("every connection closes", || self.open_files() <= before);
    }
}

impl Drop for Dpm {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let status = self.child.wait();
        if std::thread::panicking() {
            let mut lines = self.log.lines.lock().unwrap();
            // Only the last of several lines of counters is of interest.
            lines.dedup_by(|b, a| a.starts_with("STATS ") && b.starts_with("STATS "));
            println!("--- dpm ended with {status:?}; the end of what it wrote:");
            for line in &lines[lines.len().saturating_sub(200)..] {
                println!("  {line}");
            }
        }
    }
}
