//! Rollouts, one after the other, and how workers are told.

use std::sync::{Arc, Mutex};

use super::desks::Desks;
use super::lock;
use super::mailbox::Message;
use super::rollout::{Decision, Rollout};

/// The one that is under way, if any, and the one that is in use.
#[derive(Debug, Default)]
pub struct Rollouts {
    last: Mutex<Option<Arc<Rollout>>>,
    used: Mutex<Option<Arc<Rollout>>>,
}

impl Rollouts {
    /// Begins one in all of `count` workers, this one included. `None` if another one is under way.
    pub fn begin(&self, desks: &Desks, content: Vec<u8>, count: usize) -> Option<Arc<Rollout>> {
        let rollout = {
            let mut present = lock(&self.last);
            if present
                .as_ref()
                .is_some_and(|one| one.decision() == Decision::Open)
            {
                return None;
            }
            let rollout = Arc::new(Rollout::new(content, count));
            *present = Some(rollout.clone());
            rollout
        };
        tell(desks, &rollout);
        Some(rollout)
    }

    /// A worker has prepared it, or cannot.
    pub fn report(
        &self,
        desks: &Desks,
        rollout: &Arc<Rollout>,
        worker: usize,
        result: Result<(), String>,
    ) {
        if rollout.report(worker, result) {
            if rollout.decision() == Decision::Use {
                lock(&self.used).replace(rollout.clone());
            }
            tell(desks, rollout);
        }
    }

    /// What is in use: none if it is still what the program has begun with.
    pub fn in_use(&self) -> Option<Vec<u8>> {
        let used = lock(&self.used);
        used.as_ref().map(|rollout| rollout.content.clone())
    }

    /// It has taken too long.
    pub fn give_up(&self, desks: &Desks, rollout: &Arc<Rollout>) {
        if rollout.give_up() {
            tell(desks, rollout);
        }
    }

    /// A worker has ended: nobody waits for it.
    pub fn leave(&self, desks: &Desks, worker: usize) {
        let present = lock(&self.last).clone();
        if let Some(rollout) = present {
            self.report(desks, &rollout, worker, Ok(()));
        }
    }
}

fn tell(desks: &Desks, rollout: &Arc<Rollout>) {
    for worker in 1..=rollout.count {
        // One that has ended needs not know.
        let _ = desks.deliver(worker, Message::Rollout(rollout.clone()));
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn all_use_it_or_none() {
        let (rollouts, desks) = (Rollouts::default(), Desks::default());
        let begun = rollouts.begin(&desks, b"x".to_vec(), 2).unwrap();
        assert!(
            rollouts.begin(&desks, Vec::new(), 2).is_none(),
            "one at a time"
        );
        assert!(begun.waits_for(1) && begun.waits_for(2));
        rollouts.report(&desks, &begun, 2, Ok(()));
        assert_eq!(begun.decision(), Decision::Open);
        rollouts.report(&desks, &begun, 1, Ok(()));
        assert_eq!(begun.decision(), Decision::Use);
        rollouts.give_up(&desks, &begun);
        assert_eq!(begun.decision(), Decision::Use, "it is too late");
        assert_eq!(rollouts.in_use().as_deref(), Some(&b"x"[..]));

        let begun = rollouts.begin(&desks, Vec::new(), 2).unwrap();
        rollouts.report(&desks, &begun, 1, Err("no".into()));
        rollouts.report(&desks, &begun, 2, Ok(()));
        assert_eq!(begun.decision(), Decision::Drop("worker 1: no".into()));

        let begun = rollouts.begin(&desks, Vec::new(), 3).unwrap();
        rollouts.leave(&desks, 2);
        rollouts.report(&desks, &begun, 1, Ok(()));
        rollouts.give_up(&desks, &begun);
        assert_eq!(
            begun.decision(),
            Decision::Drop("no answer from worker 3".into())
        );
        let (mail, _) = desks.of(1).unwrap().mailbox.take(99);
        assert_eq!(mail.len(), 6, "each beginning and each decision");
    }
}
