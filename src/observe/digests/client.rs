//! What is known of a client, for its statements to be counted.

use std::collections::HashMap;
use std::rc::Rc;
use std::time::Instant;

use super::entry::Outcome;
use crate::observe::identity::Identity;
use crate::proxy::ConnId;

/// The statements of a client that are remembered.
const MAX_PREPARED: usize = 4096;

/// A client's command that is being answered.
#[derive(Debug)]
pub(super) struct Running {
    pub began: Instant,
    pub what: What,
    pub outcome: Outcome,
    /// Who has answered.
    pub server: Option<ConnId>,
    /// Somebody has held it back: it may be shown once more.
    pub held: bool,
}

/// What a command does.
#[derive(Debug)]
pub(super) enum What {
    /// It is a statement, and counted.
    Statement,
    /// It prepares one with this digest.
    Prepare(Rc<[u8]>),
    /// Something else.
    Other,
}

/// See the module.
#[derive(Debug, Default)]
pub(super) struct Client {
    pub identity: Identity,
    pub running: Option<Running>,
    /// The digest of the statement that runs. The buffer is used again.
    pub text: Vec<u8>,
    prepared: HashMap<u32, Rc<[u8]>>,
}

impl Client {
    /// A statement has this number, as the client knows it.
    pub fn prepared(&mut self, id: u32, digest: Rc<[u8]>) {
        if self.prepared.len() < MAX_PREPARED || self.prepared.contains_key(&id) {
            self.prepared.insert(id, digest);
        }
    }

    /// The digest of its statement with this number.
    pub fn digest_of(&self, id: Option<u32>) -> Option<Rc<[u8]>> {
        self.prepared.get(&id?).cloned()
    }

    pub fn close(&mut self, id: Option<u32>) {
        if let Some(id) = id {
            self.prepared.remove(&id);
        }
    }

    pub fn close_all(&mut self) {
        self.prepared = HashMap::new();
    }
}
