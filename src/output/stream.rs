//! A stream with its queue and its thread.

use std::io::{self, Write};
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError};
use std::thread;
use std::time::{Duration, Instant};

/// How long the thread waits when somebody else has made the descriptor non-blocking, and its reader
/// takes nothing.
const RETRY: Duration = Duration::from_millis(10);

/// What a stream is written to.
pub trait Sink: Write + Send {
    /// It is told to begin anew, as a file of a log whose name another file has now.
    fn reopen(&mut self) {}

    /// It could not be written, and these bytes are lost.
    fn lost(&mut self, _bytes: &[u8], _error: &io::Error) {}
}

/// How what was dropped is made known.
#[derive(Debug)]
pub enum Dropped {
    /// By these bytes in the stream itself.
    Note(Vec<u8>),
    /// It has been told elsewhere.
    Told,
}

/// Bytes on their way to a stream that may block.
#[derive(Debug)]
pub struct OutputStream {
    shared: Arc<Shared>,
    capacity: usize,
    /// Whether a write that does not fit waits for its reader.
    waits: AtomicBool,
}

#[derive(Debug, Default)]
struct Shared {
    queue: Mutex<Queue>,
    /// There is something to write.
    filled: Condvar,
    /// Something was written.
    emptied: Condvar,
}

#[derive(Debug, Default)]
struct Queue {
    waiting: Vec<u8>,
    /// How many bytes the thread has taken and not written yet.
    in_hand: usize,
    /// How many writes did not fit since that was last told.
    dropped: u64,
    /// The sink is to begin anew.
    reopen: bool,
}

impl Queue {
    fn len(&self) -> usize {
        self.waiting.len() + self.in_hand
    }

    fn is_empty(&self) -> bool {
        self.len() == 0 && self.has_nothing_new()
    }

    fn has_nothing_new(&self) -> bool {
        self.waiting.is_empty() && self.dropped == 0 && !self.reopen
    }
}

impl Shared {
    /// The queue stays usable whatever happened to another thread that had it.
    fn queue(&self) -> MutexGuard<'_, Queue> {
        self.queue.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl OutputStream {
    /// Starts the thread that writes to `sink`. When it can write again after something was dropped,
    /// it calls `tell` with the number of writes.
    pub fn new(
        name: &str,
        sink: Box<dyn Sink>,
        capacity: usize,
        tell: fn(u64) -> Dropped,
    ) -> OutputStream {
        let shared = Arc::<Shared>::default();
        let own = shared.clone();
        // Not joined: it may wait for a reader for ever. Without it (no more threads are allowed)
        // the queue fills, and all else goes on.
        let _ = thread::Builder::new()
            .name(name.to_owned())
            .spawn(move || serve(&own, sink, tell));
        OutputStream {
            shared,
            capacity,
            waits: AtomicBool::new(false),
        }
    }

    /// Lets writes wait for their reader while `f` runs, in which there is nobody else to wait: a script
    /// before the loop. So nothing of what it writes is lost.
    pub fn waiting<R>(&self, f: impl FnOnce() -> R) -> R {
        self.waits.store(true, Ordering::Relaxed);
        let result = f();
        self.waits.store(false, Ordering::Relaxed);
        result
    }

    /// Queues the bytes, all or none: what does not fit is dropped.
    pub fn write(&self, bytes: &[u8]) {
        if self.waits.load(Ordering::Relaxed) {
            return self.write_patiently(bytes);
        }
        let mut queue = self.shared.queue();
        if queue.len() + bytes.len() > self.capacity {
            queue.dropped += 1;
            return;
        }
        queue.waiting.extend_from_slice(bytes);
        self.shared.filled.notify_one();
    }

    fn write_patiently(&self, bytes: &[u8]) {
        for part in bytes.chunks(self.capacity) {
            let mut queue = self.shared.queue();
            while queue.len() + part.len() > self.capacity {
                queue = wait(&self.shared.emptied, queue);
            }
            queue.waiting.extend_from_slice(part);
            self.shared.filled.notify_one();
        }
    }

    /// Has the thread open its sink anew, before it writes anything else.
    pub fn reopen(&self) {
        self.shared.queue().reopen = true;
        self.shared.filled.notify_one();
    }

    /// Waits until everything is written, as long as that takes.
    pub fn flush_patiently(&self) {
        let mut queue = self.shared.queue();
        while !queue.is_empty() {
            queue = wait(&self.shared.emptied, queue);
        }
    }

    /// Waits until everything is written, but not longer than this, unless writes wait, too.
    pub fn flush(&self, patience: Duration) -> bool {
        if self.waits.load(Ordering::Relaxed) {
            self.flush_patiently();
        }
        let began = Instant::now();
        let mut queue = self.shared.queue();
        while !queue.is_empty() {
            let left = patience.saturating_sub(began.elapsed());
            if left.is_zero() {
                return false;
            }
            let waited = self.shared.emptied.wait_timeout(queue, left);
            queue = waited.unwrap_or_else(PoisonError::into_inner).0;
        }
        true
    }
}

fn wait<'a>(condition: &Condvar, queue: MutexGuard<'a, Queue>) -> MutexGuard<'a, Queue> {
    condition
        .wait(queue)
        .unwrap_or_else(PoisonError::into_inner)
}

