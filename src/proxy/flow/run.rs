//! The loop: wait, handle events, write, free.

use std::io;
use std::net::SocketAddr;
use std::time::{Duration, Instant};

use crate::net::{LastResort, Ready, Signal};
use crate::output;
use crate::proxy::Proxy;
use crate::proxy::id::ConnId;
use crate::proxy::table::conn::{Life, Listed, Role, Socket};
use crate::proxy::table::core::{Core, SIGNALS, TimerKey};
use crate::proxy::table::guests::GUESTS;
use crate::proxy::table::sides::{FarEnd, Stopped};
use crate::proxy::table::slice::Slice;
use crate::workers::{Message, Pulse, Stop};

/// The longest wait, which limits the effect of a clock that jumps.
const LONGEST_WAIT: Duration = Duration::from_secs(60);

/// How many rounds of work that callbacks cause at the end of a tick are done before the next tick.
const FINISHING_PASSES: usize = 4;

/// A pass of the loop that takes longer than this is logged.
const SLOW_TICK: Duration = Duration::from_millis(500);

impl Proxy {
    /// Runs until there is nothing left to wait for, [`exit`](Self::exit) is called, or a signal
    /// ends it; returns the exit code.
    ///
    /// # Errors
    /// The system's poller fails.
    pub fn run(&self) -> io::Result<i32> {
        let code = self.turn();
        // The program may end as soon as it has the code.
        output::flush();
        code
    }

    /// From now on SIGTERM and SIGINT end the whole process even if a callback, or whatever else runs on
    /// this thread, never returns: when it has not returned within [`Options::drain`](crate::proxy::Options) (or
    /// what follows has not ended soon after), or at once at a second signal. The program `dpm` does
    /// this; a program that embeds the proxy may have reasons of its own to live on.
    ///
    /// # Errors
    /// The system allows no more descriptors or threads.
    pub fn end_with_signals(&self) -> io::Result<()> {
        let core = &mut *self.core();
        let last_resort = LastResort::new(core.defaults.drain)?;
        core.worker.set_last_resort(last_resort);
        Ok(())
    }

    /// Whether a signal (SIGTERM or SIGINT) has told the program to end.
    pub fn told_to_stop(&self) -> bool {
        self.core().told_to_stop
    }

    fn turn(&self) -> io::Result<i32> {
        let mut ready = Vec::new();
        self.core().check_certificates_later();
        self.core().tell_ready();
        loop {
            self.finish_tick();
            {
                let core = self.core();
                if let Some(code) = core.exit {
                    return Ok(code);
                }
                if core.waits_for_nothing() && core.worker.rest() {
                    log::info!("no listener, connection or timer is left to wait for: leaving");
                    return Ok(0);
                }
            }
            let timeout = self.core().timeout();
            let woken = self.wait(timeout, &mut ready)?;
            let began = Instant::now();
            self.core().now = began;
            for event in ready.drain(..) {
                if event.token == SIGNALS {
                    self.guarded(None, || self.signals());
                } else {
                    self.core().note_ready(event);
                }
            }
            self.guarded(None, || self.resolved());
            if woken || self.core().has_messages {
                self.messages();
            }
            self.work();
            self.guests_turn();
            self.timers_due();
            let took = began.elapsed();
            self.core().note_tick(took);
            if took > SLOW_TICK {
                log::warn!("one pass of the loop took {} ms", took.as_millis());
            }
        }
    }

    fn wait(&self, timeout: Duration, ready: &mut Vec<Ready>) -> io::Result<bool> {
        let core = &mut *self.core();
        let pulse = core.worker.pulse();
        pulse.into_iter().for_each(Pulse::waits);
        let woken = core.poller.wait(Some(timeout), ready);
        pulse.into_iter().for_each(Pulse::begins);
        woken
    }

    /// Leaves the loop with this code as [`stop`](Self::stop) does: in order.
    pub fn exit(&self, code: i32) {
        let stopping = {
            let mut core = self.core();
            core.set_exit_code(code);
            core.worker.stop_others(Stop::Exit(code));
            // A loop that is held up does not see it.
            if let Some(last_resort) = core.worker.last_resort()
                && core.worker.count() > 1
                && !core.stopping
            {
                last_resort.note_seen();
                last_resort.ring();
            }
            core.stopping
        };
        if !stopping {
            self.stop();
        }
    }

