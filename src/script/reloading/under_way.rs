//! What is under way: a reload in all workers, and the timers of reloads.

use std::rc::Rc;
use std::sync::Arc;

use super::commons::Answered;
use crate::proxy::TimerId;
use crate::script::Script;
use crate::workers::Rollout;

/// The key of the timer after which clients are looked at again that may move. Those of states are higher.
pub const LOOK: u64 = 1;

/// The key of the timer after which nobody waits any more for workers that are to prepare a startfile.
pub const TOO_LATE: u64 = 2;

/// A reload that is under way in all workers.
#[derive(Debug, Default)]
pub struct UnderWay {
    /// What all of them know of it.
    pub rollout: Option<Arc<Rollout>>,
    /// What this worker has prepared.
    pub prepared: Option<Rc<Script>>,
    /// Those who have asked this worker for it.
    pub asked: Vec<Answered>,
    /// When it is too late.
    pub timer: Option<TimerId>,
}
