//! The standard streams, written so that nobody who reads them slowly can stop the program.
//!
//! A pipe or a terminal takes some kilobytes, then a write waits for its reader. The loop must not
//! wait: so a thread of its own writes each stream, from a queue that is bounded. What does not fit
//! into the queue is dropped and counted. The descriptors stay as they are (blocking): their flags
//! belong to the open file, which other processes share.
//!
//! Knows nothing of the rest of the program.

mod stream;

use std::fs::File;
use std::io::{self, Write};
use std::os::fd::{AsFd, BorrowedFd};
use std::sync::OnceLock;
use std::time::{Duration, Instant};

pub use stream::{Dropped, OutputStream};

/// How much of the log may wait for its reader.
const LOG_QUEUE: usize = 8 << 20;
/// How much of what scripts print may wait for its reader.
const PRINT_QUEUE: usize = 16 << 20;

/// How long the end of the program waits for a reader who does not read.
pub const LAST_FLUSH: Duration = Duration::from_secs(1);

static STDERR: OnceLock<OutputStream> = OnceLock::new();
static STDOUT: OnceLock<OutputStream> = OnceLock::new();

/// Standard error: the log.
pub fn stderr() -> &'static OutputStream {
    let note = |count| {
        let lines = if count == 1 { "line was" } else { "lines were" };
        let note =
            format!("dpm: {count} log {lines} dropped, as the log was not read fast enough\n");
        Dropped::Note(note.into_bytes())
    };
    STDERR.get_or_init(|| {
        let sink = own(io::stderr(), io::stderr().as_fd());
        OutputStream::new("stderr", sink, LOG_QUEUE, note)
    })
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

/// Waits until everything is written that is queued for either stream, for [`LAST_FLUSH`] at most.
pub fn flush() {
    let began = Instant::now();
    for stream in [&STDOUT, &STDERR] {
        if let Some(stream) = stream.get() {
            stream.flush(LAST_FLUSH.saturating_sub(began.elapsed()));
        }
    }
}

/// A descriptor of our own for the same open file. Through the standard library's handle the thread
/// would hold that handle's lock while it waits for the reader. Only if there is no descriptor left,
/// the handle has to do.
fn own(handle: impl Write + Send + 'static, fd: BorrowedFd<'_>) -> Box<dyn Write + Send> {
    match fd.try_clone_to_owned() {
        Ok(fd) => Box::new(File::from(fd)),
        Err(_) => Box::new(handle),
    }
}
