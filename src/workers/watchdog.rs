//! Workers whose loops do not turn: the log is told of them, and they may be relieved.

use std::sync::{Arc, Weak};
use std::time::Duration;
use std::{io, thread};

use super::MAX_WORKERS;
use super::program::Program;
use super::pulse::Patience;

/// The longest time between two looks.
const LOOKS: Duration = Duration::from_millis(500);

/// What its thread needs, in bytes.
const STACK: usize = 256 << 10;

/// What the watchdog has noticed of one worker.
#[derive(Debug, Clone, Copy, Default)]
struct Noticed {
    /// The log is told when it has been held up for this long.
    tell_at: Duration,
    /// It was held up when it was looked at last.
    is_late: bool,
}

/// Starts the thread that watches, for as long as the program is there. `describe` tells in words which function of the
/// script's a number stands for.
///
/// # Errors
/// The system allows no more threads.
pub fn watch(program: &Arc<Program>, describe: fn(u64) -> String) -> io::Result<()> {
    let program = Arc::downgrade(program);
    thread::Builder::new()
        .name("watchdog".to_owned())
        .stack_size(STACK)
        .spawn(move || serve(&program, describe))?;
    Ok(())
}

fn serve(program: &Weak<Program>, describe: fn(u64) -> String) {
    // Nothing is allocated before there is something to tell: the C library would reserve 64 MiB of addresses for this
    // thread, which a limited process may not have.
    let mut noticed = [Noticed::default(); MAX_WORKERS];
    loop {
        let pause = {
            let Some(program) = program.upgrade() else {
                return;
            };
            let patience = program.patience();
            for (number, noticed) in (1..=program.count()).zip(&mut noticed) {
                look(&program, number, patience, noticed, describe);
            }
            match patience.limit.is_zero() {
                true => LOOKS,
                false => (patience.limit / 2).min(LOOKS),
            }
        };
        thread::sleep(pause);
    }
}

fn look(
    program: &Program,
    number: usize,
    patience: Patience,
    noticed: &mut Noticed,
    describe: fn(u64) -> String,
) {
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
    let place = match pulse.inside() {
        0 => String::new(),
        function => format!(", in {}", describe(function)),
    };
    log::warn!(
        "the loop of worker {number} has not turned for {:.1} s{place}: nothing else of it can run",
        busy.as_secs_f32()
    );
    if patience.relieves {
        program.relieve(number, true);
    }
}
