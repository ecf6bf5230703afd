//! What others have for a worker.

use std::collections::VecDeque;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, OnceLock};

use super::lock;
use super::rollout::Rollout;
use super::upgrade::Moving;
use crate::net::{Peer, Stream, WakeHandle};

/// How many published messages may wait for one worker.
const MAX_PUBLISHED: usize = 10_000;
/// How many bytes they may have.
const MAX_PUBLISHED_BYTES: usize = 16 << 20;

/// Something for a worker.
#[derive(Debug)]
pub enum Message {
    /// A client that was accepted on one of its listeners.
    Client(HandedOver),
    /// A message of a channel.
    Published(Published),
    /// It is the one that does this from now on.
    Once(Arc<str>),
    /// Something new is to be prepared, or it was decided about.
    Rollout(Arc<Rollout>),
    /// Another worker was told to end.
    Stop(Stop),
    /// Another process takes the place of this one, or the other way round.
    Moving(Moving),
    /// It is to accept clients again: those that have come meanwhile were not seen.
    Listen,
}

/// Names a listener of the program that several workers may have.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub struct ListenerKey {
    pub(super) place: usize,
    /// Places are used again.
    pub(super) serial: usize,
}

/// A client on its way to a worker.
#[derive(Debug)]
pub struct HandedOver {
    /// The listener that it came by.
    pub listener: ListenerKey,
    /// Its connection.
    pub stream: Stream,
    /// Who it is.
    pub peer: Peer,
}

/// A message of a channel.
#[derive(Debug, Clone)]
pub struct Published {
    /// The channel's name.
    pub channel: Arc<str>,
    /// What was published.
    pub text: Arc<[u8]>,
    /// The worker that has published it.
    pub from: usize,
}

/// What a worker was told by which the program ends.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Stop {
    /// SIGTERM or SIGINT, which every worker gets, but not at the same moment.
    Signal,
    /// To leave with this exit code.
    Exit(i32),
}

/// A worker's messages, which it takes in the next pass of its loop.
#[derive(Debug, Default)]
pub struct Mailbox {
    content: Mutex<Content>,
    wake: OnceLock<WakeHandle>,
    /// How many clients are on their way to the worker.
    pub on_their_way: AtomicUsize,
}

#[derive(Debug, Default)]
struct Content {
    messages: VecDeque<Message>,
    published: usize,
    published_bytes: usize,
    /// The worker waits for nothing but messages.
    rests: bool,
    /// The worker has ended.
    closed: bool,
}

impl Mailbox {
    /// The worker's loop has begun.
    pub fn open(&self, wake: WakeHandle) {
        // A worker has one loop.
        let _ = self.wake.set(wake);
    }

    /// Puts a message in. Gives it back if the worker has ended, or takes no more of this kind.
    pub fn put(&self, message: Message) -> Result<(), Message> {
        let mut content = lock(&self.content);
        if content.closed {
            return Err(message);
        }
        match &message {
            Message::Published(Published { text, .. }) => {
                let bytes = content.published_bytes + text.len();
                if content.published >= MAX_PUBLISHED || bytes > MAX_PUBLISHED_BYTES {
                    return Err(message);
                }
                content.published += 1;
                content.published_bytes = bytes;
            }
            Message::Client(_) => {
                self.on_their_way.fetch_add(1, Ordering::Relaxed);
            }
            Message::Once(_)
            | Message::Rollout(_)
            | Message::Stop(_)
            | Message::Moving(_)
            | Message::Listen => {}
        }
        let was_empty = content.messages.is_empty();
        content.messages.push_back(message);
        content.rests = false;
        drop(content);
        if was_empty
            && let Some(wake) = self.wake.get()
            && let Err(error) = wake.wake()
        {
            log::error!("a worker cannot be woken: {error}");
        }
        Ok(())
    }

    /// Takes the oldest messages, and tells whether more are left.
    pub fn take(&self, most: usize) -> (Vec<Message>, bool) {
        let mut content = lock(&self.content);
        let count = most.min(content.messages.len());
        let taken: Vec<_> = content.messages.drain(..count).collect();
        for message in &taken {
            content.forget(message);
        }
        (taken, !content.messages.is_empty())
    }

    /// Takes the clients that wait to be taken, for others.
    pub fn take_clients(&self) -> Vec<HandedOver> {
        let mut content = lock(&self.content);
        let all = std::mem::take(&mut content.messages);
        let mut clients = Vec::new();
        for message in all {
            match message {
                Message::Client(client) => clients.push(client),
                other => content.messages.push_back(other),
            }
        }
        self.on_their_way
            .fetch_sub(clients.len(), Ordering::Relaxed);
        clients
    }

    /// A client that was taken out has been admitted, or not.
    pub fn arrived(&self) {
        self.on_their_way.fetch_sub(1, Ordering::Relaxed);
    }

    /// The worker waits for nothing but messages from now on. False if there are some.
    pub fn rest(&self) -> bool {
        let mut content = lock(&self.content);
        content.rests = content.messages.is_empty();
        content.rests
    }

    /// Whether the worker waits for nothing but messages, or has ended.
    pub fn rests(&self) -> bool {
        let content = lock(&self.content);
        content.rests || content.closed
    }

    /// The worker has ended: nothing is put in any more.
    pub fn close(&self) {
        lock(&self.content).closed = true;
    }
}

impl Content {
    fn forget(&mut self, message: &Message) {
        if let Message::Published(Published { text, .. }) = message {
            self.published -= 1;
            self.published_bytes -= text.len();
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn published(bytes: usize) -> Message {
        Message::Published(Published {
            channel: "c".into(),
            text: vec![0; bytes].into(),
            from: 1,
        })
    }

    #[test]
    fn what_is_published_is_bounded_and_what_has_to_arrive_is_not() {
        let mailbox = Mailbox::default();
        for _ in 0..16 {
            assert!(mailbox.put(published(1 << 20)).is_ok());
        }
        assert!(mailbox.put(published(1)).is_err(), "too many bytes");
        assert!(mailbox.put(Message::Stop(Stop::Exit(1))).is_ok());
        let (taken, more) = mailbox.take(16);
        assert!(taken.len() == 16 && more);
        for _ in 0..MAX_PUBLISHED {
            assert!(mailbox.put(published(0)).is_ok());
        }
        assert!(mailbox.put(published(0)).is_err(), "too many");
    }

    #[test]
    fn a_message_ends_the_rest() {
        let mailbox = Mailbox::default();
        assert!(mailbox.rest() && mailbox.rests());
        assert!(mailbox.put(Message::Once("x".into())).is_ok());
        assert!(!mailbox.rests() && !mailbox.rest());
        mailbox.close();
        assert!(mailbox.put(Message::Once("x".into())).is_err());
        assert!(mailbox.rests());
    }
}
