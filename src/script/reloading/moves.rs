//! Which clients of older states move to the one in use, and when.

use std::rc::Rc;
use std::time::{Duration, Instant};

use super::scripts::Scripts;
use super::under_way::LOOK;
use crate::proxy::{ConnId, ConnKind, Packed};
use crate::script::Script;

/// How many clients are looked at in one go, so that others need not wait for a crowd that moves.
const SLICE: usize = 8;

/// How many that were answered in one pass of the loop are looked at.
const ANSWERED: usize = 64;

/// When those are looked at again that were not ready.
const PAUSE: Duration = Duration::from_millis(20);

/// What an older state sees of a client that has moved.
const MOVED: &str = "it has moved to the new startfile";

impl Scripts {
    /// All clients of older states are looked at.
    pub(super) fn look_at_all(&self) {
        let mut candidates = self.candidates.borrow_mut();
        for script in &*self.others.borrow() {
            let clients = self.proxy.owned_by(script.runtime.number);
            let clients = clients.iter().filter(|info| info.kind == ConnKind::Client);
            candidates.extend(clients.map(|info| info.id));
        }
    }

    /// Time for the next look.
    pub(super) fn look(&self) {
        self.looks.set(false);
        self.candidates.borrow_mut().extend(self.later.take());
    }

    /// Moves clients that are ready.
    pub(super) fn move_clients(&self) {
        let rested = self.proxy.take_rested();
        if self.others.borrow().is_empty() {
            self.candidates.borrow_mut().clear();
            self.later.borrow_mut().clear();
            return;
        }
        // At once: those who have just been answered may have the next command soon. Who is left out is listed again at
        // the next answer. Those of whom it is known why they stay are not asked at each.
        for client in rested.into_iter().take(ANSWERED) {
            let info = self.proxy.info(client);
            let stays = info.is_some_and(|info| info.stays().is_some());
            if !stays || self.may_ask_again() {
                self.try_to_move(client);
            }
        }
        for _ in 0..SLICE {
            let next = self.candidates.borrow_mut().pop_front();
            let Some(client) = next else {
                break;
            };
            self.try_to_move(client);
        }
        let is_more = !self.candidates.borrow().is_empty();
        if (is_more || !self.later.borrow().is_empty()) && !self.looks.replace(true) {
            let pause = if is_more {
                Duration::from_millis(1)
            } else {
                PAUSE
            };
            self.proxy.schedule(pause, LOOK);
        }
    }

    /// Whether one of those may be asked again who stay.
    fn may_ask_again(&self) -> bool {
        let (since, asked) = self.asked_again.get();
        let (since, asked) = match since.elapsed() < PAUSE {
            true => (since, asked),
            false => (Instant::now(), 0),
        };
        self.asked_again.set((since, asked + 1));
        asked < SLICE
    }

    fn try_to_move(&self, client: ConnId) {
        let (present, proxy) = (self.present(), &self.proxy);
        let Some(info) = proxy.info(client) else {
            return;
        };
        let number = info.owner.get();
        let from = self.of(number).filter(|_| number != present.runtime.number);
        let (Some(from), true) = (from, proxy.is_at_rest(client)) else {
            // It is listed again when it was answered.
            return;
        };
        let listener = proxy.listener_of(client).filter(|id| {
            let info = proxy.info(*id);
            info.is_some_and(|info| info.owner.get() == present.runtime.number)
        });
        let Some(listener) = listener else {
            info.set_stays(Some(
                "the new startfile does not listen where it has come from",
            ));
            return;
        };
        if !present.is_ready(listener) {
            return self.later.borrow_mut().push(client);
        }
        let text = match from.pack(client) {
            Packed::Text(text) => text,
            Packed::Stays(why) => return info.set_stays(Some(&why)),
            Packed::NotNow => return self.later.borrow_mut().push(client),
        };
        // Packing may have changed anything.
        if !proxy.is_at_rest(client) {
            return;
        }
        match self.hand_over(&from, &present, (listener, client), &text) {
            Ok(()) => {
                let moved = &self.commons.reloads.moved;
                moved.set(moved.get() + 1);
                log::debug!(
                    "client {}: moved to startfile {}",
                    client.serial(),
                    present.runtime.number
                );
            }
            Err(why) => {
                if let Some(info) = proxy.info(client) {
                    info.set_stays(Some(&why));
                }
            }
        }
    }

    fn hand_over(
        &self,
        from: &Rc<Script>,
        to: &Rc<Script>,
        (listener, client): (ConnId, ConnId),
        text: &[u8],
    ) -> Result<(), String> {
        let (proxy, number) = (&self.proxy, to.runtime.number);
        let server = proxy.peer(client);
        let gone = || "it has just closed".to_owned();
        let (before, after) = proxy.change_owner(client, number, MOVED).ok_or_else(gone)?;
        after.set_stays(None);
        let pair = match server {
            None => None,
            Some(server) => match proxy.change_owner(server, number, MOVED) {
                Some(pair) => Some(pair),
                None => {
                    proxy.restore_owner(&before);
                    return Err(gone());
                }
            },
        };
        // (Prepared statements stay known.)
        let watched = &self.commons.watched_commands;
        let watchers = server.map(|server| watched.take(server));
        let peer = pair.as_ref().map(|(_, after)| after);
        if let Err(why) = to.adopt(listener, &after, peer, text) {
            if let Some((server, watchers)) = server.zip(watchers) {
                watched.restore(server, watchers);
            }
            let peer = pair.as_ref().map(|(before, _)| before);
            for before in [Some(&before), peer].into_iter().flatten() {
                proxy.restore_owner(before);
                from.runtime.rearm(before.id);
                proxy.rearm(before.id);
            }
            return Err(why);
        }
        for id in [Some(client), server].into_iter().flatten() {
            proxy.rearm(id);
        }
        from.let_go(client, server);
        Ok(())
    }
}
