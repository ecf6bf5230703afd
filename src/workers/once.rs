//! What one worker does for all, and another goes on with when that one is gone.

use std::collections::HashMap;
use std::sync::{Arc, Mutex};

use super::desks::Desks;
use super::lock;
use super::mailbox::Message;

/// Who does what.
#[derive(Debug, Default)]
pub struct Once(Mutex<HashMap<Arc<str>, Duty>>);

/// Something that one worker does for all.
#[derive(Debug, Default)]
struct Duty {
    owner: Option<usize>,
    /// Those who can do it, in the order in which they have said so.
    able: Vec<usize>,
}

impl Once {
    /// The worker can do this. If nobody does it yet, it is the one who does.
    pub fn offer(&self, desks: &Desks, worker: usize, name: &str) {
        let duties = &mut *lock(&self.0);
        let name: Arc<str> = name.into();
        let duty = duties.entry(name.clone()).or_default();
        if !duty.able.contains(&worker) {
            duty.able.push(worker);
        }
        if duty.owner.is_none() {
            duty.pass_on(desks, &name);
        }
    }

    /// Whoever does it begins anew: what it did it with is gone.
    pub fn again(&self, desks: &Desks, worker: usize, name: &str) {
        let duties = &mut *lock(&self.0);
        let Some((name, duty)) = duties.get_key_value(name) else {
            return;
        };
        if duty.owner == Some(worker) {
            // Only if the worker has ended, and then its duties are others' anyway.
            let _ = desks.deliver(worker, Message::Once(name.clone()));
        }
    }

    /// The worker which did it has failed: another goes on. Returns which.
    pub fn failed(&self, desks: &Desks, worker: usize, name: &str) -> Option<usize> {
        let duties = &mut *lock(&self.0);
        let (name, duty) = duties
            .get_key_value(name)
            .map(|(name, _)| name.clone())
            .and_then(|name| Some((name.clone(), duties.get_mut(&name)?)))?;
        duty.leave(desks, worker, &name);
        duty.owner
    }

    /// The worker has ended: others go on with what it did.
    pub fn leave(&self, desks: &Desks, worker: usize) {
        for (name, duty) in &mut *lock(&self.0) {
            duty.leave(desks, worker, name);
        }
    }
}

impl Duty {
    fn leave(&mut self, desks: &Desks, worker: usize, name: &Arc<str>) {
        self.able.retain(|other| *other != worker);
        if self.owner == Some(worker) {
            self.owner = None;
            self.pass_on(desks, name);
        }
    }

    fn pass_on(&mut self, desks: &Desks, name: &Arc<str>) {
        let deliver = |worker: &usize| desks.deliver(*worker, Message::Once(name.clone())).is_ok();
        self.owner = self.able.iter().copied().find(|worker| deliver(worker));
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// What the worker is told to do.
    fn told(desks: &Desks, worker: usize) -> Vec<String> {
        let (mail, _) = desks.of(worker).unwrap().mailbox.take(9);
        let names = mail.into_iter().map(|message| match message {
            Message::Once(name) => name.to_string(),
            other => panic!("{other:?}"),
        });
        names.collect()
    }

    #[test]
    fn one_does_it_and_others_go_on() {
        let (once, desks) = (Once::default(), Desks::default());
        for worker in [2, 1, 3] {
            once.offer(&desks, worker, "x");
        }
        let all = |desks: &Desks| [1, 2, 3].map(|worker| told(desks, worker).len());
        assert_eq!(all(&desks), [0, 1, 0], "the first");
        assert_eq!(once.failed(&desks, 2, "x"), Some(1));
        assert_eq!(all(&desks), [1, 0, 0]);
        once.leave(&desks, 3);
        assert_eq!(all(&desks), [0, 0, 0], "it did nothing");
        once.leave(&desks, 1);
        assert_eq!(all(&desks), [0, 0, 0], "nobody is left");
        once.offer(&desks, 4, "x");
        assert_eq!(told(&desks, 4), ["x"]);
        assert_eq!(once.failed(&desks, 4, "y"), None);
    }

    #[test]
    fn who_has_ended_gets_nothing_to_do() {
        let (once, desks) = (Once::default(), Desks::default());
        for worker in [1, 2, 3] {
            once.offer(&desks, worker, "x");
        }
        desks.of(2).unwrap().mailbox.close();
        once.leave(&desks, 1);
        assert_eq!(told(&desks, 3), ["x"]);
    }
}