    /// Whether it has been told to stop, in whichever way.
    pub fn is_stopping(&self) -> bool {
        self.core().stopping
    }

    /// Reads from the connections that are queued for reading. Those that are queued meanwhile are
    /// read in the next tick.
    fn work(&self) {
        let count = self.core().work.len();
        for _ in 0..count {
            let next = {
                let mut core = self.core();
                core.slice = Slice::of(count);
                let next = core.work.pop_front();
                if let Some(conn) = next.and_then(|id| core.get_mut(id)) {
                    conn.listed.remove(Listed::TO_PUMP);
                }
                next
            };
            let Some(id) = next else {
                return;
            };
            let packets = self.core().stats.packets;
            enum Work {
                Accept,
                Connect,
                Header,
                Pump,
                Part,
                None,
            }
            let work = match self
                .core()
                .get(id)
                .map(|conn| (conn.life, &conn.socket, conn.awaits_header()))
            {
                Some((Life::Closing, ..)) => Work::Part,
                Some((Life::Open, Socket::Listening(_), _)) => Work::Accept,
                Some((Life::Open, Socket::Connecting(_), _)) => Work::Connect,
                Some((Life::Open, Socket::Open(_), true)) => Work::Header,
                Some((Life::Open, Socket::Open(_), false)) => Work::Pump,
                _ => Work::None,
            };
            self.guarded(Some(id), || match work {
                Work::Accept => self.accept(id),
                Work::Connect => self.connected(id),
                Work::Header => self.read_header(id),
                Work::Pump => self.pump(id),
                Work::Part => self.core().part(id),
                Work::None => {}
            });
            {
                let mut core = self.core();
                core.end_turn(id, packets);
                core.note_turn(id);
            }
            self.guarded(None, || self.relieve());
        }
    }

    /// The end of a tick, repeated until nothing is left: write, report drained queues, free.
    fn finish_tick(&self) {
        for _ in 0..FINISHING_PASSES {
            let close_soon = std::mem::take(&mut self.core().close_soon);
            for (id, reason) in &close_soon {
                self.guarded(Some(*id), || self.close_for(*id, reason));
            }
            self.guarded(None, || self.tell_end_of_tick());
            let mut dirty = std::mem::take(&mut self.core().dirty);
            for id in &dirty {
                self.guarded(Some(*id), || self.flush(*id));
            }
            self.guarded(None, || self.relieve());
            self.core().reap();
            let is_over = dirty.is_empty();
            dirty.clear();
            self.core().go_on_with(dirty);
            if is_over {
                break;
            }
        }
        {
            let core = &mut *self.core();
            core.dirty.append(&mut core.postponed);
        }
        self.depart();
        self.check_drained();
    }

    fn flush(&self, id: ConnId) {
        let flushed = self.core().flush(id);
        if let Some(error) = flushed.error {
            let closing = self.core().get(id).is_some_and(|conn| conn.closing());
            if closing {
                self.core().finish_closing(id);
            } else {
                self.core().note_broken(id, error);
            }
            return;
        }
        let closing = self.core().flush_ended(id);
        if closing {
            return;
        }
        if flushed.drained {
            self.core().unthrottle(id);
            self.fire_all(id, crate::session::Event::Drained.set());
        }
    }

    /// Continues the connections whose server's name has been resolved, and hands on what was looked up for the layer
    /// above.
    fn resolved(&self) {
        let replies = self.core().resolver.poll_replies();
        for (serial, result) in replies {
            let look_up = self.core().look_ups.remove(&serial);
            if let Some(key) = look_up {
                let addresses = result.map(|all| all.iter().map(SocketAddr::ip).collect());
                self.hooks().resolved(key, addresses);
                continue;
            }
            let failed = {
                let mut core = self.core();
                let Some(id) = core.resolving.remove(&serial) else {
                    continue;
                };
                if core.open(id).is_none() {
                    continue;
                }
                let connecting = result.and_then(|addresses| core.connect_next(id, addresses));
                connecting.err().map(|error| (id, error))
            };
            if let Some((id, error)) = failed {
                self.close_for(id, &format!("cannot connect: {error}"));
            }
        }
    }

