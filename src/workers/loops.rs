//! Loops of workers that do not turn: the log is told of them, they may be relieved, and the service manager hears nothing more.

use std::io;
use std::sync::{Arc, Weak};
use std::time::{Duration, Instant};

use super::MAX_WORKERS;
use super::program::Program;
use super::pulse::Patience;
use super::watchdog::{Look, watch};
use crate::net::ServiceManager;

/// The longest time between two looks.
const LOOKS: Duration = Duration::from_millis(500);

/// What was noticed of one worker.
#[derive(Debug, Clone, Copy, Default)]
struct Noticed {
    /// The log is told when it has been held up for this long.
    tell_at: Duration,
    /// It was held up when it was looked at last.
    is_late: bool,
}

/// The loops of a program.
#[derive(Debug)]
struct Loops {
    program: Weak<Program>,
    noticed: [Noticed; MAX_WORKERS],
}

/// Has the loops of a program watched, for as long as it is there.
///
/// # Errors
/// The system allows no more threads.
pub fn watch_loops(program: &Arc<Program>) -> io::Result<()> {
    watch(Box::new(Loops {
        program: Arc::downgrade(program),
        noticed: [Noticed::default(); MAX_WORKERS],
    }))
}

impl Look for Loops {
    fn look(&mut self) -> Option<Duration> {
        let program = self.program.upgrade()?;
        let patience = program.patience();
        for (number, noticed) in (1..=program.count()).zip(&mut self.noticed) {
            look_at(&program, number, patience, noticed);
        }
        Some(match patience.limit.is_zero() {
            true => LOOKS,
            false => (patience.limit / 2).min(LOOKS),
        })
    }
}

fn look_at(program: &Arc<Program>, number: usize, patience: Patience, noticed: &mut Noticed) {
    let Some(pulse) = program.pulse(number) else {
        return;
    };
    let late = pulse.busy_for();
    let late = late.filter(|busy| !patience.limit.is_zero() && *busy >= patience.limit);
    let Some(busy) = late else {
        if std::mem::take(&mut noticed.is_late) {
            program.relieve(number, false);
        }
        noticed.tell_at = patience.limit;
        return;
    };
    noticed.is_late = true;
    if busy < noticed.tell_at {
        return;
    }
    // Then less and less often.
    noticed.tell_at = busy * 2;
    // A callback that does not return is watched by itself, and is told of once.
    if !pulse.is_inside() {
        log::warn!(
            "the loop of worker {number} has not turned for {:.1} s: nothing else of it can run",
            busy.as_secs_f32()
        );
    }
    if patience.relieves {
        program.relieve(number, true);
    }
}

/// The service manager, which is to be told that the program is alive.
#[derive(Debug)]
struct Alive {
    program: Weak<Program>,
    service_manager: Weak<ServiceManager>,
    period: Duration,
    last: Instant,
}

/// Tells the service manager every so often that the program is alive, as long as all loops turn but for those that were
/// relieved. It is told no more when it is dropped.
pub(super) fn tell_alive(program: &Arc<Program>, service_manager: &Arc<ServiceManager>) {
    let Some(period) = service_manager.pulse() else {
        return;
    };
    service_manager.alive();
    let alive = Alive {
        program: Arc::downgrade(program),
        service_manager: Arc::downgrade(service_manager),
        period,
        last: Instant::now(),
    };
    if let Err(error) = watch(Box::new(alive)) {
        log::error!("the service manager will not be told that the program is alive: {error}");
    }
}

impl Look for Alive {
    fn look(&mut self) -> Option<Duration> {
        let (program, service_manager) = (self.program.upgrade()?, self.service_manager.upgrade()?);
        let since = self.last.elapsed();
        if since < self.period {
            return Some(self.period - since);
        }
        self.last = Instant::now();
        if program.turns(self.period) {
            service_manager.alive();
        }
        Some(self.period)
    }
}
