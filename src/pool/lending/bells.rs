//! How the pools of several workers, which are one to the program, tell each other that something has changed.

use std::fmt;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, Weak};

use super::locks::lock;

/// Tells one worker's pool to look again.
pub struct Bell {
    is_rung: AtomicBool,
    wake: Box<dyn Fn() + Send + Sync>,
}

impl Bell {
    /// A bell that has `wake` called, so that the worker's loop turns.
    pub fn new(wake: impl Fn() + Send + Sync + 'static) -> Arc<Bell> {
        Arc::new(Bell {
            is_rung: AtomicBool::new(false),
            wake: Box::new(wake),
        })
    }

    /// Something has changed.
    pub fn ring(&self) {
        // Whoever has rung before has woken the worker, which has not looked since.
        if !self.is_rung.swap(true, Ordering::SeqCst) {
            (self.wake)();
        }
    }

    /// Whether it was rung since it was looked at last.
    pub fn was_rung(&self) -> bool {
        self.is_rung.load(Ordering::Relaxed) && self.is_rung.swap(false, Ordering::SeqCst)
    }
}

impl fmt::Debug for Bell {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Bell")
    }
}

/// The bells of all workers' pools that are one to the program.
#[derive(Debug, Default)]
pub struct Bells(Mutex<Vec<Weak<Bell>>>);

impl Bells {
    /// From now on this one is rung, too, for as long as it is there.
    pub fn add(&self, bell: &Arc<Bell>) {
        let all = &mut *lock(&self.0);
        all.retain(|other| other.strong_count() > 0);
        all.push(Arc::downgrade(bell));
    }

    /// Rings all but one's own.
    pub fn ring_others(&self, own: &Arc<Bell>) {
        for bell in lock(&self.0).iter().filter_map(Weak::upgrade) {
            if !Arc::ptr_eq(&bell, own) {
                bell.ring();
            }
        }
    }
}