    fn signals(&self) {
        let signals = self.core().signals.take();
        for signal in signals {
            match signal {
                Signal::Term | Signal::Int => {
                    let announced = {
                        let core = &mut *self.core();
                        core.note_told_to_stop();
                        core.worker.stop_others(Stop::Signal);
                        std::mem::take(&mut core.signal_is_announced)
                    };
                    if !announced {
                        self.stop();
                    }
                }
                Signal::Hup => self.reload(),
                Signal::Usr1 => {
                    self.hooks().signal(signal.name());
                }
                Signal::Usr2 => {
                    if !self.hooks().signal(signal.name()) {
                        self.upgrade_by_signal();
                    }
                }
            }
        }
    }

    /// Takes what others have for this worker.
    fn messages(&self) {
        let messages = {
            let core = &mut *self.core();
            let (messages, more) = core.worker.take_messages();
            core.has_messages = more;
            messages
        };
        for message in messages {
            match message {
                Message::Client(client) => {
                    self.guarded(None, || self.take_over(client));
                    self.core().worker.client_arrived();
                }
                Message::Published(message) => {
                    self.guarded(None, || self.hooks().published(&message));
                }
                Message::Rollout(rollout) => self.guarded(None, || self.hooks().rollout(&rollout)),
                Message::Once(name) => self.guarded(None, || self.hooks().once(&name)),
                Message::Stop(stop) => self.others_stop(stop),
                Message::Moving(moving) => self.guarded(None, || self.moving(moving)),
                Message::Listen => self.listen_again(),
            }
        }
    }

    /// Another worker was told to end.
    fn others_stop(&self, stop: Stop) {
        let is_stopping = {
            let core = &mut *self.core();
            match stop {
                Stop::Exit(code) => core.set_exit_code(code),
                Stop::Signal if core.told_to_stop => {}
                Stop::Signal => {
                    core.note_told_to_stop();
                    core.signal_is_announced = true;
                }
            }
            core.stopping
        };
        if !is_stopping {
            self.stop();
        }
    }

    /// Stops accepting, closes idle connections, and lets exchanges in flight finish. On a second
    /// call exits at once.
    pub fn stop(&self) {
        let (listeners, drain) = {
            let mut core = self.core();
            if core.stopping {
                log::warn!("told to stop a second time: exiting at once");
                core.exit = Some(core.exit_code);
                return;
            }
            core.stopping = true;
            let listeners: Vec<_> = core
                .conns
                .iter()
                .filter(|(_, conn)| matches!(conn.role, Role::Listener(_)))
                .map(|(_, conn)| conn.id())
                .collect();
            (listeners, core.defaults.drain)
        };
        log::info!(
            "stopping: exchanges in flight have {} s to finish",
            drain.as_secs_f32()
        );
        self.core().tell_stopping();
        for id in listeners {
            self.close_for(id, "the proxy is stopping");
        }
        let due = Instant::now() + drain;
        self.core().timers.insert(due, TimerKey::Drain);
    }

    /// While stopping: closes clients that wait for nothing, and exits when none is left.
    fn check_drained(&self) {
        if !self.core().stopping || self.core().exit.is_some() {
            return;
        }
        let idle = self.core().idle_clients();
        for id in idle {
            self.close_for(id, "the proxy is stopping");
        }
        let mut core = self.core();
        let busy = core.conns.iter().any(|(_, conn)| {
            matches!(conn.role, Role::Client(_)) || conn.unsent() || conn.is_parting()
        });
        if !busy && !core.guests.are_busy() {
            core.exit = Some(core.exit_code);
        }
    }
}

impl Core {
    fn waits_for_nothing(&self) -> bool {
        self.conns.is_empty()
            && self.guests.is_empty()
            && self.script_timers == 0
            && self.look_ups.is_empty()
    }

    fn set_exit_code(&mut self, code: i32) {
        self.exit_code = code;
        if let Some(last_resort) = self.worker.last_resort() {
            last_resort.set_exit_code(code);
        }
    }

    fn note_told_to_stop(&mut self) {
        self.told_to_stop = true;
        if let Some(last_resort) = self.worker.last_resort() {
            last_resort.note_seen();
        }
    }

