//! The function that is told of spans that wait to be sent.

use std::cell::RefCell;

use crate::script::lua::fast::Place;
use crate::script::lua::refs::{Ref, Refs};

/// The script's function, once there is one.
#[derive(Debug, Default)]
pub(crate) struct SpanSender(RefCell<Option<Ref>>);

impl SpanSender {
    /// Sets the function.
    pub fn set(&self, refs: &Refs, function: Ref) {
        refs.release(self.0.replace(Some(function)));
    }

    /// Where it is.
    pub fn place(&self) -> Option<Place> {
        self.0.borrow().as_ref().map(Ref::place)
    }
}
