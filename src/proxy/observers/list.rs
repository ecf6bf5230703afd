//! What each observer wants to see of each connection.

use std::rc::Rc;

use super::observer::{Observer, Shown};
use crate::proxy::id::ConnId;
use crate::session::EventSet;

/// The list is replaced, never changed, so that it can be walked while an observer is added.
pub(crate) type List = Rc<[Rc<dyn Observer>]>;

#[derive(Default)]
pub(crate) struct Observers {
    pub list: Option<List>,
    /// By the slots of connections. `None` where no observer wants anything.
    wishes: Vec<Option<Box<Wishes>>>,
    /// A list that is used again: connections of pools are linked and unlinked all the time.
    spare: Vec<EventSet>,
}

/// The events of a connection that the hooks and each observer want to see.
pub(crate) struct Wishes {
    pub hooks: EventSet,
    /// In the order of the list.
    observers: Vec<EventSet>,
}

impl Wishes {
    pub fn united(&self) -> EventSet {
        let all = self.observers.iter();
        all.fold(self.hooks, |united, wish| united.with(*wish))
    }
}

impl Observers {
    pub fn of(&self, id: ConnId) -> Option<&Wishes> {
        self.wishes.get(id.slot())?.as_deref()
    }

    /// Sets the events that the hooks want to see; returns all that are wanted.
    pub fn set_hooks(&mut self, id: ConnId, events: EventSet) -> EventSet {
        match self.wishes.get_mut(id.slot()) {
            Some(Some(wishes)) => {
                wishes.hooks = events;
                wishes.united()
            }
            _ => events,
        }
    }

    /// An empty list, for [`set_observers`](Observers::set_observers).
    pub fn spare(&mut self) -> Vec<EventSet> {
        std::mem::take(&mut self.spare)
    }

    /// Sets the events that the observers want to see; returns all that are wanted. `armed` is what
    /// was wanted before.
    pub fn set_observers(
        &mut self,
        id: ConnId,
        armed: EventSet,
        mut observers: Vec<EventSet>,
    ) -> EventSet {
        let hooks = self.of(id).map_or(armed, |wishes| wishes.hooks);
        let united = observers
            .iter()
            .fold(hooks, |united, wish| united.with(*wish));
        let place = id.slot();
        let is_nothing = observers.iter().all(|wish| *wish == EventSet::NONE);
        if let Some(Some(wishes)) = self.wishes.get_mut(place)
            && !is_nothing
        {
            std::mem::swap(&mut wishes.observers, &mut observers);
            observers.clear();
            self.spare = observers;
        } else if is_nothing {
            self.forget(id);
            observers.clear();
            self.spare = observers;
        } else {
            let wishes = Wishes { hooks, observers };
            if self.wishes.len() <= place {
                self.wishes.resize_with(place + 1, || None);
            }
            if let Some(place) = self.wishes.get_mut(place) {
                *place = Some(Box::new(wishes));
            }
        }
        united
    }

    pub fn forget(&mut self, id: ConnId) {
        if let Some(place) = self.wishes.get_mut(id.slot()) {
            *place = None;
        }
    }

    /// The observers, if one of them wants to see anything of this connection.
    pub fn attending(&self, id: ConnId) -> Option<List> {
        self.of(id)?;
        self.list.clone()
    }

    /// The observers, if one of them wants to see this event. If none does, the hooks want to.
    pub fn watching(&self, shown: Shown<'_>) -> Option<List> {
        let mut wishes = self.of(shown.conn.id)?.observers.iter();
        let wanted = wishes.any(|wish| wish.has(shown.event));
        self.list.clone().filter(|_| wanted)
    }

    pub fn wants(&self, id: ConnId, place: usize) -> EventSet {
        let wishes = self.of(id).and_then(|of| of.observers.get(place));
        wishes.copied().unwrap_or_default()
    }
}