    fn timeout(&self) -> Duration {
        let idle = self.work.is_empty()
            && self.dirty.is_empty()
            && !self.guests.are_waiting()
            && self.finished.is_empty()
            && self.close_soon.is_empty()
            && !self.has_messages
            && !self.departures.have_work();
        if !idle {
            return Duration::ZERO;
        }
        self.timers.next_deadline().map_or(LONGEST_WAIT, |due| {
            due.saturating_duration_since(Instant::now())
                .min(LONGEST_WAIT)
        })
    }

    /// Remembers readiness, which the poller reports only once.
    fn note_ready(&mut self, ready: Ready) {
        if let Some(slot) = ready.token.checked_sub(GUESTS) {
            self.guests.note_ready(slot, ready);
            return;
        }
        let Some(conn) = self.conns.get_mut(ready.token) else {
            return;
        };
        conn.read.readable |= ready.readable || ready.read_closed || ready.error;
        conn.read.far_end_is(match ready {
            Ready { error: true, .. } => FarEnd::Gone,
            Ready {
                read_closed: true, ..
            } => FarEnd::HungUp,
            _ => FarEnd::Open,
        });
        conn.write.writable |= ready.writable || ready.error;
        let id = conn.id();
        if ready.writable && conn.unsent() {
            self.touch(id);
        }
        self.schedule(id);
    }

    fn note_tick(&mut self, took: Duration) {
        let us = u64::try_from(took.as_micros()).unwrap_or(u64::MAX);
        self.stats.ticks += 1;
        self.stats.loop_lag_us = us;
        self.stats.loop_lag_max_us = self.stats.loop_lag_max_us.max(us);
    }

    /// Its queue has fallen below the low-water mark: the source of the queue is read again.
    fn unthrottle(&mut self, id: ConnId) {
        let Some(conn) = self.get(id) else {
            return;
        };
        for source in [conn.peer, conn.write.source()].into_iter().flatten() {
            if let Some(conn) = self.open_mut(source) {
                conn.read.stopped.remove(Stopped::THROTTLED);
                self.schedule(source);
            }
        }
    }

    /// Nothing can be written any more; bytes that the far end has sent are still read.
    fn note_broken(&mut self, id: ConnId, error: io::Error) {
        if let Some(conn) = self.open_mut(id) {
            conn.write.broken = Some(error);
            conn.write.writable = false;
            conn.read.readable = true;
            conn.read.far_end_is(FarEnd::Gone);
            conn.read.stopped = Stopped::empty();
            self.schedule(id);
        }
    }

    /// Whether a closing connection has nothing left to flush; it is freed then.
    fn flush_ended(&mut self, id: ConnId) -> bool {
        let Some(conn) = self.get(id).filter(|conn| conn.closing()) else {
            return false;
        };
        if !conn.unsent() && !conn.is_parting() {
            self.finish(id);
        }
        true
    }

    /// A closing connection whose socket failed has nothing to wait for.
    fn finish_closing(&mut self, id: ConnId) {
        if self.get(id).is_some_and(|conn| conn.closing()) {
            self.finish(id);
        }
    }

    /// Frees the connections that have ended. Only at the end of the tick, so that an event of the
    /// same batch cannot reach a new connection in the same slot.
    fn reap(&mut self) {
        for id in std::mem::take(&mut self.finished) {
            self.drop_socket(id);
            if let Some(conn) = self.get_mut(id) {
                conn.drop_buffers();
                self.account(id);
            }
            if self.resolving.remove(&id.serial()).is_some() {
                self.resolver.cancel(id.serial());
            }
            if self.get(id).is_some() {
                self.conns.remove(id.slot());
            }
        }
    }

    fn idle_clients(&self) -> Vec<ConnId> {
        self.conns
            .iter()
            .map(|(_, conn)| conn)
            .filter(|conn| !conn.closing() && !conn.unsent())
            .filter(|conn| match &conn.role {
                // A binlog stream has no end to wait for, and the replica reconnects.
                Role::Client(session) => {
                    session.idle()
                        || !session.authenticated()
                        || conn.in_binlog() && conn.write.inbound.is_none()
                }
                _ => false,
            })
            .map(crate::proxy::table::conn::Conn::id)
            .collect()
    }
}
