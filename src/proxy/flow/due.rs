//! What happens when a time limit is over.

use std::time::Instant;

use crate::proxy::Proxy;
use crate::proxy::id::ConnId;
use crate::proxy::table::conn::{Role, Socket};
use crate::proxy::table::core::TimerKey;
use crate::proxy::table::sides::FarEnd;

impl Proxy {
    /// Handles all timers that are due.
    pub(crate) fn timers_due(&self) {
        let now = Instant::now();
        self.core().now = now;
        loop {
            let due = self.core().timers.pop_due(now);
            let Some((_, key)) = due else {
                return;
            };
            self.guarded(key.conn(), || self.due(key));
        }
    }

    fn due(&self, key: TimerKey) {
        match key {
            TimerKey::Script(key) => {
                {
                    let mut core = self.core();
                    core.script_timers = core.script_timers.saturating_sub(1);
                }
                self.hooks().timer(key);
            }
            TimerKey::Deadline(id) => self.deadline(id),
            TimerKey::Idle(id) => {
                let expired = self.core().idle_expired(id);
                if expired {
                    self.close_for(id, "silent for longer than idle_timeout");
                }
            }
            TimerKey::Pace(id) => {
                let too_slow = self.core().is_too_slow(id);
                if too_slow {
                    let reason = "it sends the rest of a packet too slowly";
                    log::warn!("connection {}: {reason}", id.serial);
                    self.close_for(id, reason);
                }
            }
            TimerKey::Accept(id) => {
                let mut core = self.core();
                if let Some(conn) = core.open_mut(id) {
                    conn.read.readable = true;
                }
                core.schedule(id);
            }
            TimerKey::Refusals => self.core().report_refusals(),
            TimerKey::RetryUnix(id) => self.core().try_unix(id),
            TimerKey::Guest(id) => self.core().guest_due(id),
            TimerKey::Certificates => self.core().check_certificates(),
            TimerKey::Turn => {} // the end of the tick follows
            TimerKey::Departures => self.core().look_at_clients_again(),
            TimerKey::Drain => {
                log::warn!("exchanges are still in flight: closing them");
                let mut core = self.core();
                core.exit = Some(core.exit_code);
            }
        }
    }

    fn deadline(&self, id: ConnId) {
        let what = {
            let mut core = self.core();
            if core.give_up_address(id) {
                return;
            }
            let Some(conn) = core.get_mut(id) else {
                return;
            };
            conn.limits.set_deadline(None);
            if conn.closing() {
                log::debug!(
                    "connection {}: {} bytes could not be flushed",
                    id.serial,
                    conn.write.output.len()
                );
                core.finish(id);
                return;
            }
            if let Some(rest) = conn.go_on_with_login() {
                core.set_login_deadline(id, rest);
                return;
            }
            let whole = conn.login.as_ref().and_then(|login| login.until);
            let shared = whole.is_some_and(|until| until <= Instant::now());
            let what = match (&conn.socket, &conn.role) {
                _ if conn.read.far_end == FarEnd::Ended && conn.idle() => {
                    "it has closed its sending side, and did not take its last answer in time"
                }
                _ if conn.awaits_header() => "its PROXY header took longer than handshake_timeout",
                _ if conn.logged_in() => {
                    "the change of its user took longer than handshake_timeout"
                }
                (Socket::Open(_), Role::Client(_)) => {
                    "the login took longer than handshake_timeout"
                }
                (Socket::Open(_), _) if shared => {
                    "the server's login took longer than the time that was left for it"
                }
                _ if shared => "connecting took longer than the time that was left for it",
                (Socket::Open(_), _) => "the server's login took longer than handshake_timeout",
                _ => "connecting took longer than connect_timeout",
            };
            core.stats.timeouts += 1;
            what
        };
        log::warn!("connection {}: {what}", id.serial);
        self.close_for(id, what);
    }
}

impl TimerKey {
    /// The connection that it is about.
    fn conn(self) -> Option<ConnId> {
        match self {
            TimerKey::Deadline(id)
            | TimerKey::Idle(id)
            | TimerKey::Pace(id)
            | TimerKey::Accept(id)
            | TimerKey::RetryUnix(id) => Some(id),
            TimerKey::Script(_)
            | TimerKey::Refusals
            | TimerKey::Certificates
            | TimerKey::Turn
            | TimerKey::Departures
            | TimerKey::Guest(_)
            | TimerKey::Drain => None,
        }
    }
}
