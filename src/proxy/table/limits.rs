//! The time limits of a connection.

use std::time::Instant;

use crate::net::TimerId;

/// The time limits that a connection has at present. Without any it takes no memory.
#[derive(Debug, Default)]
pub(crate) struct Limits(Option<Box<Present>>);

#[derive(Debug, Default)]
struct Present {
    /// For the connect, the login, a change of user, the last flush.
    deadline: Option<TimerId>,
    /// The idle time-out.
    idle: Option<Idle>,
    /// For the rest of a packet that has begun.
    pace: Option<Pace>,
}

/// An idle time-out that runs.
#[derive(Debug)]
pub(crate) struct Idle {
    pub timer: TimerId,
    /// When bytes last moved, in either direction.
    pub last_active: Instant,
}

/// A client that was in the middle of a packet at the end of a turn. It is kept until its timer is
/// due, so that a client with many long packets needs a timer each half minute, not for each packet.
#[derive(Debug)]
pub(crate) struct Pace {
    pub timer: TimerId,
    /// When the packet began that is not complete, if there is one.
    pub since: Option<Instant>,
    /// How many bytes have come since the pace was last checked.
    pub bytes: u64,
}

impl Limits {
    /// Sets or removes the connection's deadline. Returns the previous timer.
    pub fn set_deadline(&mut self, timer: Option<TimerId>) -> Option<TimerId> {
        self.set_limit(timer, |limits| &mut limits.deadline)
    }

    /// When its deadline is, if it has one.
    pub fn deadline(&self) -> Option<Instant> {
        Some(self.0.as_ref()?.deadline?.deadline())
    }

    /// Whether it has a deadline now.
    pub fn has_deadline(&self) -> bool {
        self.0.as_ref().is_some_and(|it| it.deadline.is_some())
    }

    /// Sets or removes the idle time-out. Returns the previous one's timer.
    pub fn set_idle(&mut self, idle: Option<Idle>) -> Option<TimerId> {
        self.set_limit(idle, |limits| &mut limits.idle)
            .map(|idle| idle.timer)
    }

    /// When bytes last moved, if it has an idle time-out.
    pub fn last_active(&self) -> Option<Instant> {
        Some(self.0.as_ref()?.idle.as_ref()?.last_active)
    }

    /// So many bytes have come now.
    pub fn has_read(&mut self, now: Instant, bytes: usize) {
        self.is_active(now);
        if let Some(pace) = self.pace() {
            pace.bytes += bytes as u64;
        }
    }

    /// Bytes move now.
    pub fn is_active(&mut self, now: Instant) {
        if let Some(limits) = &mut self.0
            && let Some(idle) = &mut limits.idle
        {
            idle.last_active = now;
        }
    }

    /// The pace that is watched, if it is.
    pub fn pace(&mut self) -> Option<&mut Pace> {
        self.0.as_mut()?.pace.as_mut()
    }

    /// Sets or removes the pace that is watched. Returns the previous one.
    pub fn set_pace(&mut self, pace: Option<Pace>) -> Option<Pace> {
        self.set_limit(pace, |limits| &mut limits.pace)
    }

    fn set_limit<T>(
        &mut self,
        limit: Option<T>,
        which: impl Fn(&mut Present) -> &mut Option<T>,
    ) -> Option<T> {
        if limit.is_none() && self.0.is_none() {
            return None;
        }
        let limits = self.0.get_or_insert_default();
        let before = std::mem::replace(which(limits), limit);
        if limits.deadline.is_none() && limits.idle.is_none() && limits.pace.is_none() {
            self.0 = None;
        }
        before
    }
}
