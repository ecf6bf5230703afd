//! Child processes and a folder that do not outlive the test process.

use std::ffi::OsStr;
use std::io::{self, Read, Write};
use std::ops::{Deref, DerefMut};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, ExitStatus, Stdio};
use std::sync::atomic::{AtomicU32, Ordering};
use std::sync::{Mutex, OnceLock, mpsc};
use std::time::{Duration, Instant};

/// The folder of this test process, with a path short enough for unix sockets. A shell removes it
/// that waits for the end of a pipe from this process: that works even after `kill -9`.
pub fn root() -> &'static Path {
    static ROOT: OnceLock<PathBuf> = OnceLock::new();
    ROOT.get_or_init(|| {
        let root = tempfile::Builder::new()
            .prefix("dpm-it-")
            .tempdir()
            .expect("a temporary folder")
            .keep();
        let janitor = Command::new("sh")
            .args([
                "-c",
                r#"trap "" INT TERM HUP; read -r _; sleep 0.2; rm -rf "$1""#,
                "janitor",
            ])
            .arg(&root)
            .stdin(Stdio::piped())
            .stdout(Stdio::null())
            .stderr(Stdio::null())
            .spawn()
            .expect("the janitor starts");
        static JANITOR: Mutex<Option<Child>> = Mutex::new(None);
        *JANITOR.lock().unwrap() = Some(janitor);
        root
    })
}

/// A new folder in [`root`].
pub fn folder(name: &str) -> PathBuf {
    static NEXT: AtomicU32 = AtomicU32::new(0);
    let path = root().join(format!("{name}-{}", NEXT.fetch_add(1, Ordering::Relaxed)));
    std::fs::create_dir(&path).expect("a folder for the test");
    path
}

/// A command whose process gets SIGKILL when its parent ends. To be started by [`spawn`] only.
pub fn command(program: impl AsRef<OsStr>) -> Command {
    let mut command = Command::new("setpriv");
    command.args(["--pdeathsig", "KILL", "--"]).arg(program);
    command
}

/// A child process. Killed when dropped, so also when its test fails.
pub struct Process(Child);

impl Deref for Process {
    type Target = Child;

    fn deref(&self) -> &Child {
        &self.0
    }
}

impl DerefMut for Process {
    fn deref_mut(&mut self) -> &mut Child {
        &mut self.0
    }
}

impl Drop for Process {
    fn drop(&mut self) {
        // It may be gone already.
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}

/// Starts a [`command`]. The kernel sends the death signal when the *thread* that started the child
/// ends, and test threads end early: so one thread, which lives as long as the process, starts all.
pub fn spawn(command: Command) -> Process {
    super::watchdog::watch();
    type Job = (Command, mpsc::Sender<io::Result<Child>>);
    static SPAWNER: OnceLock<Mutex<mpsc::Sender<Job>>> = OnceLock::new();
    let spawner = SPAWNER.get_or_init(|| {
        let (jobs, inbox) = mpsc::channel::<Job>();
        std::thread::spawn(move || {
            for (mut command, reply) in inbox {
                let _ = reply.send(command.spawn());
            }
        });
        Mutex::new(jobs)
    });
    let what = format!("{command:?}");
    let (reply, answer) = mpsc::channel();
    spawner.lock().unwrap().send((command, reply)).unwrap();
    let child = answer
        .recv()
        .unwrap()
        .unwrap_or_else(|error| panic!("cannot start {what}: {error}"));
    Process(child)
}

/// Sends a signal by name, such as "TERM".
pub fn signal(child: &Child, name: &str) {
    let status = Command::new("sh")
        .arg("-c")
        .arg(format!("kill -{name} {} 2>/dev/null", child.id()))
        .status()
        .expect("sh runs");
    let _ = status; // It may be gone already.
}

/// Waits for the end of a process, `None` if it does not end in time.
pub fn wait(child: &mut Child, patience: Duration) -> Option<ExitStatus> {
    let begun = Instant::now();
    loop {
        if let Some(status) = child.try_wait().expect("a child can be waited for") {
            return Some(status);
        }
        if begun.elapsed() > patience {
            return None;
        }
        std::thread::sleep(Duration::from_millis(5));
    }
}

/// The result of a finished program.
#[derive(Debug)]
pub struct Finished {
    /// Its exit code, -1 if a signal ended it.
    pub code: i32,
    /// Its standard output.
    pub stdout: Vec<u8>,
    /// Its standard error.
    pub stderr: Vec<u8>,
}

impl Finished {
    /// Standard output as text.
    pub fn out(&self) -> String {
        String::from_utf8_lossy(&self.stdout).into_owned()
    }

