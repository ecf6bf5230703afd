//! Exchanges and listeners whose objects were collected. Their drop only notes them; what has to be done happens at the end of
//! the tick, when nothing is borrowed.

use std::cell::RefCell;
use std::rc::Rc;

use super::functions::Functions;
use crate::http::{Exchange, HttpListener, Refusal, Response};
use crate::script::lua::refs::Refs;

/// What was collected in this tick.
#[derive(Debug, Clone, Default)]
pub struct Dropped(Rc<RefCell<Vec<What>>>);

#[derive(Debug)]
enum What {
    Listener(Rc<HttpListener>, Rc<Functions>),
    Exchange(Exchange),
}

impl Dropped {
    /// A script has lost its listener, which stops listening.
    pub fn note_listener(&self, listener: Rc<HttpListener>, functions: Rc<Functions>) {
        let what = What::Listener(listener, functions);
        self.0.borrow_mut().push(what);
    }

    /// Nobody can answer this any more.
    pub fn note_exchange(&self, exchange: Exchange) {
        self.0.borrow_mut().push(What::Exchange(exchange));
    }

    /// Does what has to be done.
    pub fn end_of_tick(&self, refs: &Refs) {
        let all = std::mem::take(&mut *self.0.borrow_mut());
        for what in all {
            match what {
                What::Listener(listener, functions) => {
                    listener.close();
                    functions.release(refs);
                }
                What::Exchange(exchange) => abandon(&exchange),
            }
        }
    }
}

/// Ends what will never be answered.
pub(super) fn abandon(exchange: &Exchange) {
    let refusal = Refusal::new(500, "the script gave no answer");
    if !exchange.answer(&Response::error(refusal, &[])) {
        exchange.finish();
    }
}
