//! The standard streams and the log's file, written so that neither a slow reader nor a slow disk can stop the program.
//!
//! A pipe or a terminal takes some kilobytes, then a write waits for its reader. The loop must not
//! wait: so a thread of its own writes each stream, from a queue that is bounded. What does not fit
//! into the queue is dropped and counted. The descriptors stay as they are (blocking): their flags
//! belong to the open file, which other processes share.
//!
//! Knows nothing of the rest of the program.

mod log_file;
mod log_line;
mod recent;
mod stream;

use std::fs::File;
use std::io::{self, Write};
use std::os::fd::{AsFd, BorrowedFd};
use std::path::Path;
use std::sync::OnceLock;
use std::time::{Duration, Instant};

use log_file::LogFile;
pub use log_line::{log_line, set_log_line};
pub use recent::{Line, keep_line, recent_lines};
use stream::Sink;
pub use stream::{Dropped, OutputStream};

/// How much of the log may wait for its reader.
const LOG_QUEUE: usize = 8 << 20;
/// How much of what scripts print may wait for its reader.
const PRINT_QUEUE: usize = 16 << 20;

/// How long the end of the program waits for a reader who does not read.
pub const LAST_FLUSH: Duration = Duration::from_secs(1);

static STDERR: OnceLock<OutputStream> = OnceLock::new();
static STDOUT: OnceLock<OutputStream> = OnceLock::new();
static LOG_FILE: OnceLock<OutputStream> = OnceLock::new();

/// Standard error: the log, unless that has a file.
pub fn stderr() -> &'static OutputStream {
    STDERR.get_or_init(|| {
        let sink = own(io::stderr(), io::stderr().as_fd());
        OutputStream::new("stderr", sink, LOG_QUEUE, note_dropped)
    })
}

/// Where the log goes.
pub fn log() -> &'static OutputStream {
    LOG_FILE.get().unwrap_or_else(stderr)
}

/// From now on the log goes to the end of this file.
///
/// # Errors
/// The file cannot be written.
pub fn log_to_file(path: &Path) -> io::Result<()> {
    let file = LogFile::open(path, |line| stderr().write(line))?;
    LOG_FILE.get_or_init(|| OutputStream::new("log", Box::new(file), LOG_QUEUE, note_dropped));
    Ok(())
}

/// Opens the log's file anew, if it has one: it has been renamed, and another is to take its place.
pub fn reopen_log() {
    if let Some(log) = LOG_FILE.get() {
        log.reopen();
    }
}

fn note_dropped(count: u64) -> Dropped {
    let lines = if count == 1 { "line was" } else { "lines were" };
    let note = format!("{count} log {lines} dropped, as the log was not read fast enough");
    Dropped::Note(log_line(&note))
}

/// Standard output: what scripts print.
pub fn stdout() -> &'static OutputStream {
    // Not into the stream itself, which may be data for a program.
    let log = |count| {
        log::warn!(
            "{count} writes to the standard output were dropped, as it was not read fast enough"
        );
        Dropped::Told
    };
    STDOUT.get_or_init(|| {
        let sink = own(io::stdout(), io::stdout().as_fd());
        OutputStream::new("stdout", sink, PRINT_QUEUE, log)
    })
}

/// Waits until everything is written that is queued for any stream, for [`LAST_FLUSH`] at most.
pub fn flush() {
    let began = Instant::now();
    for stream in [&STDOUT, &LOG_FILE, &STDERR] {
        if let Some(stream) = stream.get() {
            stream.flush(LAST_FLUSH.saturating_sub(began.elapsed()));
        }
    }
}

/// A descriptor of our own for the same open file. Through the standard library's handle the thread
/// would hold that handle's lock while it waits for the reader. Only if there is no descriptor left,
/// the handle has to do.
fn own(handle: impl Write + Send + 'static, fd: BorrowedFd<'_>) -> Box<dyn Sink> {
    match fd.try_clone_to_owned() {
        Ok(fd) => Box::new(Standard(File::from(fd))),
        Err(_) => Box::new(Standard(handle)),
    }
}

/// A standard stream. What it does not take is lost, and there is nobody to tell it to.
struct Standard<W>(W);

impl<W: Write> Write for Standard<W> {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        self.0.write(bytes)
    }

    fn flush(&mut self) -> io::Result<()> {
        self.0.flush()
    }
}

impl<W: Write + Send> Sink for Standard<W> {}
