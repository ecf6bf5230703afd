//! The functions that timers call.

use std::cell::{Cell, RefCell};
use std::collections::HashMap;
use std::time::Duration;

use crate::proxy::TimerId;
use crate::script::lua::refs::Ref;

/// A scheduled timer, which keeps its object, its function and its argument.
#[derive(Debug)]
pub(crate) struct Scheduled {
    pub object: Ref,
    pub function: Ref,
    pub argument: Ref,
    pub delay: Duration,
    pub id: TimerId,
}

/// All that are scheduled.
#[derive(Debug, Default)]
pub struct Timers {
    pub scheduled: RefCell<HashMap<u64, Scheduled>>,
    pub last_key: Cell<u64>,
}

impl Timers {
    /// None yet; their numbers begin after this one.
    pub fn after(key: u64) -> Timers {
        Timers {
            last_key: Cell::new(key),
            ..Timers::default()
        }
    }

    /// How many are scheduled.
    pub fn len(&self) -> usize {
        self.scheduled.borrow().len()
    }
}
