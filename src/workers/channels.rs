//! Messages for all workers that have subscribed to a channel.

use std::collections::HashMap;
use std::sync::{Arc, Mutex};

use super::desks::Desks;
use super::lock;
use super::mailbox::{Message, Published};

/// Who has subscribed to which channel.
#[derive(Debug, Default)]
pub struct Channels(Mutex<HashMap<Arc<str>, Vec<usize>>>);

/// What became of a message.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Reached {
    /// How many workers get it.
    pub workers: usize,
    /// How many have subscribed, and do not get it, as too many messages wait for them already.
    pub missed: usize,
}

impl Channels {
    /// From now on the worker gets what is published there.
    pub fn subscribe(&self, worker: usize, channel: &str) {
        let channels = &mut *lock(&self.0);
        let workers = match channels.get_mut(channel) {
            Some(workers) => workers,
            None => channels.entry(channel.into()).or_default(),
        };
        if !workers.contains(&worker) {
            workers.push(worker);
        }
    }

    /// From now on it does not.
    pub fn unsubscribe(&self, worker: usize, channel: &str) {
        let channels = &mut *lock(&self.0);
        if let Some(workers) = channels.get_mut(channel) {
            workers.retain(|other| *other != worker);
            if workers.is_empty() {
                channels.remove(channel);
            }
        }
    }

    /// The worker has ended.
    pub fn leave(&self, worker: usize) {
        lock(&self.0).retain(|_, workers| {
            workers.retain(|other| *other != worker);
            !workers.is_empty()
        });
    }

    /// Gives a message to all that have subscribed, the publisher included.
    pub fn publish(&self, desks: &Desks, from: usize, channel: &str, text: &[u8]) -> Reached {
        let mut reached = Reached::default();
        let channels = lock(&self.0);
        let Some((channel, workers)) = channels.get_key_value(channel) else {
            return reached;
        };
        let message = Published {
            channel: channel.clone(),
            text: text.into(),
            from,
        };
        // With the lock, so that all workers get the messages of a channel in the same order.
        for worker in workers {
            match desks.deliver(*worker, Message::Published(message.clone())) {
                Ok(()) => reached.workers += 1,
                Err(_) => reached.missed += 1,
            }
        }
        reached
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn those_who_have_subscribed_get_it_in_order() {
        let (channels, desks) = (Channels::default(), Desks::default());
        for worker in [1, 2, 2, 3] {
            channels.subscribe(worker, "c");
        }
        channels.unsubscribe(3, "c");
        for text in ["a", "b"] {
            let reached = channels.publish(&desks, 1, "c", text.as_bytes());
            assert_eq!((reached.workers, reached.missed), (2, 0));
        }
        for worker in [1, 2] {
            let (mail, _) = desks.of(worker).unwrap().mailbox.take(9);
            let texts = mail.into_iter().map(|message| match message {
                Message::Published(it) => (it.text.to_vec(), it.from),
                other => panic!("{other:?}"),
            });
            let texts: Vec<_> = texts.collect();
            assert_eq!(texts, [(b"a".to_vec(), 1), (b"b".to_vec(), 1)]);
        }
        assert_eq!(channels.publish(&desks, 1, "d", b""), Reached::default());
        desks.of(2).unwrap().mailbox.close();
        let reached = channels.publish(&desks, 3, "c", b"");
        assert_eq!((reached.workers, reached.missed), (1, 1));
        channels.leave(1);
        channels.leave(2);
        assert!(lock(&channels.0).is_empty(), "nothing is left behind");
    }
}