/// The thread: writes what is queued, for ever.
fn serve(shared: &Shared, mut sink: Box<dyn Sink>, tell: fn(u64) -> Dropped) {
    loop {
        let (mut batch, dropped, reopen) = {
            let mut queue = shared.queue();
            while queue.has_nothing_new() {
                queue = wait(&shared.filled, queue);
            }
            let batch = std::mem::take(&mut queue.waiting);
            let reopen = std::mem::take(&mut queue.reopen);
            // (One more where something else is done, so that nobody takes the queue for empty before.)
            queue.in_hand = batch.len() + usize::from(queue.dropped > 0 || reopen);
            (batch, std::mem::take(&mut queue.dropped), reopen)
        };
        if reopen {
            sink.reopen();
        }
        // What was dropped came after what is in the queue.
        if dropped > 0
            && let Dropped::Note(note) = tell(dropped)
        {
            batch.extend_from_slice(&note);
        }
        let note_progress = |left| {
            shared.queue().in_hand = left;
            shared.emptied.notify_all();
        };
        write_all(&mut *sink, &batch, note_progress);
        note_progress(0);
    }
}

/// Writes what the sink takes. An error other than a full pipe loses the batch: nobody reads any more, or the
/// disk is full, and what comes later may be written again.
fn write_all(sink: &mut dyn Sink, mut bytes: &[u8], progress: impl Fn(usize)) {
    while !bytes.is_empty() {
        match sink.write(bytes) {
            Ok(0) => return sink.lost(bytes, &io::ErrorKind::WriteZero.into()),
            Ok(written) => bytes = bytes.get(written..).unwrap_or_default(),
            Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
            Err(error) if error.kind() == io::ErrorKind::WouldBlock => thread::sleep(RETRY),
            Err(error) => return sink.lost(bytes, &error),
        }
        progress(bytes.len());
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::sync::mpsc::{Receiver, Sender, channel};

    const PATIENCE: Duration = Duration::from_secs(20);

    /// A stream whose reader takes a write for each permit.
    struct Slow(Receiver<()>, Sender<Vec<u8>>);

    impl Write for Slow {
        fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
            match self.0.recv() {
                Ok(()) => self.1.send(bytes.to_vec()).map_err(io::Error::other)?,
                Err(_) => return Err(io::ErrorKind::BrokenPipe.into()),
            }
            Ok(bytes.len())
        }

        fn flush(&mut self) -> io::Result<()> {
            Ok(())
        }
    }

    impl Sink for Slow {}

    fn note(count: u64) -> Dropped {
        Dropped::Note(format!("({count})").into_bytes())
    }

    fn slow(capacity: usize) -> (OutputStream, Sender<()>, Receiver<Vec<u8>>) {
        let (permit, permits) = channel();
        let (taken, written) = channel();
        let sink = Box::new(Slow(permits, taken));
        (
            OutputStream::new("test", sink, capacity, note),
            permit,
            written,
        )
    }

    #[test]
    fn what_does_not_fit_is_dropped_and_told() {
        let (stream, permit, written) = slow(4);
        for bytes in ["abc", "de", "f", "g"] {
            stream.write(bytes.as_bytes());
        }
        assert!(!stream.flush(Duration::from_millis(1)));
        for _ in 0..4 {
            permit.send(()).unwrap();
        }
        assert!(stream.flush(PATIENCE));
        let all: Vec<u8> = written.try_iter().flatten().collect();
        assert_eq!(String::from_utf8_lossy(&all), "abcf(2)");
        stream.write(b"more");
        assert!(stream.flush(PATIENCE));
        assert_eq!(written.recv().unwrap(), b"more");
    }

    #[test]
    fn a_patient_writer_loses_nothing() {
        let (stream, permit, written) = slow(4);
        let reader = thread::spawn(move || {
            let mut all = Vec::new();
            while all.len() < 26 {
                permit.send(()).unwrap();
                all.extend(written.recv().unwrap());
            }
            all
        });
        stream.waiting(|| {
            stream.write(b"abcdefghijklm");
            stream.write(b"nopqrstuvwxyz");
            stream.flush(Duration::ZERO);
        });
        assert_eq!(reader.join().unwrap(), (b'a'..=b'z').collect::<Vec<_>>());
    }

    #[test]
    fn nothing_waits_for_a_reader_who_has_gone() {
        let (stream, permit, _written) = slow(4);
        drop(permit);
        for _ in 0..3 {
            stream.waiting(|| stream.write(b"more than four"));
            assert!(stream.flush(PATIENCE));
        }
    }
}
