//! The functions that are to be told of clients that leave before their answer is complete.

use std::cell::RefCell;
use std::collections::HashMap;

use mlua::Function;

use crate::script::lua::refs::{Ref, Refs};

/// Those of one listener, by the exchange.
#[derive(Debug, Default)]
pub struct Leaving(RefCell<HashMap<u64, Vec<Ref>>>);

impl Leaving {
    /// Notes a function.
    pub fn add(&self, refs: &Refs, exchange: u64, function: &Function) -> mlua::Result<()> {
        let function = refs.keep(function)?;
        let mut all = self.0.borrow_mut();
        all.entry(exchange).or_default().push(function);
        Ok(())
    }

    /// The client has left.
    pub fn take(&self, exchange: u64) -> Vec<Ref> {
        self.0.borrow_mut().remove(&exchange).unwrap_or_default()
    }

    /// The answer is complete.
    pub fn forget(&self, refs: &Refs, exchange: u64) {
        refs.release(self.take(exchange));
    }
}
