//! The commands of one connection that are not yet answered, in their order.

use std::collections::VecDeque;

use super::response::Response;
use crate::wire::Com;

/// How many commands may wait for their answers before the proxy stops reading from their sender.
pub const MAX_PIPELINED: usize = 1024;

/// The response in progress, and the commands pipelined behind it.
#[derive(Debug, Default)]
pub struct Exchanges {
    current: Option<Response>,
    /// Those that have been pipelined, if there are any.
    behind: Option<Box<Queue>>,
}

#[derive(Debug, Default)]
struct Queue(VecDeque<Behind>);

#[derive(Debug)]
struct Behind {
    com: Com,
    statement: Option<u32>,
    response_seq: u8,
}

impl Exchanges {
    /// Adds a command that will be answered, with the statement that it is about and the first
    /// sequence number of its response. Returns that number if the response is the one now in
    /// progress.
    pub fn push(&mut self, com: Com, statement: Option<u32>, response_seq: u8) -> Option<u8> {
        if self.current.is_none() {
            self.current = Some(Response::new(com).about(statement));
            return Some(response_seq);
        }
        self.behind.get_or_insert_default().0.push_back(Behind {
            com,
            statement,
            response_seq,
        });
        None
    }

    /// The last command pushed turned out longer than a frame: its response begins later.
    /// Returns whether that response is the one in progress.
    pub fn amend_response_seq(&mut self, response_seq: u8) -> bool {
        match self.behind.as_mut().and_then(|queue| queue.0.back_mut()) {
            Some(last) => {
                last.response_seq = response_seq;
                false
            }
            None => self.current.is_some(),
        }
    }

    /// The response in progress.
    pub fn current(&self) -> Option<&Response> {
        self.current.as_ref()
    }

    /// The response in progress.
    pub fn current_mut(&mut self) -> Option<&mut Response> {
        self.current.as_mut()
    }

    /// The response in progress is complete; returns the sequence number of the next one's first
    /// packet if there is a next one.
    pub fn finish(&mut self) -> Option<u8> {
        self.current = None;
        let queue = &mut self.behind.as_mut()?.0;
        let next = queue.pop_front();
        if queue.is_empty() {
            // Frees the memory: an idle connection is to hold no buffer.
            self.behind = None;
        }
        let next = next?;
        self.current = Some(Response::new(next.com).about(next.statement));
        Some(next.response_seq)
    }

    /// How many responses are still to come, the present one included.
    pub fn outstanding(&self) -> usize {
        usize::from(self.current.is_some()) + self.waiting()
    }

    /// Whether every command has been answered.
    pub fn idle(&self) -> bool {
        self.current.is_none()
    }

    /// Whether so many commands wait that no more should be read.
    pub fn full(&self) -> bool {
        self.waiting() >= MAX_PIPELINED
    }

    fn waiting(&self) -> usize {
        self.behind.as_ref().map_or(0, |queue| queue.0.len())
    }
}
