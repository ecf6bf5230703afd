//! A request and its answer, as a handler has them.

use std::rc::Weak;

use super::conversation::Sent;
use super::request::Request;
use super::response::{Head, Response};

/// What answers requests.
///
/// No borrow is held while it is called, so it may do anything to any exchange.
pub trait Handler {
    /// A request is to be answered, now or later, by the exchange.
    fn request(&self, request: Request, exchange: Exchange);

    /// The client has left before its answer was complete.
    fn gone(&self, _exchange: u64) {}
}

/// What exchanges of a connection are answered through.
pub(super) trait Line: std::fmt::Debug {
    fn is_open(&self, exchange: u64) -> bool;
    fn answer(&self, exchange: u64, response: &Response) -> bool;
    fn start(&self, exchange: u64, head: &Head) -> bool;
    fn send(&self, exchange: u64, bytes: &[u8]) -> Sent;
    fn finish(&self, exchange: u64);
    fn pending(&self, exchange: u64) -> usize;
}

/// What a request is answered by. Clones are the same one.
#[derive(Debug, Clone)]
pub struct Exchange {
    pub(super) line: Weak<dyn Line>,
    pub(super) number: u64,
}

impl Exchange {
    /// A number that no other exchange of the listener has.
    pub fn number(&self) -> u64 {
        self.number
    }

    /// Whether the answer is not complete, and the client still there.
    pub fn is_open(&self) -> bool {
        let line = self.line.upgrade();
        line.is_some_and(|line| line.is_open(self.number))
    }

    /// Answers. False if there is nothing to answer any more, or a stream has begun.
    pub fn answer(&self, response: &Response) -> bool {
        let line = self.line.upgrade();
        line.is_some_and(|line| line.answer(self.number, response))
    }

    /// Begins a stream as the answer. False if there is nothing to answer any more, or a stream has begun.
    pub fn start(&self, head: &Head) -> bool {
        let line = self.line.upgrade();
        line.is_some_and(|line| line.start(self.number, head))
    }

    /// Sends a part of the stream.
    pub fn send(&self, bytes: &[u8]) -> Sent {
        match self.line.upgrade() {
            Some(line) => line.send(self.number, bytes),
            None => Sent::Gone,
        }
    }

    /// Ends the stream.
    pub fn finish(&self) {
        if let Some(line) = self.line.upgrade() {
            line.finish(self.number);
        }
    }

    /// How many bytes wait for the client to take them.
    pub fn pending(&self) -> usize {
        self.line
            .upgrade()
            .map_or(0, |line| line.pending(self.number))
    }
}