    /// Standard error as text.
    pub fn err(&self) -> String {
        String::from_utf8_lossy(&self.stderr).into_owned()
    }
}

/// Runs a [`command`] to its end, with `input` as standard input. Panics if it takes too long.
#[track_caller]
pub fn run(mut command: Command, input: Vec<u8>, patience: Duration) -> Finished {
    let what = format!("{command:?}");
    command
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped());
    let mut child = spawn(command);
    let mut stdin = child.stdin.take().unwrap();
    // A program that does not read its input ends this thread with an error, which is fine.
    let feeder = std::thread::spawn(move || drop(stdin.write_all(&input)));
    let stdout = collect(child.stdout.take().unwrap());
    let stderr = collect(child.stderr.take().unwrap());
    let status = wait(&mut child, patience);
    if status.is_none() {
        let _ = child.kill();
        let _ = child.wait();
    }
    let (stdout, stderr) = (stdout.join().unwrap(), stderr.join().unwrap());
    let _ = feeder.join();
    let Some(status) = status else {
        panic!(
            "{what} did not end in {patience:?}; it said:\n{}\n{}",
            clip(&stdout),
            clip(&stderr)
        );
    };
    Finished {
        code: status.code().unwrap_or(-1),
        stdout,
        stderr,
    }
}

/// A copy of the program alone in a folder, as `dpm`.
///
/// A process of its own writes the copy: a test in another thread that starts a program just then would
/// hand the open file on to its child, and as long as a program is open for writing it cannot be run
/// (ETXTBSY).
pub fn copy_program(folder: &Path) {
    let mut copy = command("cp");
    copy.arg(env!("CARGO_BIN_EXE_dpm")).arg(folder.join("dpm"));
    let done = run(copy, Vec::new(), Duration::from_secs(60));
    assert_eq!(done.code, 0, "{}", done.err());
}

fn collect(mut pipe: impl Read + Send + 'static) -> std::thread::JoinHandle<Vec<u8>> {
    std::thread::spawn(move || {
        let mut all = Vec::new();
        let _ = pipe.read_to_end(&mut all);
        all
    })
}

/// The end of some output, short enough for a message.
pub fn clip(bytes: &[u8]) -> String {
    String::from_utf8_lossy(&bytes[bytes.len().saturating_sub(4000)..]).into_owned()
}

/// A TCP port of the loopback address that was free a moment ago.
pub fn free_port() -> u16 {
    std::net::TcpListener::bind("127.0.0.1:0")
        .and_then(|listener| listener.local_addr())
        .expect("a free port")
        .port()
}

/// A figure of `/proc/PID/status` in KiB, such as "VmRSS" or "VmHWM".
pub fn memory_kib(pid: u32, field: &str) -> u64 {
    let status = std::fs::read_to_string(format!("/proc/{pid}/status")).expect("it runs");
    status
        .lines()
        .find_map(|line| line.strip_prefix(field)?.strip_prefix(':'))
        .and_then(|rest| rest.split_whitespace().next()?.parse().ok())
        .expect("a figure in KiB")
}

/// How long the process's first thread has been on a processor.
pub fn cpu_time(pid: u32) -> Duration {
    let path = format!("/proc/{pid}/task/{pid}/schedstat");
    let text = std::fs::read_to_string(path).expect("it runs");
    let nanoseconds = text
        .split_whitespace()
        .next()
        .and_then(|first| first.parse().ok());
    Duration::from_nanos(nanoseconds.expect("a figure in nanoseconds"))
}

/// Whether a process sleeps, and how often it has run so far.
pub fn activity(pid: u32) -> (bool, Vec<String>) {
    let status = std::fs::read_to_string(format!("/proc/{pid}/status")).expect("it runs");
    let of = |field: &str| {
        let lines = status.lines().filter(|line| line.contains(field));
        lines.map(str::to_owned).collect::<Vec<_>>()
    };
    (
        of("State:") == ["State:\tS (sleeping)"],
        of("ctxt_switches:"),
    )
}

/// How long the main thread of a process has run on a processor.
pub fn time_run(pid: u32) -> Duration {
    let figures = std::fs::read_to_string(format!("/proc/{pid}/schedstat")).expect("it runs");
    let nanoseconds = figures.split_whitespace().next().expect("a figure");
    Duration::from_nanos(nanoseconds.parse().expect("a number"))
}

/// How many file descriptors a process has open.
pub fn open_files(pid: u32) -> usize {
    std::fs::read_dir(format!("/proc/{pid}/fd"))
        .expect("it runs")
        .count()
}
