//! A test that hangs fails: every wait of the harness has an end, and this is for those that are not its
//! own, such as that for a thread.

use std::cell::OnceCell;
use std::collections::HashMap;
use std::io::Write;
use std::sync::{Mutex, OnceLock, PoisonError};
use std::thread::ThreadId;
use std::time::{Duration, Instant};

/// How long a test may take. The longest take one minute on a machine that has nothing else to do.
const LIMIT: Duration = Duration::from_secs(300);

/// The tests that run, by their thread.
static RUNNING: Mutex<Option<HashMap<ThreadId, (String, Instant)>>> = Mutex::new(None);

/// Unwatches the test when its thread ends.
struct Watched(ThreadId);

thread_local! {
    static WATCHED: OnceCell<Option<Watched>> = const { OnceCell::new() };
}

/// Watches the test of this thread from now on. Threads that the test itself has made have no name and
/// are not watched: their test is.
pub fn watch() {
    // A thread that ends may use the harness once more in its destructors.
    let _ = WATCHED.try_with(|watched| {
        watched.get_or_init(|| {
            let thread = std::thread::current();
            // The main thread is not one test: it runs all of the matrix, or with one thread all tests.
            let test = thread.name().filter(|name| *name != "main")?.to_owned();
            bark_in_time();
            running(|tests| tests.insert(thread.id(), (test, Instant::now() + limit())));
            Some(Watched(thread.id()))
        });
    });
}

/// The test of this thread, which is watched, may take so much longer.
pub fn extend(more: Duration) {
    let thread = std::thread::current().id();
    running(|tests| {
        if let Some((_, end)) = tests.get_mut(&thread) {
            *end += more;
        }
    });
}

impl Drop for Watched {
    fn drop(&mut self) {
        running(|tests| tests.remove(&self.0));
    }
}

/// What was asked to last longer may: a soak.
fn limit() -> Duration {
    let asked = std::env::var("DPM_SOAK_SECONDS").ok();
    let seconds = asked.and_then(|text| text.parse().ok()).unwrap_or(0);
    LIMIT + Duration::from_secs(seconds)
}

fn running<T>(with: impl FnOnce(&mut HashMap<ThreadId, (String, Instant)>) -> T) -> T {
    let mut tests = RUNNING.lock().unwrap_or_else(PoisonError::into_inner);
    with(tests.get_or_insert_default())
}

/// Starts the thread that looks after the tests.
fn bark_in_time() {
    static STARTED: OnceLock<()> = OnceLock::new();
    STARTED.get_or_init(|| {
        std::thread::spawn(|| {
            loop {
                std::thread::sleep(Duration::from_secs(1));
                let now = Instant::now();
                let late = running(|tests| {
                    let late = tests.values().filter(|(_, end)| *end < now);
                    late.map(|(test, _)| test.clone()).collect::<Vec<_>>()
                });
                if !late.is_empty() {
                    // Through the descriptor, not `eprintln!`: the runner would swallow that.
                    let _ = writeln!(
                        std::io::stderr(),
                        "\ntest {} ... FAILED: it hangs, for {:?} at least",
                        late.join(", "),
                        limit()
                    );
                    // Nothing can end another thread. The servers and proxies go with the process.
                    std::process::exit(101);
                }
            }
        });
    });
}
