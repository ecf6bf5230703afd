//! Garbage collection while nothing happens.
//!
//! LuaJIT collects as memory is allocated. An idle proxy allocates nothing, so a connection that a
//! script no longer refers to would stay open until the proxy is busy again. So, some time after
//! the last callback, the collector runs two whole cycles in small steps. Two, because the first
//! may have visited the object before the reference was dropped.

use std::cell::Cell;
use std::time::{Duration, Instant};

use mlua::Lua;

use crate::proxy::{Proxy, TimerId};

/// How long the proxy must have been idle.
const PAUSE: Duration = Duration::from_secs(1);
/// The time between two steps.
const REST: Duration = Duration::from_millis(20);
/// How long a step may take.
const STEP: Duration = Duration::from_millis(1);

/// The progress of the collection.
#[derive(Debug, Default)]
pub struct Idle {
    /// The timer's number: those of scripts' timers are higher.
    pub key: u64,
    timer: Cell<Option<TimerId>>,
    /// Something has happened since the timer was set.
    active: Cell<bool>,
    cycles_left: Cell<u8>,
}

impl Idle {
    /// With this number for the timer.
    pub fn of(key: u64) -> Idle {
        Idle {
            key,
            ..Idle::default()
        }
    }

    /// Lua ran in this tick.
    pub fn note_activity(&self, proxy: &Proxy, has_connections: bool) {
        self.cycles_left.set(2);
        self.active.set(true);
        if self.timer.get().is_none() && has_connections {
            self.timer.set(Some(proxy.schedule(PAUSE, self.key)));
        }
    }

    /// The last connection has closed: the timer must not keep the program waiting.
    pub fn rest(&self, proxy: &Proxy) {
        if let Some(timer) = self.timer.take() {
            proxy.cancel(timer);
        }
    }

    /// The timer is due.
    pub fn due(&self, proxy: &Proxy, has_connections: bool, lua: &Lua) {
        self.timer.set(None);
        if !has_connections {
            return;
        }
        if self.active.replace(false) {
            self.timer.set(Some(proxy.schedule(PAUSE, self.key)));
            return;
        }
        let began = Instant::now();
        while self.cycles_left.get() > 0 && began.elapsed() < STEP {
            match lua.gc_step() {
                Ok(false) => {}
                Ok(true) => self.cycles_left.set(self.cycles_left.get() - 1),
                Err(error) => {
                    log::error!("garbage collection: {error}");
                    return;
                }
            }
        }
        if self.cycles_left.get() > 0 {
            self.timer.set(Some(proxy.schedule(REST, self.key)));
        }
    }
}
