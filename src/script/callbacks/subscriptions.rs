//! The functions for what comes from other workers.

use std::cell::RefCell;
use std::collections::HashMap;

use crate::script::lua::refs::Ref;

/// The functions by the names of channels, and by those of `dpm.once`.
#[derive(Debug, Default)]
pub(crate) struct Subscriptions {
    pub functions: RefCell<HashMap<Box<str>, Ref>>,
    pub once: RefCell<HashMap<Box<str>, Ref>>,
}
