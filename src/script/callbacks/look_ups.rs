//! The functions that get the addresses of names.

use std::cell::{Cell, RefCell};
use std::collections::HashMap;

use crate::script::lua::refs::Ref;

/// The function of each look-up under way, by its key.
#[derive(Debug, Default)]
pub(crate) struct LookUps {
    pub waiting: RefCell<HashMap<u64, Ref>>,
    pub last_key: Cell<u64>,
}

impl LookUps {
    /// None yet; their numbers begin after this one.
    pub fn after(key: u64) -> LookUps {
        LookUps {
            last_key: Cell::new(key),
            ..LookUps::default()
        }
    }
}
