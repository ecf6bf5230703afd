//! The list of observers, the events that each wants to see of each connection, and the order in
//! which an event is shown.

use std::rc::Rc;

use super::list::List;
use super::observer::{Observer, Shown};
use crate::proxy::Proxy;
use crate::proxy::hooks::{Hooks, Verdict};
use crate::proxy::id::ConnId;
use crate::proxy::info::ConnInfo;
use crate::proxy::outgoing::Packet;
use crate::proxy::table::conn::Course;
use crate::session::{Event, EventSet};

impl Proxy {
    /// Adds an observer after the existing ones.
    pub fn observe(&self, observer: Rc<dyn Observer>) {
        {
            let mut observers = self.0.observers.borrow_mut();
            let before = observers.list.iter().flat_map(|list| list.iter());
            let list: List = before.cloned().chain([observer]).collect();
            observers.list = Some(list);
        }
        self.rearm_all();
    }

    /// Asks the observers again which events they want to see of any connection.
    pub fn rearm_all(&self) {
        let open = self.core().all_open();
        for id in open {
            self.rearm(id);
        }
    }

    /// Asks the observers again which events they want to see of a connection.
    pub fn rearm(&self, id: ConnId) {
        let Some(list) = self.observers() else {
            return;
        };
        let Some(info) = self.info(id) else {
            return;
        };
        let mut wishes = self.0.observers.borrow_mut().spare();
        wishes.extend(list.iter().map(|observer| observer.wants(self, &info)));
        // Looked up only now, as an observer may do anything.
        let Some(armed) = self.core().open(id).map(|conn| conn.armed) else {
            return;
        };
        let armed = self
            .0
            .observers
            .borrow_mut()
            .set_observers(id, armed, wishes);
        self.set_armed(id, armed);
    }

    /// Sets the events on a connection that call [`Hooks::event`]; `Event::Closing` and those of a
    /// listener call their own hooks, armed or not. On an opaque link, arming anything closes it.
    pub fn arm(&self, id: ConnId, events: EventSet) {
        if self.core().open(id).is_some() {
            let armed = self.0.observers.borrow_mut().set_hooks(id, events);
            self.set_armed(id, armed);
        }
    }

    fn set_armed(&self, id: ConnId, events: EventSet) {
        let opaque = {
            let mut core = self.core();
            let Some(conn) = core.open_mut(id) else {
                return;
            };
            conn.armed = events;
            conn.course == Course::Opaque && events.meets(EventSet::OF_PACKETS)
        };
        if opaque {
            self.close_for(
                id,
                "a callback was registered, but an unknown command has made the link opaque",
            );
        }
    }

    fn observers(&self) -> Option<List> {
        self.0.observers.borrow().list.clone()
    }

    /// Shows an event to the observers that want to see it, then to the hooks.
    pub(crate) fn show(&self, hooks: &dyn Hooks, shown: Shown<'_>) -> Verdict {
        let watching = self.0.observers.borrow().watching(shown);
        match watching {
            None => hooks.event(shown.conn, shown.event, shown.packet),
            Some(list) => self.show_from(0, &list, hooks, shown),
        }
    }

    /// The same from the observer in this place on.
    fn show_from(
        &self,
        mut place: usize,
        list: &[Rc<dyn Observer>],
        hooks: &dyn Hooks,
        shown: Shown<'_>,
    ) -> Verdict {
        while let Some(observer) = list.get(place) {
            place += 1;
            if !self
                .0
                .observers
                .borrow()
                .wants(shown.conn.id, place - 1)
                .has(shown.event)
            {
                continue;
            }
            let verdict = match observer.event(self, shown) {
                Verdict::Forward => self.show_from(place, list, hooks, shown),
                stopped => stopped,
            };
            return observer.settled(self, shown, verdict);
        }
        if self.hooks_want(shown.conn.id, shown.event) {
            return hooks.event(shown.conn, shown.event, shown.packet);
        }
        Verdict::Forward
    }

    fn hooks_want(&self, id: ConnId, event: Event) -> bool {
        let wish = self.0.observers.borrow().of(id).map(|wishes| wishes.hooks);
        // If no observer wants anything, all armed events are the hooks'.
        let wish = wish.unwrap_or_else(|| self.core().armed(id, event.set()));
        wish.has(event)
    }

    /// Why one of two connections cannot go over to another process, as far as observers know.
    pub(crate) fn kept_by_observers(&self, client: ConnId) -> Option<&'static str> {
        let list = self.observers()?;
        let ids = [Some(client), self.peer(client)];
        let mut kept = list.iter().flat_map(|observer| {
            let ids = ids.into_iter().flatten();
            ids.filter_map(|id| observer.keeps(self, id))
        });
        kept.next()
    }

    pub(crate) fn tell_opened(&self, info: &Rc<ConnInfo>) {
        let Some(list) = self.observers() else {
            return;
        };
        for observer in list.iter() {
            observer.opened(self, info);
        }
        self.rearm(info.id);
    }

    pub(crate) fn tell_sent(&self, id: ConnId, packet: &Packet<'_>) {
        let Some(list) = self.0.observers.borrow().attending(id) else {
            return;
        };
        let Some(info) = self.info(id) else {
            return;
        };
        for (place, observer) in list.iter().enumerate() {
            let wants = self.0.observers.borrow().wants(id, place);
            if wants != EventSet::NONE {
                observer.sent(self, &info, packet);
            }
        }
    }

    pub(crate) fn tell_linked(&self, client: ConnId, server: ConnId) {
        for observer in self.observers().iter().flat_map(|list| list.iter()) {
            observer.linked(self, client, server);
        }
        self.rearm(client);
        self.rearm(server);
        self.hooks().linked(client, server);
    }

    pub(crate) fn tell_unlinked(&self, client: ConnId, server: ConnId) {
        for observer in self.observers().iter().flat_map(|list| list.iter()) {
            observer.unlinked(self, client, server);
        }
        self.rearm(client);
        self.rearm(server);
        self.hooks().unlinked(client, server);
    }

    pub(crate) fn tell_end_of_tick(&self) {
        self.hooks().end_of_tick();
        for observer in self.observers().iter().flat_map(|list| list.iter()) {
            observer.end_of_tick(self);
        }
    }

    pub(crate) fn tell_closing(&self, info: &Rc<ConnInfo>, collected: bool) {
        self.hooks().closing(info, collected);
        for observer in self.observers().iter().flat_map(|list| list.iter()) {
            observer.closing(self, info);
        }
        self.0.observers.borrow_mut().forget(info.id);
    }
}

#[cfg(test)]
mod tests;
