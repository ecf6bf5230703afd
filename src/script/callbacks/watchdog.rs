//! Callbacks are watched from another thread: one that does not return is told in the log, and ended if it has a
//! budget.

use std::cell::Cell;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Weak};
use std::time::Duration;

use mlua::{FromLuaMulti, Function, Lua, Table};

use super::subject::Subject;
use crate::script::lua::fast::coarse_clock;
use crate::script::lua::interrupt::{Interrupter, Interruptible};
use crate::workers::{Look, Worker, look_soon, watch};

/// A callback that runs for longer than this is told in the log; then again after ten times this, and so on.
const LONG: Duration = Duration::from_secs(1);
/// How often it is looked where nothing has a budget.
const PERIOD: Duration = Duration::from_millis(500);
/// How often it looks at most, and so how exact a budget is.
const SHORTEST_PERIOD: Duration = Duration::from_millis(5);

/// What a state lets the thread know.
#[derive(Debug)]
struct Watched {
    interrupter: Interrupter,
    /// The worker whose state it is.
    worker: Worker,
    /// When the call that runs began, in milliseconds of the coarse clock.
    began: AtomicU64,
    /// What it is for, packed; 0 if that is not known.
    subject: AtomicU64,
    /// How long it may take, in milliseconds; 0: for ever.
    budget: AtomicU64,
    /// The same for calls to come.
    usual_budget: AtomicU64,
}

/// A state, and what the thread has told about it.
#[derive(Debug)]
struct Entry {
    watched: Weak<Watched>,
    /// The call that it was told about.
    call: u64,
    /// After how long it is told next.
    next: Duration,
}

impl Look for Entry {
    fn look(&mut self) -> Option<Duration> {
        let watched = self.watched.upgrade()?;
        let call = watched.interrupter.running();
        let budget = watched.budget.load(Ordering::Relaxed);
        if call != self.call {
            (self.call, self.next) = (call, LONG);
        }
        if call != 0 {
            let now = milliseconds(coarse_clock());
            let took = now.saturating_sub(watched.began.load(Ordering::Relaxed));
            if budget != 0 && took > budget {
                // Again and again while it runs: it may have taken the hook away.
                if let Err(error) = watched.interrupter.interrupt(call) {
                    log::error!("a callback that runs for too long cannot be ended: {error}");
                }
            }
            if took >= milliseconds(self.next) {
                self.next *= 10;
                let subject = Subject::unpack(watched.subject.load(Ordering::Relaxed));
                let subject = subject.map_or_else(String::new, |subject| format!(" {subject}"));
                let worker = match watched.worker.count() {
                    1 => String::new(),
                    _ => format!("worker {}: ", watched.worker.number()),
                };
                log::warn!(
                    "{worker}callback{subject}: has been running for {} s, and nothing else can run",
                    took / 1000
                );
            }
        }
        let usual = watched.usual_budget.load(Ordering::Relaxed);
        let budgets = [budget, usual].into_iter().filter(|budget| *budget != 0);
        let shortest = budgets.min().map(|ms| Duration::from_millis(ms) / 4);
        Some(shortest.map_or(PERIOD, |period| period.clamp(SHORTEST_PERIOD, PERIOD)))
    }
}

/// Has the callbacks of a state watched.
#[derive(Debug)]
pub struct Watchdog {
    state: Interruptible,
    watched: Arc<Watched>,
    /// The number of the last call.
    calls: Cell<u64>,
    jit: Table,
}

/// A call that is watched, until this is dropped.
#[derive(Debug)]
pub struct Call<'a> {
    watchdog: &'a Watchdog,
    number: u64,
    /// What ran around it.
    outer: Outer,
}

#[derive(Debug, Clone, Copy, Default)]
struct Outer {
    call: u64,
    began: u64,
    subject: u64,
    budget: u64,
}

