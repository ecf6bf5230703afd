//! The functions for signals.

use std::cell::RefCell;
use std::collections::HashMap;

use mlua::Function;

/// The functions by signal.
#[derive(Debug, Default)]
pub struct SignalHandlers(pub RefCell<HashMap<&'static str, Function>>);
