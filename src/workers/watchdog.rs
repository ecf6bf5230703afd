//! The one thread that looks at what may hang: callbacks of scripts, loops of workers.

use std::io;
use std::sync::{Condvar, Mutex, PoisonError};
use std::thread;
use std::time::Duration;

use super::lock;

/// The longest time between two looks.
const PERIOD: Duration = Duration::from_millis(500);

/// What the thread needs, in bytes. It does next to nothing, and address space may be scarce.
const STACK: usize = 256 << 10;

/// Something that may hang.
pub trait Look: Send {
    /// Looks at it, and tells after how long to look again at the latest; `None` if it is gone.
    ///
    /// Nothing is to be allocated before there is something to tell: the C library would reserve 64 MiB of addresses for this
    /// thread, which a limited process may not have.
    fn look(&mut self) -> Option<Duration>;
}

struct Watch {
    looks: Mutex<Vec<Box<dyn Look>>>,
    changed: Condvar,
    is_running: Mutex<bool>,
}

static WATCH: Watch = Watch {
    looks: Mutex::new(Vec::new()),
    changed: Condvar::new(),
    is_running: Mutex::new(false),
};

/// Has this looked at from now on.
///
/// # Errors
/// The system allows no more threads: then nothing is looked at, and all else goes on.
pub fn watch(look: Box<dyn Look>) -> io::Result<()> {
    let is_running = &mut *lock(&WATCH.is_running);
    if !*is_running {
        thread::Builder::new()
            .name("watchdog".to_owned())
            .stack_size(STACK)
            .spawn(keep_watch)?;
        *is_running = true;
    }
    lock(&WATCH.looks).push(look);
    look_soon();
    Ok(())
}

/// Something is to be looked at sooner than it was said to be.
pub fn look_soon() {
    WATCH.changed.notify_one();
}

/// The thread.
fn keep_watch() {
    let mut looks = lock(&WATCH.looks);
    loop {
        let mut period = PERIOD;
        looks.retain_mut(|each| {
            let next = each.look();
            period = period.min(next.unwrap_or(PERIOD));
            next.is_some()
        });
        let waited = WATCH.changed.wait_timeout(looks, period);
        looks = waited.unwrap_or_else(PoisonError::into_inner).0;
    }
}
