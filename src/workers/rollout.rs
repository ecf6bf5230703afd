//! Something new for all workers, such as another startfile: each prepares it, and only when all have, it is in use in each. If
//! one cannot, or does not answer in time, nothing changes in any.

use std::sync::Mutex;

use super::lock;

/// What is decided.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Decision {
    /// Some workers are still preparing it.
    Open,
    /// All have prepared it: it is in use.
    Use,
    /// Nothing changes, for this reason.
    Drop(String),
}

/// One attempt to bring something new to all workers.
#[derive(Debug)]
pub struct Rollout {
    /// What it is about.
    pub content: Vec<u8>,
    /// For how many workers it is.
    pub count: usize,
    state: Mutex<State>,
}

#[derive(Debug)]
struct State {
    /// Those who have not prepared it yet.
    missing: Vec<usize>,
    decision: Decision,
}

impl Rollout {
    /// For the workers from 1 to this number.
    pub fn new(content: Vec<u8>, count: usize) -> Rollout {
        Rollout {
            content,
            count,
            state: Mutex::new(State {
                missing: (1..=count).collect(),
                decision: Decision::Open,
            }),
        }
    }

    /// What is decided so far.
    pub fn decision(&self) -> Decision {
        lock(&self.state).decision.clone()
    }

    /// Whether this worker still has to prepare it.
    pub fn waits_for(&self, worker: usize) -> bool {
        let state = lock(&self.state);
        state.decision == Decision::Open && state.missing.contains(&worker)
    }

    /// A worker has prepared it, or cannot. True if that decides.
    pub fn report(&self, worker: usize, result: Result<(), String>) -> bool {
        let state = &mut *lock(&self.state);
        if state.decision != Decision::Open {
            return false;
        }
        state.missing.retain(|missing| *missing != worker);
        match result {
            Err(why) => state.decision = Decision::Drop(format!("worker {worker}: {why}")),
            Ok(()) if state.missing.is_empty() => state.decision = Decision::Use,
            Ok(()) => return false,
        }
        true
    }

    /// It has taken too long. True if that decides.
    pub fn give_up(&self) -> bool {
        let state = &mut *lock(&self.state);
        if state.decision != Decision::Open {
            return false;
        }
        let missing = state.missing.iter().map(ToString::to_string);
        let missing: Vec<_> = missing.collect();
        let why = format!("no answer from worker {}", missing.join(", "));
        state.decision = Decision::Drop(why);
        true
    }
}
