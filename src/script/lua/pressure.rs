//! Drives garbage collection by the size of packets.
//!
//! A packet's object holds its bytes outside of Lua's heap, so Lua, which collects as its own heap
//! grows, sees a few dozen bytes where there may be megabytes: a client that sends long commands, one
//! after the other, would fill the memory with objects that nobody refers to any more. So the sizes
//! of packets that callbacks were shown are added up, and the collector is driven when the sum is
//! too large.

use std::cell::Cell;
use std::time::{Duration, Instant};

use mlua::Lua;

/// The most bytes that may await collection, unless Lua's own heap is larger: the cost of a cycle
/// is proportional to the heap.
const MOST: usize = 8 << 20;
/// How long the collector may take at a time, unless it has fallen far behind.
const STEP: Duration = Duration::from_millis(1);
/// The multiple of the limit at which it counts as far behind.
const FAR: usize = 2;

/// What was shown to callbacks since the last cycle of the collector ended.
#[derive(Debug, Default)]
pub struct Pressure {
    bytes: Cell<usize>,
}

impl Pressure {
    /// A callback was shown a packet of so many bytes.
    pub fn add(&self, lua: &Lua, bytes: usize) {
        let sum = self.bytes.get().saturating_add(bytes);
        self.bytes.set(sum);
        if sum < MOST {
            return;
        }
        let most = MOST.max(lua.used_memory());
        if sum < most {
            return;
        }
        let began = Instant::now();
        while sum > most.saturating_mul(FAR) || began.elapsed() < STEP {
            match lua.gc_step() {
                Ok(false) => {}
                Ok(true) => {
                    self.bytes.set(0);
                    return;
                }
                Err(error) => {
                    log::error!("garbage collection: {error}");
                    return;
                }
            }
        }
    }
}
