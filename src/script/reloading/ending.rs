//! The end of a state, which no client needs any more, or which has never been in use.

use std::rc::Rc;

use super::scripts::Scripts;
use super::staging::Listening;
use crate::script::Script;

impl Scripts {
    /// Ends the older states that have no clients.
    pub(super) fn end_states(&self) {
        let unused = |script: &Rc<Script>| {
            let runtime = &script.runtime;
            !runtime.staging.waits() && self.proxy.clients_of(runtime.number) == 0
        };
        let others = self.others.borrow().clone();
        for script in others.iter().filter(|script| unused(script)) {
            self.end(script);
            log::info!(
                "startfile {}: its last client has left, and it has ended",
                script.runtime.number
            );
        }
    }

    /// Closes all that a state has, and forgets the state.
    pub(super) fn end(&self, script: &Rc<Script>) {
        const REASON: &str = "its startfile has ended";
        let (runtime, proxy) = (&script.runtime, &self.proxy);
        // Nothing of it runs any more: neither what its connections nor what its timers would call.
        self.others
            .borrow_mut()
            .retain(|other| other.runtime.number != runtime.number);
        for info in proxy.owned_by(runtime.number) {
            proxy.close(info.id, REASON);
        }
        for opened in runtime.staging.listeners() {
            if let Listening::Http(listener) = opened.socket {
                listener.close();
            }
        }
        for pool in runtime.own_pools.take() {
            runtime.pools.remove(pool);
        }
        runtime.end_of_tick();
        runtime.cancel_timers();
        let functions = runtime.subscriptions.functions.borrow();
        let channels: Vec<Box<str>> = functions.keys().cloned().collect();
        drop(functions);
        let all = self.all();
        for channel in channels {
            let wants = |other: &Rc<Script>| {
                other
                    .runtime
                    .subscriptions
                    .functions
                    .borrow()
                    .contains_key(&channel)
            };
            if !all.iter().any(wants) {
                proxy.worker().unsubscribe(&channel);
            }
        }
        self.commons.reloads.states.set(all.len());
    }
}
