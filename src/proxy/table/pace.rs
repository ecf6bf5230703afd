//! How slowly a client may send a packet.
//!
//! What has arrived of a packet is kept until it is complete. A packet that has begun may take
//! [`GRACE`]; after that its bytes have to come at [`PACE`] or more.

use std::time::{Duration, Instant};

use super::conn::Role;
use super::core::{Core, TimerKey};
use super::limits::Pace;
use super::sides::ReadSide;
use crate::proxy::id::ConnId;

/// How long a packet may take, however few bytes come.
const GRACE: Duration = Duration::from_secs(30);

/// How often the pace of a packet that takes longer is checked…
const WINDOW: Duration = Duration::from_secs(5);

/// …and how many bytes must have come in that time: 1 KB a second.
const PACE: u64 = 5 * 1000;

impl ReadSide {
    /// Whether a part of a packet has come, and the rest is still to come.
    fn is_inside_packet(&self) -> bool {
        self.streaming.is_some() || !self.input.is_empty() && !self.input.suffices()
    }
}

impl Core {
    /// A connection's turn is over. `packets`: how many packets had been received before it.
    pub fn end_turn(&mut self, id: ConnId, packets: u64) {
        self.account(id);
        let is_another = self.stats.packets != packets;
        let now = self.now;
        let Some(conn) = self.open_mut(id) else {
            return;
        };
        let inside = conn.read.is_inside_packet() && matches!(conn.role, Role::Client(_));
        match conn.limits.pace() {
            None if inside => self.watch_pace(id, now, now + GRACE),
            None => {}
            Some(pace) if !inside => pace.since = None,
            Some(pace) if is_another || pace.since.is_none() => pace.since = Some(now),
            Some(_) => {}
        }
    }

    fn watch_pace(&mut self, id: ConnId, since: Instant, due: Instant) {
        let timer = self.timers.insert(due, TimerKey::Pace(id));
        if let Some(conn) = self.open_mut(id) {
            conn.limits.set_pace(Some(Pace {
                timer,
                since: Some(since),
                bytes: 0,
            }));
        }
    }

    /// It is time to check the pace of a client. Returns whether it is too slow.
    pub fn is_too_slow(&mut self, id: ConnId) -> bool {
        let now = self.now;
        // Whoever is not read, or has sent what has not been read yet, is not slow.
        let waits_for_us = !self.may_take(id) && !self.is_streaming(id);
        let Some(conn) = self.open_mut(id) else {
            return false;
        };
        let excused = waits_for_us || conn.read.readable || !conn.read.stopped.is_empty();
        let Some(Pace { since, bytes, .. }) = conn.limits.set_pace(None) else {
            return false;
        };
        let Some(since) = since else {
            return false;
        };
        if now < since + GRACE {
            self.watch_pace(id, since, since + GRACE);
            return false;
        }
        let is_first = now < since + GRACE + WINDOW;
        if is_first || excused || bytes >= PACE {
            self.watch_pace(id, since, now + WINDOW);
            return false;
        }
        self.stats.timeouts += 1;
        true
    }

    fn is_streaming(&self, id: ConnId) -> bool {
        self.open(id)
            .is_some_and(|conn| conn.read.streaming.is_some())
    }
}