impl Watchdog {
    /// Begins to watch.
    pub fn new(lua: &Lua, worker: Worker) -> mlua::Result<Watchdog> {
        let state = Interruptible::new(lua);
        let watched = Arc::new(Watched {
            interrupter: state.interrupter(),
            worker,
            began: AtomicU64::new(0),
            subject: AtomicU64::new(0),
            budget: AtomicU64::new(0),
            usual_budget: AtomicU64::new(0),
        });
        // Where no more threads are allowed, nothing is told or ended, and all else goes on.
        let _ = watch(Box::new(Entry {
            watched: Arc::downgrade(&watched),
            call: 0,
            next: LONG,
        }));
        let loaded: Table = lua.named_registry_value("_LOADED")?;
        Ok(Watchdog {
            state,
            watched,
            calls: Cell::new(0),
            jit: loaded.get("jit")?,
        })
    }

    /// Gives each callback from now on a budget; without one they may take for ever. Code that may have to be ended
    /// is not compiled: compiled code could not be interrupted.
    pub fn set_budget(&self, budget: Option<Duration>) -> mlua::Result<()> {
        let usual = budget.map_or(0, milliseconds);
        let before = self.watched.usual_budget.swap(usual, Ordering::Relaxed);
        match (before, budget) {
            (0, Some(_)) => self.stop_compiling()?,
            (1.., None) => self.compile()?,
            _ => {}
        }
        look_soon();
        Ok(())
    }

    /// A callback begins, at this time of the coarse clock.
    pub fn begin(&self, subject: Option<Subject>, now: Duration) -> Call<'_> {
        let subject = subject.map_or(0, Subject::pack);
        let budget = self.watched.usual_budget.load(Ordering::Relaxed);
        self.call(subject, milliseconds(now), budget, Outer::default())
    }

    /// Runs this with a budget of its own, within a callback or outside of one. What it calls is not compiled.
    pub fn limited<R>(&self, budget: Duration, run: impl FnOnce() -> R) -> mlua::Result<R> {
        let compiles = self.jit("status")?;
        if compiles {
            self.stop_compiling()?;
        }
        let watched = &*self.watched;
        let outer = Outer {
            call: self.state.turns().running(),
            began: watched.began.load(Ordering::Relaxed),
            subject: watched.subject.load(Ordering::Relaxed),
            budget: watched.budget.load(Ordering::Relaxed),
        };
        let now = milliseconds(coarse_clock());
        let call = self.call(outer.subject, now, milliseconds(budget), outer);
        look_soon();
        let result = run();
        drop(call);
        if compiles {
            self.compile()?;
        }
        Ok(result)
    }

    fn call(&self, subject: u64, began: u64, budget: u64, outer: Outer) -> Call<'_> {
        let number = self.calls.get() + 1;
        self.calls.set(number);
        self.note(number, began, subject, budget);
        Call {
            watchdog: self,
            number,
            outer,
        }
    }

    fn note(&self, call: u64, began: u64, subject: u64, budget: u64) {
        let watched = &*self.watched;
        watched.began.store(began, Ordering::Relaxed);
        watched.subject.store(subject, Ordering::Relaxed);
        watched.budget.store(budget, Ordering::Relaxed);
        self.state.turns().run(call);
    }

    fn stop_compiling(&self) -> mlua::Result<()> {
        self.jit::<()>("off")?;
        // What is compiled already would be run.
        self.jit("flush")
    }

    fn compile(&self) -> mlua::Result<()> {
        self.jit("on")
    }

    fn jit<R: FromLuaMulti>(&self, function: &str) -> mlua::Result<R> {
        self.jit.get::<Function>(function)?.call(())
    }
}

impl Drop for Call<'_> {
    fn drop(&mut self) {
        let Outer {
            call,
            began,
            subject,
            budget,
        } = self.outer;
        self.watchdog.note(call, began, subject, budget);
        self.watchdog.state.clear(self.number);
    }
}

fn milliseconds(time: Duration) -> u64 {
    u64::try_from(time.as_millis()).unwrap_or(u64::MAX)
}
