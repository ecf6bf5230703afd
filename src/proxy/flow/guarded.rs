//! Panics. Each is a bug, of the proxy or of an observer, and ends the connection that was being
//! handled, but not the others.
//!
//! It is sound to go on: what a panic interrupts is the change of a few connections' state, and
//! these connections are closed. Borrows of the table end when the stack is unwound; what the table
//! has of other connections is not touched, and a counter that is wrong by one harms nobody. The
//! binding to Lua is entered and left by frames that may be unwound.

use std::panic::{AssertUnwindSafe, catch_unwind};

use crate::proxy::Proxy;
use crate::proxy::id::ConnId;
use crate::proxy::table::conn::Role;

const REASON: &str = "a panic, which is a bug (the log has more)";

impl Proxy {
    /// Does a part of the loop's work. After a panic in it the connection that it was about is
    /// closed, together with its peer; a listener stays.
    pub(crate) fn guarded(&self, id: Option<ConnId>, work: impl FnOnce()) {
        if catch_unwind(AssertUnwindSafe(work)).is_ok() {
            return;
        }
        self.core().stats.panics += 1;
        let peer = id.and_then(|id| self.core().get(id)?.peer);
        for id in [id, peer].into_iter().flatten() {
            let is_listener = self
                .core()
                .get(id)
                .is_some_and(|conn| matches!(conn.role, Role::Listener(_)));
            if is_listener {
                log::error!("listener {}: a panic was caught", id.serial);
                self.core().schedule(id);
                continue;
            }
            log::error!("connection {}: a panic was caught: closing it", id.serial);
            let closed = catch_unwind(AssertUnwindSafe(|| self.close_for(id, REASON)));
            if closed.is_err() {
                self.core().finish(id);
            }
        }
    }

    /// Tells others something that must not stop what is going on.
    pub(crate) fn telling(&self, id: ConnId, tell: impl FnOnce()) {
        if catch_unwind(AssertUnwindSafe(tell)).is_err() {
            self.core().stats.panics += 1;
            log::error!(
                "connection {}: a panic was caught while it closes",
                id.serial
            );
        }
    }
}
