//! What a startfile does to the program: at once if it is in use, or else as soon as it is.

use super::staging::{Listening, Opened};
use crate::proxy::Options;
use crate::script::runtime::Runtime;

impl Runtime {
    /// Does something to the whole program, as soon as the startfile is in use.
    pub fn when_in_use(&self, effect: impl FnOnce() + 'static) {
        match self.staging.waits() {
            true => self.staging.effects.borrow_mut().push(Box::new(effect)),
            false => effect(),
        }
    }

    /// The options of connections that are made without any of their own.
    pub fn options(&self) -> Options {
        let staged = self.staging.waits();
        match staged {
            true => (self.staging.options.borrow().clone()).unwrap_or_default(),
            false => self.proxy().defaults(),
        }
    }

    /// Sets them.
    pub fn set_options(&self, options: Options) {
        match self.staging.waits() {
            true => *self.staging.options.borrow_mut() = Some(options),
            false => self.proxy().set_defaults(options),
        }
    }

    /// The listener of the startfile before whose place one at this address takes, if this startfile is not in use yet.
    pub fn listener_before(
        &self,
        address: &(String, u16),
        is_kind: impl Fn(&Listening) -> bool,
    ) -> Option<Listening> {
        let before = self.predecessor.upgrade()?;
        if !self.staging.waits() {
            return None;
        }
        let same = |opened: &&Opened| opened.address == *address && is_kind(&opened.socket);
        let taken = self.staging.listeners();
        let taken = taken.iter().filter(same).count();
        let all = before.staging.listeners();
        let mut open = all
            .iter()
            .filter(same)
            .filter(|opened| match &opened.socket {
                Listening::MySql(id) => self.proxy().info(*id).is_some(),
                Listening::Http(listener) => listener.is_open(),
            });
        open.nth(taken).map(|opened| opened.socket.clone())
    }
}
