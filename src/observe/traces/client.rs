//! What is known of a client, for its queries to be traced.

use std::collections::HashMap;
use std::rc::Rc;
use std::time::Instant;

use super::context::Context;
use super::sampling::{Decision, Ids};
use crate::observe::identity::Identity;
use crate::proxy::ConnId;

/// The statements of a client that are remembered.
const MAX_PREPARED: usize = 4096;

/// How much memory for a text a client keeps between its queries.
const KEPT: usize = 4096;

/// A prepared statement.
#[derive(Debug, Clone)]
pub(super) struct Statement {
    /// Its digest or its text.
    pub text: Rc<[u8]>,
    /// How many parameters it takes.
    pub params: u16,
    /// The context in its comment: that of its first execution, as programs prepare what they execute. Of later ones it is
    /// not known what they are part of.
    pub parent: Option<Context>,
    /// The span of its last execution, if that was recorded: what is fetched of its cursor belongs to it.
    pub executed: Option<Ids>,
}

/// What a command does.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum What {
    Query,
    Execute(u32),
    /// Rows of an execution's cursor.
    Fetch,
    Prepare,
    /// Nothing that has a span.
    Other,
}

/// What came of it.
#[derive(Debug, Default)]
pub(super) struct Outcome {
    pub rows: u64,
    pub affected: u64,
    pub bytes: u64,
    /// It has failed, with this number.
    pub error: Option<u16>,
}

/// A client's command that is being answered.
#[derive(Debug)]
pub(super) struct Running {
    pub began: Instant,
    pub what: What,
    pub decision: Decision,
    pub outcome: Outcome,
    /// When it was forwarded.
    pub forwarded: Option<Instant>,
    /// When the last packet of a server's answer came.
    pub answered: Option<Instant>,
    pub server: Option<ConnId>,
    /// Somebody has held it back: it may be shown once more.
    pub held: bool,
}

impl Running {
    pub fn new(began: Instant, what: What, decision: Decision) -> Running {
        Running {
            began,
            what,
            decision,
            outcome: Outcome::default(),
            forwarded: None,
            answered: None,
            server: None,
            held: false,
        }
    }

    /// Whether it may become a span.
    pub fn may_be_told(&self) -> bool {
        self.decision != Decision::Not
    }
}

/// See the module.
#[derive(Debug, Default)]
pub(super) struct Client {
    pub identity: Identity,
    pub running: Option<Running>,
    /// The text of what runs, or the digest of what was prepared.
    pub text: Vec<u8>,
    /// The message of its error.
    pub message: Vec<u8>,
    /// What is being prepared.
    pub preparing: Option<Statement>,
    prepared: HashMap<u32, Statement>,
}

impl Client {
    /// What was prepared has this number, as the client knows it.
    pub fn prepared(&mut self, id: u32, params: u16) {
        let Some(statement) = self.preparing.take() else {
            return;
        };
        if self.prepared.len() < MAX_PREPARED || self.prepared.contains_key(&id) {
            self.prepared.insert(
                id,
                Statement {
                    params,
                    ..statement
                },
            );
        }
    }

    /// Its statement with this number.
    pub fn statement(&mut self, id: Option<u32>) -> Option<&mut Statement> {
        self.prepared.get_mut(&id?)
    }

    pub fn close(&mut self, id: Option<u32>) {
        if let Some(id) = id {
            self.prepared.remove(&id);
        }
    }

    pub fn close_all(&mut self) {
        self.prepared = HashMap::new();
    }

    /// Nothing runs any more.
    pub fn rests(&mut self) {
        for buffer in [&mut self.text, &mut self.message] {
            match buffer.capacity() > KEPT {
                true => *buffer = Vec::new(),
                false => buffer.clear(),
            }
        }
    }
}
