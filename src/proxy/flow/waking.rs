//! What makes the loop turn although nothing has come: another thread, or time.

use std::time::Instant;

use crate::proxy::Proxy;
use crate::proxy::table::core::TimerKey;

impl Proxy {
    /// What another thread calls so that the loop turns, at whose end observers are told.
    pub fn waker(&self) -> impl Fn() + Send + Sync + 'static {
        let handle = self.core().poller.wake_handle();
        move || {
            if let Err(error) = handle.wake() {
                log::error!("a worker cannot be woken: {error}");
            }
        }
    }

    /// Has the loop turn then, at the end of which observers are told.
    pub fn turn_at(&self, when: Instant) {
        self.core().timers.insert(when, TimerKey::Turn);
    }
}
